import Collectives
import System

/// How `Accelerator.reduce` joins the ranks' numbers.
public enum Reduction: Sendable { case sum, mean, max }

extension Accelerator {
  /// Returns when all ranks have called it.
  public func waitForEveryone(file: StaticString = #fileID, line: UInt32 = #line) throws(Failure) {
    try communicator.barrier(file: file, line: line)
  }

  /// Runs `body` on the main process first, then on all others: what the first writes the others find. Called by all
  /// ranks, which all throw where the first fails.
  public func mainProcessFirst<Result>(_ body: () throws -> Result) throws -> Result {
    guard isMainProcess else {
      try communicator.agree { () throws(Failure) in }
      return try body()
    }
    var outcome: Swift.Result<Result, any Error>?
    try communicator.agree { () throws(Failure) in
      do {
        outcome = .success(try body())
      } catch { throw failure(of: error) }
    }
    guard let outcome else { preconditionFailure("mainProcessFirst has not run") }
    return try outcome.get()
  }

  /// The values of all ranks, one rank's after the other; their counts may differ.
  public func gather<Value: BitwiseCopyable>(
    _ values: [Value], file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) -> [Value] {
    let parts = try communicator.allGather(bytes(of: values), file: file, line: line)
    return parts.flatMap { self.values(of: $0) }
  }

  /// The rows of all ranks, one rank's after the other; their numbers may differ.
  public func gather(
    _ matrix: Matrix, file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) -> Matrix {
    let values = try gather(matrix.values, file: file, line: line)
    return Matrix(rows: matrix.columns == 0 ? 0 : values.count / matrix.columns, columns: matrix.columns, values)
  }

  /// The values of all ranks' rows of the present batch, each row once: rows that only fill up the last round are left
  /// out. In the order of the data set where the loader does not shuffle. Called within the loop over a prepared loader.
  ///
  /// - Parameters:
  ///   - values: `[rows]` of this rank's batch.
  ///   - file: where it is called, for messages.
  ///   - line: the same.
  /// - Throws: a misuse where there is no batch, or the counts differ, as after a mean over the batch.
  public func gatherForMetrics<Value: BitwiseCopyable>(
    _ values: [Value], file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) -> [Value] {
    try gather(ownRows(values.count, { Array(values.prefix($0)) }), file: file, line: line)
  }

  /// The same for predictions and references together.
  public func gatherForMetrics<First: BitwiseCopyable, Second: BitwiseCopyable>(
    _ first: [First], _ second: [Second], file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) -> ([First], [Second]) {
    (
      try gatherForMetrics(first, file: file, line: line), try gatherForMetrics(second, file: file, line: line)
    )
  }

  /// The same for the rows of a matrix, such as logits.
  public func gatherForMetrics(
    _ matrix: Matrix, file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) -> Matrix {
    let own = try ownRows(matrix.rows) { count in
      Matrix(rows: count, columns: matrix.columns, Array(matrix.values.prefix(count * matrix.columns)))
    }
    return try gather(own, file: file, line: line)
  }

  private func ownRows<Part>(_ count: Int, _ prefix: (Int) -> Part) throws(Failure) -> Part {
    guard let batch = currentBatch else {
      throw misuse(
        "accelerator.gatherForMetrics", "there is no batch of a prepared loader",
        hint: "call it within the loop over a loader that was passed to prepare")
    }
    guard count == batch.count else {
      throw misuse(
        "accelerator.gatherForMetrics", "\(count) values for a batch of \(batch.count) rows, expected one for each row",
        hint: "gather takes any number")
    }
    return prefix(batch.ownCount)
  }

  /// Joins the ranks' numbers, place by place; the count is the same on every rank.
  public func reduce(
    _ values: [Double], _ reduction: Reduction = .sum, file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) -> [Double] {
    // Every rank sees the same counts, so all throw; MPI would add up what does not belong together.
    let counts = try communicator.allGather(values.count, file: file, line: line)
    guard counts.allSatisfy({ $0 == counts[0] }) else {
      throw misuse(
        "accelerator.reduce", "the ranks gave \(counts) numbers, expected as many on each",
        hint: "padAcrossProcesses makes them as many")
    }
    switch reduction {
    case .sum: return try communicator.sum(values, file: file, line: line)
    case .mean:
      return try communicator.sum(values, file: file, line: line).map { $0 / Double(numProcesses) }
    case .max:
      let all = try communicator.allGather(values, file: file, line: line)
      return values.indices.map { place in all.map { $0[place] }.reduce(-.infinity, Swift.max) }
    }
  }

  /// Joins a number of each rank.
  public func reduce(
    _ value: Double, _ reduction: Reduction = .sum, file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) -> Double {
    try reduce([value], reduction, file: file, line: line)[0]
  }

  /// The values of rank `root`, whatever the others pass.
  public func broadcast<Value: BitwiseCopyable>(
    _ values: [Value], from root: Int = 0, file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) -> [Value] {
    guard 0..<numProcesses ~= root else {
      throw misuse("accelerator.broadcast", "rank \(root), expected 0 to \(numProcesses - 1)")
    }
    return self.values(of: try communicator.broadcast(bytes(of: values), from: root, file: file, line: line))
  }

  /// The text of rank `root`, whatever the others pass.
  public func broadcast(
    _ text: String, from root: Int = 0, file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) -> String {
    String(decoding: try broadcast(Array(text.utf8), from: root, file: file, line: line), as: UTF8.self)
  }

  /// The values, filled up to the largest count of any rank.
  ///
  /// - Parameters:
  ///   - values: this rank's.
  ///   - padding: what fills them up.
  ///   - padFirst: in front instead of behind.
  ///   - file: where it is called, for messages.
  ///   - line: the same.
  public func padAcrossProcesses<Value>(
    _ values: [Value], padding: Value, padFirst: Bool = false, file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) -> [Value] {
    let most = try communicator.allGather(values.count, file: file, line: line).max() ?? 0
    let fill = [Value](repeating: padding, count: most - values.count)
    return padFirst ? fill + values : values + fill
  }

  /// This rank's part of `inputs`, which are the same on every rank: contiguous, as even as can be, the first ranks with
  /// one more.
  ///
  /// - Parameters:
  ///   - inputs: the same on every rank.
  ///   - applyPadding: repeats the last input, so that all parts are of one size.
  public func splitBetweenProcesses<Input>(_ inputs: [Input], applyPadding: Bool = false) -> [Input] {
    let (share, larger) = inputs.count.quotientAndRemainder(dividingBy: numProcesses)
    let start = processIndex * share + min(processIndex, larger)
    var part = Array(inputs[start..<start + share + (processIndex < larger ? 1 : 0)])
    if applyPadding, larger > 0, part.count == share, let last = inputs.last { part.append(last) }
    return part
  }

  private func bytes<Value: BitwiseCopyable>(of values: [Value]) -> [UInt8] {
    values.withUnsafeBytes { Array($0) }
  }

  private func values<Value: BitwiseCopyable>(of bytes: [UInt8]) -> [Value] {
    bytes.withUnsafeBytes { bytes in
      (0..<bytes.count / MemoryLayout<Value>.stride).map {
        bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Value>.stride, as: Value.self)
      }
    }
  }
}
