import Batches
import Glibc
import Kernels

/// Gradients of a batch by groups of its rows: those of each node of `GroupTree` that the batch knows alone, each in a
/// buffer of its own. Each sum begins at 0 with each group, and groups are added along the tree, so that the bits are those
/// that any other way to deal groups to ranks leads to.
final class GroupedGradients {
  /// A node's groups and the flat buffer for its gradients.
  struct Target {
    var groups: Range<Int>
    var gradients: UnsafeMutablePointer<Float>
  }

  private let threads: ThreadPool
  private let columns: Int
  /// Room for a right half's largest matrix, by level of the tree.
  private var matrices: [UnsafeMutablePointer<Float>] = []
  private let matrixCount: Int
  /// The same for vectors.
  private var vectors: [UnsafeMutablePointer<Float>] = []
  private let vectorCount: Int

  private(set) var targets: [Target] = []
  private var groups = RowGroups(total: 0, first: 0, rows: [])
  /// By group of the batch.
  private var tokens: [Range<Int>] = []
  private var tokenBlocks: [Range<Int>] = []
  private var rowBlocks: [Range<Int>] = []
  /// The lines of each group in blocks, of all tokens and of first tokens.
  private var tokenLines: [Range<Int>] = []
  private var rowLines: [Range<Int>] = []
  /// By target's number: the tokens of a table's rows, and the rows of the word table that hold gradients.
  private var lists: [TableTokens] = []
  private var touchedWords: [TouchedWords] = []

  /// Rows of the word table that hold gradients.
  private struct TouchedWords {
    /// Whether they are those in `rows`; else all may.
    var areKnown = false
    var rows: [Int32] = []
  }

  /// - Parameters:
  ///   - columns: of the tables.
  ///   - threads: share out what is added.
  init(_ layout: ParameterLayout, hiddenSize: Int, columns: Int, threads: ThreadPool) {
    self.threads = threads
    self.columns = columns
    // Queries, keys and values are one matrix.
    matrixCount = max(
      3 * hiddenSize * hiddenSize, layout.slots.filter { $0.kind == .weight }.map(\.count).max() ?? 0)
    vectorCount = max(
      3 * hiddenSize, columns, layout.slots.filter { $0.shape.count == 1 }.map(\.count).max() ?? 0)
  }

  deinit { for memory in matrices + vectors { free(memory) } }

  /// The first target's buffer: where a gradient lies in it, it lies in all.
  var base: UnsafeMutablePointer<Float> { targets[0].gradients }

  /// Begins a batch.
  func begin(_ input: PackedBatch, _ groups: RowGroups, _ buffers: [UnsafeMutablePointer<Float>]) {
    let nodes = groups.nodes
    precondition(
      nodes.count <= buffers.count && !nodes.isEmpty && groups.rows.last?.upperBound == input.sequences,
      "groups \(groups) of \(input.sequences) rows, \(buffers.count) buffers")
    self.groups = groups
    targets.removeAll(keepingCapacity: true)
    for (node, buffer) in zip(nodes, buffers) { targets.append(Target(groups: node, gradients: buffer)) }
    tokens.removeAll(keepingCapacity: true)
    for rows in groups.rows {
      tokens.append(Int(input.starts[rows.lowerBound])..<Int(input.starts[rows.upperBound]))
    }
    Self.cut(tokens, blocks: &tokenBlocks, lines: &tokenLines)
    Self.cut(groups.rows, blocks: &rowBlocks, lines: &rowLines)
    while touchedWords.count < buffers.count {
      touchedWords.append(TouchedWords())
      lists.append(TableTokens())
    }
  }

  /// Something else was written over the buffers.
  func forget() { for number in touchedWords.indices { touchedWords[number].areKnown = false } }

  /// Cuts each group's lines into blocks: which lines they are, and the numbers of each group's.
  private static func cut(_ ranges: [Range<Int>], blocks: inout [Range<Int>], lines: inout [Range<Int>]) {
    blocks.removeAll(keepingCapacity: true)
    lines.removeAll(keepingCapacity: true)
    for range in ranges {
      let first = lines.count
      for start in stride(from: range.lowerBound, to: range.upperBound, by: Activations.rowBlock) {
        lines.append(start..<min(start + Activations.rowBlock, range.upperBound))
      }
      blocks.append(first..<lines.count)
    }
  }

  private func index(_ group: Int) -> Int { group - groups.first }

  /// The lines of a group, of all tokens or of first tokens.
  func lines(_ lines: ProductRows, of group: Int) -> Range<Int> {
    switch lines {
    case .tokens: tokens[index(group)]
    case .firstTokens: groups.rows[index(group)]
    }
  }

  /// Blocks of lines: none has lines of two groups.
  func lineBlocks(_ lines: ProductRows) -> [Range<Int>] {
    switch lines {
    case .tokens: tokenLines
    case .firstTokens: rowLines
    }
  }

  /// The numbers of the blocks of lines of a group.
  func blocks(_ lines: ProductRows, of group: Int) -> Range<Int> {
    switch lines {
    case .tokens: tokenBlocks[index(group)]
    case .firstTokens: rowBlocks[index(group)]
    }
  }

  /// The rows of a group.
  func rows(of group: Int) -> Range<Int> { groups.rows[index(group)] }

  // MARK: Matrices

  /// Overwrites the matrix that begins at `place` of the first target, in all targets.
  ///
  /// - Parameters:
  ///   - addsAtOnce: whether `leaf` in the mode `.add` adds what it would have overwritten with, to the bit.
  ///   - leaf: computes a group's own matrix.
  func overwriteMatrices(
    at place: UnsafeMutablePointer<Float>, count: Int, addsAtOnce: (Int) -> Bool,
    _ leaf: (Int, UnsafeMutablePointer<Float>, OutputMode) -> Void
  ) {
    let offset = place - base
    for target in targets {
      overwrite(
        target.gradients + offset, count: count, target.groups, level: 0, addsAtOnce: addsAtOnce, leaf)
    }
  }

  private func overwrite(
    _ output: UnsafeMutablePointer<Float>, count: Int, _ node: Range<Int>, level: Int, addsAtOnce: (Int) -> Bool,
    _ leaf: (Int, UnsafeMutablePointer<Float>, OutputMode) -> Void
  ) {
    guard node.count > 1 else { return leaf(node.lowerBound, output, .overwrite) }
    let middle = GroupTree.middle(node)
    overwrite(output, count: count, node.lowerBound..<middle, level: level, addsAtOnce: addsAtOnce, leaf)
    let right = middle..<node.upperBound
    if right.count == 1, addsAtOnce(middle) { return leaf(middle, output, .add) }
    if count > matrixCount { preconditionFailure("a matrix of \(count), expected at most \(matrixCount)") }
    if matrices.count == level { matrices.append(allocateFloats(matrixCount)) }
    let half = matrices[level]
    overwrite(half, count: count, right, level: level + 1, addsAtOnce: addsAtOnce, leaf)
    threads.forEachPart(of: count, grain: 1 << 12) { _, part in
      add(count: part.count, half + part.lowerBound, to: output + part.lowerBound)
    }
  }

  // MARK: Vectors

  /// Overwrites the vector that begins at `place` of the first target, in all targets; `leaf` overwrites the given columns
  /// with a group's own.
  func overwriteVectors(
    at place: UnsafeMutablePointer<Float>, count: Int,
    _ leaf: (Int, UnsafeMutablePointer<Float>, Range<Int>) -> Void
  ) {
    let offset = place - base
    // Made before threads ask for them.
    for level in vectors.count..<max(vectors.count, depth) { vectors.insert(allocateFloats(vectorCount), at: level) }
    precondition(count <= vectorCount, "a vector of \(count), expected at most \(vectorCount)")
    threads.forEachPart(of: count, grain: 256) { _, part in
      for target in targets { overwrite(target.gradients + offset, part, target.groups, level: 0, leaf) }
    }
  }

  /// Levels of the largest target's right halves.
  private var depth: Int {
    var depth = 0
    while 1 << depth < (targets.map(\.groups.count).max() ?? 0) { depth += 1 }
    return depth
  }

  private func overwrite(
    _ output: UnsafeMutablePointer<Float>, _ part: Range<Int>, _ node: Range<Int>, level: Int,
    _ leaf: (Int, UnsafeMutablePointer<Float>, Range<Int>) -> Void
  ) {
    guard node.count > 1 else { return leaf(node.lowerBound, output, part) }
    let middle = GroupTree.middle(node)
    overwrite(output, part, node.lowerBound..<middle, level: level, leaf)
    overwrite(vectors[level], part, middle..<node.upperBound, level: level + 1, leaf)
    add(count: part.count, vectors[level] + part.lowerBound, to: output + part.lowerBound)
  }

  // MARK: Tables

  /// Overwrites the gradients of the word table: rows that no token of a target has become 0.
  func overwriteWordTable(
    _ table: ParameterSlot, ids: UnsafePointer<Int32>, skippedID: Int32?, _ gradient: UnsafePointer<Float>
  ) {
    sortTokens(ids, rows: table.shape[0], skippedID: skippedID)
    for (number, target) in targets.enumerated() {
      let start = target.gradients + table.offset
      if touchedWords[number].areKnown {
        for word in touchedWords[number].rows {
          (start + Int(word) * columns).update(repeating: 0, count: columns)
        }
      } else {
        start.update(repeating: 0, count: table.count)
      }
      touchedWords[number].areKnown = true
      touchedWords[number].rows.removeAll(keepingCapacity: true)
      for run in lists[number].runs { touchedWords[number].rows.append(run.row) }
    }
    overwriteRows(at: table.offset, gradient)
  }

  /// Overwrites the gradients of a small table.
  func overwriteTable(
    at offset: Int, rows: Int, ids: UnsafePointer<Int32>, skippedID: Int32? = nil, _ gradient: UnsafePointer<Float>
  ) {
    for target in targets { (target.gradients + offset).update(repeating: 0, count: rows * columns) }
    sortTokens(ids, rows: rows, skippedID: skippedID)
    overwriteRows(at: offset, gradient)
  }

  /// Finds the tokens of each row, for every target.
  private func sortTokens(_ ids: UnsafePointer<Int32>, rows: Int, skippedID: Int32?) {
    for (number, target) in targets.enumerated() {
      lists[number].begin(rows: rows)
      for group in target.groups {
        for token in tokens[index(group)] where ids[token] != skippedID { lists[number].count(ids[token]) }
      }
      lists[number].makeRoom()
      for group in target.groups {
        for token in tokens[index(group)] where ids[token] != skippedID { lists[number].add(token, row: ids[token]) }
      }
    }
  }

  private func overwriteRows(at offset: Int, _ gradient: UnsafePointer<Float>) {
    for level in vectors.count..<max(vectors.count, depth) { vectors.insert(allocateFloats(vectorCount), at: level) }
    threads.forEachPart(of: columns, grain: 64) { _, part in
      for (number, target) in targets.enumerated() {
        lists[number].order.withUnsafeBufferPointer { order in
          for run in lists[number].runs {
            let row = target.gradients + offset + Int(run.row) * columns
            _ = overwriteRow(row, part, order[run.places], target.groups, level: 0, gradient)
          }
        }
      }
    }
  }

  /// The sum over a node's tokens of a row; false where it has none. Sums begin at +0, and so are never -0: to leave out
  /// an empty half is to add 0.
  private func overwriteRow(
    _ output: UnsafeMutablePointer<Float>, _ part: Range<Int>, _ list: Slice<UnsafeBufferPointer<Int>>,
    _ node: Range<Int>, level: Int, _ gradient: UnsafePointer<Float>
  ) -> Bool {
    if list.isEmpty { return false }
    if node.count == 1 {
      (output + part.lowerBound).update(repeating: 0, count: part.count)
      for token in list {
        add(count: part.count, gradient + token * columns + part.lowerBound, to: output + part.lowerBound)
      }
      return true
    }
    let middle = GroupTree.middle(node)
    let first = tokens[index(middle)].lowerBound
    let cut = list.firstIndex { $0 >= first } ?? list.endIndex
    let hasLeft = overwriteRow(output, part, list[..<cut], node.lowerBound..<middle, level: level, gradient)
    let right = middle..<node.upperBound
    if !hasLeft { return overwriteRow(output, part, list[cut...], right, level: level, gradient) }
    if overwriteRow(vectors[level], part, list[cut...], right, level: level + 1, gradient) {
      add(count: part.count, vectors[level] + part.lowerBound, to: output + part.lowerBound)
    }
    return true
  }
}

extension BertClassifier {
  /// The gradients of a batch whose rows are groups, from those of the logits of the last forward: of each of
  /// `groups.nodes` in one of `buffers`, overwritten as a whole but for what the encoder has where it is frozen.
  ///
  /// Needs products that are row-independent, and BERT's own head.
  ///
  /// - Parameter buffers: flat buffers; between calls nobody else writes to them, or `forgetGroupedGradients` says so.
  public func backward(
    parameters: UnsafePointer<Float>, groups: RowGroups, into buffers: [UnsafeMutablePointer<Float>],
    encoderIsFrozen: Bool = false
  ) {
    guard let (input, _) = current else { preconditionFailure("backward without forward") }
    precondition(head == nil && gemm.isRowIndependent, "groups of rows need row-independent products and no other head")
    let grouped =
      groupedGradients
      ?? GroupedGradients(
        layout, hiddenSize: configuration.hiddenSize, columns: configuration.embeddingSize, threads: gemm.threads)
    groupedGradients = grouped
    grouped.begin(input, groups, buffers)
    grouping = grouped
    defer { grouping = nil }
    backward(parameters: parameters, gradients: grouped.base, .overwrite, encoderIsFrozen: encoderIsFrozen)
  }

  /// Something else was written over the buffers of the last grouped backward.
  public func forgetGroupedGradients() { groupedGradients?.forget() }
}
