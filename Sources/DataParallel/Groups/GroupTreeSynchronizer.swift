import Collectives
import Kernels
import System

/// Adds the gradients of all ranks' row groups along `GroupTree`, so that the sums have the same bits on any number of
/// ranks, hosts and threads.
///
/// Each rank keeps the largest nodes that its groups make up, in memory that its host sees. The owner of a slice of the
/// parameters adds them up; where there are several hosts, each sends its own largest nodes of the slice to the owners on
/// the others, piece by piece, in fp32. A window's rounds are added up one after the other, each when all of it is there.
/// Norms are sums over blocks that begin at multiples of a fixed count, in their order.
package final class GroupTreeSynchronizer: GradientSynchronizer, GradientRounds {
  /// Floats whose squares are added up together; slices are made of whole ones.
  private static let blockCount = 4096
  /// Floats that hosts send one another at a time: whole blocks.
  private static let pieceCount = 1 << 20

  package let gradients: FloatBuffer
  package let common: FloatBuffer
  package var isInFirstGroup: Bool { groups.own == 0 }
  /// Others read them in `reduce` and `addRound` only.
  package var hasBegun: Bool { false }
  package private(set) var transfer = Transfer()
  package var rounds: (any GradientRounds)? { self }

  package let plan: RowGroupPlan
  /// Buffers for this rank's nodes, the first of them its gradients.
  package let buffers: [UnsafeMutablePointer<Float>]
  /// Whether nobody else has written to them since the last backward.
  package var areBuffersKnown = false

  private let communicator: any Communicator
  private let memory: any ReplicaMemory
  private let seen: GradientMemory
  private let groups: HostTopology
  private let threads: ThreadPool
  private let parameterUpdate: any ParameterUpdate
  /// This rank's slice of the parameters; may be empty.
  private let part: Range<Int>
  private let trained: Range<Int>
  private let channel: (any PointToPointChannel)?
  /// What keeps them.
  private let owners: [AnyObject]
  private let table: TableGradients
  private var touched: TouchedEmbeddingRows
  /// The sum of a window so far, of the slice; made where a window has several rounds or is updated later.
  private var sums: FloatBuffer?
  /// Σ g² of each block of the whole buffer; those of this rank's slice only.
  private var squares: [Double]
  /// The same of all slices.
  private var allSquares: [Double]
  private var sumPlans: GroupSumPlans
  /// Rows of the present round over all ranks, and whether it is the window's first.
  private var round: (rows: Int, isFirst: Bool) = (0, true)

  /// Called by all ranks.
  init(
    _ memory: any ReplicaMemory, _ seen: GradientMemory, _ layout: GradientLayout, _ groups: HostTopology,
    _ plan: RowGroupPlan, threads: ThreadPool, part: Range<Int>, update: any ParameterUpdate,
    _ communicator: any Communicator
  ) throws(Failure) {
    self.communicator = communicator
    self.memory = memory
    self.seen = seen
    self.groups = groups
    self.plan = plan
    self.threads = threads
    self.part = part
    trained = layout.trained
    parameterUpdate = update
    gradients = seen.own
    common = seen.common
    table = TableGradients(layout, seen)
    touched = TouchedEmbeddingRows(layout)
    squares = Array(repeating: 0, count: (layout.count + Self.blockCount - 1) / Self.blockCount)
    allSquares = squares
    channel = groups.count > 1 ? try communicator.makeLink() : nil
    // Where the ranks divide the groups evenly, one buffer each will do.
    let more = plan.mostNodes(ranks: communicator.size) - 1
    let stride = (layout.count + 15) / 16 * 16
    var owners: [AnyObject] = []
    var buffers = seen.ofGroup.map { [$0] }
    if more > 0, memory.isShared {
      guard let further = try communicator.makeHostMemory(count: more * stride) else {
        throw Failure(
          .unavailable, "the ranks of a host cannot share memory for \(more) more buffers of gradients each",
          hint: "a number of ranks that divides \(plan.groupCount(rows: plan.globalBatchSize)) needs none")
      }
      for (place, part) in further.parts.enumerated() {
        guard let start = part.baseAddress else { preconditionFailure("host memory without an address") }
        for index in 0..<more { buffers[place].append(start + index * stride) }
      }
      owners.append(further)
    } else if more > 0 {
      let further = FloatBuffer(count: more * stride)
      for index in 0..<more { buffers[0].append(further.pointer + index * stride) }
      owners.append(further)
    }
    self.owners = owners
    self.buffers = buffers[groups.place]
    sumPlans = GroupSumPlans(
      plan, groups, ranks: communicator.size, buffers: buffers, pieceCount: min(Self.pieceCount, part.count))
  }

  /// The slice of `range` that a rank updates: whole blocks of the buffer.
  static func slice(of range: Range<Int>, _ groups: HostTopology) -> Range<Int> {
    guard groups.isInPeerGroup else { return 0..<0 }
    let first = range.lowerBound / blockCount
    let blocks = (range.upperBound + blockCount - 1) / blockCount - first
    let start = (first + blocks * groups.place / groups.peerGroupCount) * blockCount
    let end = (first + blocks * (groups.place + 1) / groups.peerGroupCount) * blockCount
    return (start..<end).clamped(to: range)
  }

  // MARK: A window

  package func beginWindow() { transfer = Transfer() }
  package func touch(rows: UnsafeBufferPointer<Int32>) { table.touch(rows) }
  package func forgetGradients() { areBuffersKnown = false }
  package func begin(_ header: StepHeader) {}
  package func advance(to offset: Int) {}

  /// Begins a round of the window, before its backward.
  package func beginRound(rows: Int, isFirst: Bool) {
    round = (rows, isFirst)
    seen.mailbox.touched.update(repeating: 0)
  }

  package func addRound() throws(Failure) {
    try addUp(isLast: false, updates: false)
    try communicator.barrier()
  }

  package func reduce(
    _ header: StepHeader, _ decide: ([StepHeader]) -> UpdateDecision, reached: (ReductionPhase) -> Void
  ) throws(Failure) -> ReducedGradients {
    let headers = try communicator.allGather(header)
    reached(.heard)
    let decision = decide(headers)
    if decision == .never { return ReducedGradients(headers: headers, squaredNorm: .nan) }
    try addUp(isLast: true, updates: decision == .now)
    reached(decision == .now ? .updated : .summed)
    // Each block has one owner in the first group: to all others' 0 nothing is added that could round. Also the sign that
    // all are through with their slices.
    let counts = isInFirstGroup
    for block in squares.indices { allSquares[block] = counts ? squares[block] : 0 }
    try allSquares.withUnsafeMutableBufferPointer { (all) throws(Failure) in try communicator.sum(all) }
    return ReducedGradients(headers: headers, squaredNorm: allSquares.reduce(0, +))
  }

  package func update(updated: () -> Void) throws(Failure) {
    if let sums {
      forEachBlock(part, scratchCount: 0) { [part, memory, parameterUpdate] block, _ in
        parameterUpdate.apply(
          block, parameters: memory.weights.pointer,
          gradient: UnsafePointer(sums.pointer + (block.lowerBound - part.lowerBound)))
      }
    }
    updated()
    try memory.endUpdate(communicator)
  }

  package func badGradient(in tensors: [Range<Int>]) -> BadGradient? {
    let nodes = plan.share(rank: communicator.rank, ranks: communicator.size, rows: round.rows).groups.nodes
    let bad = buffers.prefix(nodes.count).compactMap { UnsafePointer($0).lastBad(of: tensors, in: trained) }.max()
    if let bad { return BadGradient(tensor: bad, rank: communicator.rank) }
    // Of earlier rounds of the window only the sums are left.
    return sums.flatMap { UnsafePointer($0.pointer - part.lowerBound).lastBad(of: tensors, in: part) }
      .map { BadGradient(tensor: $0) }
  }

  // MARK: Sums

  /// Adds up the round's gradients, on top of those of the window's earlier ones. All ranks' gradients are there; nobody may
  /// overwrite them before all have returned.
  ///
  /// - Parameter updates: whether the window's sum is applied at once; else it is kept.
  private func addUp(isLast: Bool, updates: Bool) throws(Failure) {
    let rows = round.rows
    if sums == nil, !(round.isFirst && updates) { sums = FloatBuffer(count: part.count) }
    if groups.count > 1, !groups.isInPeerGroup { return }
    let sumPlan = sumPlans.plan(rows: rows)
    guard groups.count > 1, let channel else {
      touched.clear()
      for mailbox in seen.mailboxes { touched.formUnion(mailbox.touched) }
      return finish(
        part, sumPlan.whole, sumPlan.local, offset: 0, touched: touched, isLast: isLast, updates: updates)
    }
    let begin = LapClock.now()
    // Cut at the same places on every host.
    for start in stride(from: part.lowerBound, to: part.upperBound, by: Self.pieceCount) {
      let piece = start..<min(start + Self.pieceCount, part.upperBound)
      for (index, program) in sumPlan.programs.enumerated() {
        gather(piece, program, sumPlan.local, into: sumPlan.pieces[index])
      }
      try exchange(piece.count, sumPlan, channel)
      // Rows that no rank of another host touches are not known, and 0.
      finish(
        piece, sumPlan.whole, sumPlan.sources, offset: piece.lowerBound, touched: nil, isLast: isLast,
        updates: updates)
    }
    let end = LapClock.now()
    transfer.seconds += end - begin
    transfer.span = (transfer.span?.lowerBound ?? begin)...end
  }

  /// Sends this host's pieces to this rank's peers, and fills those behind with theirs.
  private func exchange(
    _ count: Int, _ sumPlan: GroupSumPlan, _ channel: any PointToPointChannel
  ) throws(Failure) {
    var messages: [Int] = []
    let own = sumPlan.programs.count
    var next = own
    let byteCount = count * MemoryLayout<Float>.stride
    for (other, nodes) in sumPlan.others {
      let peer = groups.ranks[other][groups.place]
      for node in 0..<nodes {
        let bytes = UnsafeMutableRawBufferPointer(start: sumPlan.pieces[next], count: byteCount)
        messages.append(try channel.receive(bytes, from: peer, tag: node))
        next += 1
      }
      for node in 0..<own {
        let bytes = UnsafeRawBufferPointer(start: sumPlan.pieces[node], count: byteCount)
        messages.append(try channel.send(bytes, to: peer, tag: node))
        transfer.bytes += byteCount
      }
    }
    for message in messages { try channel.wait(for: message) }
  }

  /// Calls `body` with each block of `range` and memory for sums, and for one block more.
  private func forEachBlock(
    _ range: Range<Int>, scratchCount: Int, _ body: (Range<Int>, UnsafeMutablePointer<Float>) -> Void
  ) {
    let first = range.lowerBound / Self.blockCount
    let blocks = range.isEmpty ? 0 : (range.upperBound - 1) / Self.blockCount + 1 - first
    // Several at a time: a thread's memory for sums is asked for once.
    threads.forEachBlock(of: blocks, blockCount: 16) { _, some in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: (scratchCount + 1) * Self.blockCount) { memory in
        guard let scratch = memory.baseAddress else { return }
        for block in some {
          let start = (first + block) * Self.blockCount
          body((start..<start + Self.blockCount).clamped(to: range), scratch)
        }
      }
    }
  }

  private func gather(
    _ piece: Range<Int>, _ program: GroupSumProgram, _ sources: [UnsafePointer<Float>],
    into output: UnsafeMutablePointer<Float>
  ) {
    forEachBlock(piece, scratchCount: program.scratchCount) { block, scratch in
      let sum = program.sum(
        count: block.count, { sources[$0] + block.lowerBound }, scratch: scratch, width: Self.blockCount)
      (output + (block.lowerBound - piece.lowerBound)).update(from: sum, count: block.count)
    }
  }

  /// Adds up a range of the slice, block by block, and keeps or applies the sums.
  ///
  /// - Parameter offset: of what the sources begin with.
  private func finish(
    _ range: Range<Int>, _ program: GroupSumProgram, _ sources: [UnsafePointer<Float>], offset: Int,
    touched: TouchedEmbeddingRows?, isLast: Bool, updates: Bool
  ) {
    let sums = sums.map { $0.pointer - part.lowerBound }
    let isFirst = round.isFirst
    squares.withUnsafeMutableBufferPointer { squares in
      forEachBlock(range, scratchCount: program.scratchCount) { [memory, parameterUpdate] block, scratch in
        let whole = scratch + program.scratchCount * Self.blockCount
        var gradient = UnsafePointer(whole)
        func sum(_ range: Range<Int>) -> UnsafePointer<Float> {
          program.sum(
            count: range.count, { sources[$0] + (range.lowerBound - offset) }, scratch: scratch,
            width: Self.blockCount)
        }
        if let touched {
          touched.forEachRun(in: block) { run, isTouched in
            let output = whole + (run.lowerBound - block.lowerBound)
            if !isTouched {
              output.update(repeating: 0, count: run.count)
            } else if run == block {
              gradient = sum(run)
            } else {
              output.update(from: sum(run), count: run.count)
            }
          }
        } else {
          gradient = sum(block)
        }
        if !isFirst, let sums {
          add(count: block.count, sums + block.lowerBound, gradient, into: whole)
          gradient = UnsafePointer(whole)
        }
        if isLast { squares[block.lowerBound / Self.blockCount] = sumOfSquares(count: block.count, gradient) }
        if updates {
          parameterUpdate.apply(block, parameters: memory.weights.pointer, gradient: gradient)
        } else if let sums {
          (sums + block.lowerBound).update(from: gradient, count: block.count)
        }
      }
    }
  }
}
