import FileSystem

/// The ranks of one job, seen from one of them.
///
/// Collectives are called by all ranks in the same order with the same counts, each rank from one thread. Their results
/// have the same bits on every rank. What they throw names the call, the rank and the host.
public protocol Communicator: AnyObject, Sendable {
  /// This rank, `0..<size`.
  var rank: Int { get }
  /// The number of ranks.
  var size: Int { get }
  /// The name of the host that this rank runs on.
  var host: String { get }
  /// This rank's place among the ranks on its host, `0..<localSize`.
  var localRank: Int { get }
  /// The number of ranks on this rank's host.
  var localSize: Int { get }
  /// What `agree` found last; tells an orderly common end from one rank's own failure.
  var agreement: Agreement { get }

  /// Adds up over all ranks, in place: overwrites `buffer` on every rank.
  func sum(_ buffer: UnsafeMutableBufferPointer<Float>) throws(Failure)
  /// Adds up over all ranks, in place: overwrites `buffer` on every rank.
  func sum(_ buffer: UnsafeMutableBufferPointer<Double>) throws(Failure)
  /// Overwrites `buffer` on every rank but `root` with root's bytes.
  func broadcast(_ buffer: UnsafeMutableRawBufferPointer, from root: Int) throws(Failure)
  /// Overwrites `result` (`size * bytes.count` bytes) with the ranks' `bytes` in rank order. The count is the same on
  /// every rank.
  func allGather(_ bytes: UnsafeRawBufferPointer, into result: UnsafeMutableRawBufferPointer) throws(Failure)
  /// Returns when all ranks have called it.
  func barrier() throws(Failure)
  /// Memory of which every rank on this host gets a part of `count` floats (counts may differ), 0 at first, visible to
  /// the others; nil on every rank where it can't be had. Called by all ranks.
  func makeHostMemory(count: Int) throws(Failure) -> HostMemory?
  /// Ends all ranks at once. `.success` is no verdict of an abort: it becomes `.internalError`.
  func abort(_ status: ExitStatus) -> Never
}

extension Communicator {
  /// Whether this rank speaks for all: rank 0.
  public var isMain: Bool { rank == 0 }

  /// `rank 1 (host nodeb)`.
  public var label: String { rankLabel(rank, host: host) }

  /// The sum of `value` over all ranks.
  public func sum(_ value: Double) throws(Failure) -> Double { try sum([value])[0] }

  /// The elementwise sums of `values` over all ranks; the count is the same on every rank.
  public func sum(_ values: [Double]) throws(Failure) -> [Double] {
    var values = values
    try values.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in try sum(buffer) }
    return values
  }

  /// Overwrites `values` on every rank but `root` with root's; the count is the same on every rank.
  public func broadcast(_ values: UnsafeMutableBufferPointer<Float>, from root: Int) throws(Failure) {
    try broadcast(UnsafeMutableRawBufferPointer(values), from: root)
  }

  /// The bytes of `root`, whatever other ranks pass; lengths may differ.
  public func broadcast(_ bytes: [UInt8], from root: Int) throws(Failure) -> [UInt8] {
    var count = [bytes.count]
    try count.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
      try broadcast(UnsafeMutableRawBufferPointer(buffer), from: root)
    }
    var result = rank == root ? bytes : [UInt8](repeating: 0, count: count[0])
    try result.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
      try broadcast(UnsafeMutableRawBufferPointer(buffer), from: root)
    }
    return result
  }

  /// Every rank's `value`, in rank order.
  public func allGather(_ value: Int) throws(Failure) -> [Int] { try gatherFlat([value]) }

  /// Every rank's `value`, in rank order.
  public func allGather(_ value: Double) throws(Failure) -> [Double] { try gatherFlat([value]) }

  /// Every rank's `values`, in rank order; the count is the same on every rank.
  public func allGather(_ values: [Double]) throws(Failure) -> [[Double]] {
    let flat = try gatherFlat(values)
    return (0..<size).map { Array(flat[$0 * values.count..<($0 + 1) * values.count]) }
  }

  /// Every rank's `bytes`, in rank order; lengths may differ.
  public func allGather(_ bytes: [UInt8]) throws(Failure) -> [[UInt8]] {
    let counts = try allGather(bytes.count)
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
      let flat = try gatherFlat(piece)
      for (rank, count) in counts.enumerated() where count > start {
        result[rank].append(contentsOf: flat[rank * width..<rank * width + min(count - start, width)])
      }
    }
    return result
  }

  /// `size * values.count` elements: every rank's `values`, in rank order.
  private func gatherFlat<Value: BitwiseCopyable & Numeric>(_ values: [Value]) throws(Failure) -> [Value] {
    var result = [Value](repeating: 0, count: size * values.count)
    try result.withUnsafeMutableBufferPointer { (result) throws(Failure) in
      try values.withUnsafeBufferPointer { (values) throws(Failure) in
        try allGather(UnsafeRawBufferPointer(values), into: UnsafeMutableRawBufferPointer(result))
      }
    }
    return result
  }
}

/// `rank 1 (host nodeb)`.
func rankLabel(_ rank: Int, host: String) -> String { "rank \(rank) (host \(host))" }
