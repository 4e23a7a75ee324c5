import FlightRecorder
import System

/// The collectives as programs call them: the call site is found by itself.
extension Communicator {
  /// Adds up over all ranks, in place: overwrites `buffer` on every rank. `label` stands for the call site.
  public func sum(
    _ buffer: UnsafeMutableBufferPointer<Float>, label: StaticString? = nil, file: StaticString = #fileID,
    line: UInt32 = #line
  ) throws(Failure) {
    try sum(buffer, at: label.map { CallSite(label: $0) } ?? CallSite(file: file, line: line))
  }

  /// Adds up over all ranks, in place: overwrites `buffer` on every rank. `label` stands for the call site.
  public func sum(
    _ buffer: UnsafeMutableBufferPointer<Double>, label: StaticString? = nil, file: StaticString = #fileID,
    line: UInt32 = #line
  ) throws(Failure) {
    try sum(buffer, at: label.map { CallSite(label: $0) } ?? CallSite(file: file, line: line))
  }

  /// The sum of `value` over all ranks.
  public func sum(_ value: Double, file: StaticString = #fileID, line: UInt32 = #line) throws(Failure) -> Double {
    try sum([value], file: file, line: line)[0]
  }

  /// The elementwise sums of `values` over all ranks; the count is the same on every rank.
  public func sum(
    _ values: [Double], file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) -> [Double] {
    var values = values
    try values.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
      try sum(buffer, at: CallSite(file: file, line: line))
    }
    return values
  }

  /// Overwrites `buffer` on every rank but `root` with root's bytes.
  public func broadcast(
    _ buffer: UnsafeMutableRawBufferPointer, from root: Int, file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) {
    try broadcast(buffer, from: root, at: CallSite(file: file, line: line))
  }

  /// Overwrites `values` on every rank but `root` with root's; the count is the same on every rank.
  public func broadcast(
    _ values: UnsafeMutableBufferPointer<Float>, from root: Int, file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) {
    try broadcast(UnsafeMutableRawBufferPointer(values), from: root, at: CallSite(file: file, line: line))
  }

  /// The bytes of `root`, whatever other ranks pass; lengths may differ.
  public func broadcast(
    _ bytes: [UInt8], from root: Int, file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) -> [UInt8] {
    let site = CallSite(file: file, line: line)
    var count = [bytes.count]
    try count.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
      try broadcast(UnsafeMutableRawBufferPointer(buffer), from: root, at: site)
    }
    var result = rank == root ? bytes : [UInt8](repeating: 0, count: count[0])
    try result.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
      try broadcast(UnsafeMutableRawBufferPointer(buffer), from: root, at: site)
    }
    return result
  }

  /// Overwrites `result` (`size * bytes.count` bytes) with the ranks' `bytes` in rank order.
  public func allGather(
    _ bytes: UnsafeRawBufferPointer, into result: UnsafeMutableRawBufferPointer, file: StaticString = #fileID,
    line: UInt32 = #line
  ) throws(Failure) {
    try allGather(bytes, into: result, at: CallSite(file: file, line: line))
  }

  /// Every rank's `value`, in rank order.
  public func allGather(_ value: Int, file: StaticString = #fileID, line: UInt32 = #line) throws(Failure) -> [Int] {
    try gatherFlat([value], at: CallSite(file: file, line: line))
  }

  /// Every rank's `value`, in rank order.
  public func allGather(
    _ value: Double, file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) -> [Double] {
    try gatherFlat([value], at: CallSite(file: file, line: line))
  }

  /// Every rank's `values`, in rank order; the count is the same on every rank.
  public func allGather(
    _ values: [Double], file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) -> [[Double]] {
    let flat = try gatherFlat(values, at: CallSite(file: file, line: line))
    return (0..<size).map { Array(flat[$0 * values.count..<($0 + 1) * values.count]) }
  }

  /// Every rank's `bytes`, in rank order; lengths may differ.
  public func allGather(
    _ bytes: [UInt8], file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) -> [[UInt8]] {
    let site = CallSite(file: file, line: line)
    let counts = try gatherFlat([bytes.count], at: site)
    // Padded to the longest and in pieces, so that every kind of communicator needs the equal-count gather only, and
    // the padding of very unequal lengths stays small.
    let pieceBytes = 1 << 22
    var result = counts.map { count in
      var part: [UInt8] = []
      part.reserveCapacity(count)
      return part
    }
    for start in stride(from: 0, to: counts.max() ?? 0, by: pieceBytes) {
      let width = counts.reduce(0) { max($0, min($1 - start, pieceBytes)) }
      var piece = Array(bytes.dropFirst(start).prefix(width))
      piece.append(contentsOf: repeatElement(0, count: width - piece.count))
      let flat = try gatherFlat(piece, at: site)
      for (rank, count) in counts.enumerated() where count > start {
        result[rank].append(contentsOf: flat[rank * width..<rank * width + min(count - start, width)])
      }
    }
    return result
  }

  /// Returns when all ranks have called it.
  public func barrier(file: StaticString = #fileID, line: UInt32 = #line) throws(Failure) {
    try barrier(at: CallSite(file: file, line: line))
  }

  /// Memory of which every rank on this host gets a part of `count` floats; nil where it can't be had.
  public func makeHostMemory(
    count: Int, file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) -> HostMemory? {
    try makeHostMemory(count: count, at: CallSite(file: file, line: line))
  }

  /// Tells the launcher that this rank waits for an exchange of so many floats between hosts while `body` runs.
  public func waitingForExchange<Result>(
    count: Int, file: StaticString = #fileID, line: UInt32 = #line, _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    record?.enter(Call(.exchange, count: count), at: CallSite(file: file, line: line))
    defer { record?.leave() }
    return try body()
  }

  /// `size * values.count` elements: every rank's `values`, in rank order.
  private func gatherFlat<Value: BitwiseCopyable & Numeric>(
    _ values: [Value], at site: CallSite
  ) throws(Failure) -> [Value] {
    var result = [Value](repeating: 0, count: size * values.count)
    try result.withUnsafeMutableBufferPointer { (result) throws(Failure) in
      try values.withUnsafeBufferPointer { (values) throws(Failure) in
        try allGather(UnsafeRawBufferPointer(values), into: UnsafeMutableRawBufferPointer(result), at: site)
      }
    }
    return result
  }
}

extension Communicator {
  /// Tells the launcher that this rank has finished so many optimizer steps.
  public func noteStep(_ step: Int) { record?.finish(step: step) }

  /// Tells the launcher a digest of what all ranks must hold alike at the end, such as the weights.
  public func noteResult(digest: UInt64) { record?.setDigest(digest) }

  /// Promises the launcher that this program looks at ``isRankAskedToStop`` after each step and ends by itself where it
  /// is true. Without the promise a signal ends the ranks at once.
  public func acceptStop() {
    // Its agent and what has started that, or mpirun alone, send SIGTERM last.
    StopSignals.accept(obeying: record != nil ? 2 : size > 1 ? 1 : 0)
    record?.acceptStop()
  }

  /// Whether this rank was asked to stop: ranks hear of it at different steps, so that they must tell one another and
  /// stop together.
  public var isRankAskedToStop: Bool { record?.isAskedToStop ?? false || StopSignals.received != nil }

  /// Tells the launcher that this rank ends early, as asked. Without the launcher its exit status says so.
  public func noteStop() {
    record?.noteStop(signal: StopSignals.received)
    StopSignals.noteStop()
  }
}
