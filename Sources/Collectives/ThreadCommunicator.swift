import FlightRecorder
import Glibc
import Synchronization
import System

/// One of several ranks that are threads of one process: for tests, and for all ranks under one debugger.
///
/// Sums are added in rank order, each rank adding up one slice of the buffer for all. Calls that do not match throw
/// `.disagreement` on all ranks, naming two of them; a rank that throws or returns makes the others' next collective
/// throw instead of waiting for it.
public final class ThreadCommunicator: Communicator {
  public let rank: Int
  public let agreement = Agreement()
  public let record: FlightRecorder?
  public var size: Int { rendezvous.size }
  public let host: String
  public var localRank: Int { rank - neighbours.lowerBound }
  public var localSize: Int { neighbours.count }
  public var hostLeader: Int { neighbours.lowerBound }
  private let rendezvous: ThreadRendezvous
  /// The ranks on this rank's host.
  private let neighbours: Range<Int>
  private let channels = Atomic<Int>(0)

  private init(rank: Int, rendezvous: ThreadRendezvous, hosts: SimulatedHosts?, record: FlightRecorder?) {
    self.rank = rank
    self.rendezvous = rendezvous
    self.record = record
    neighbours = hosts?.ranks(beside: rank) ?? 0..<rendezvous.size
    host = hosts?.name(of: rank, on: rendezvous.host) ?? rendezvous.host
  }

  /// Runs `body` as `ranks` ranks, each a thread with a stack of `stackBytes`; the results in rank order.
  ///
  /// Throws, once all threads have ended, the failure that came first, with the rank and host in front unless all
  /// ranks agreed on it.
  ///
  /// - Parameters:
  ///   - hosts: how many ranks each of several hosts has that the ranks pretend to be on, for tests.
  ///   - record: what the launcher reads of the process; rank 0 writes it.
  public static func run<Result: Sendable>(
    ranks: Int, hosts: [Int]? = nil, stackBytes: Int = 64 << 20, record: FlightRecorder? = nil,
    _ body: @escaping @Sendable (ThreadCommunicator) throws(Failure) -> Result
  ) throws(Failure) -> [Result] {
    precondition(ranks > 0, "\(ranks) ranks")
    let hosts = try hosts.map { (sizes) throws(Failure) in
      try SimulatedHosts(sizes.map { "\($0)" }.joined(separator: ","), ranks: ranks)
    }
    return try run(ranks: ranks, simulated: hosts, stackBytes: stackBytes, record: record, body)
  }

  /// The same, with the hosts made.
  static func run<Result: Sendable>(
    ranks: Int, simulated hosts: SimulatedHosts?, stackBytes: Int = 64 << 20, record: FlightRecorder? = nil,
    _ body: @escaping @Sendable (ThreadCommunicator) throws(Failure) -> Result
  ) throws(Failure) -> [Result] {
    let rendezvous = ThreadRendezvous(size: ranks, host: hostName())
    let results = SharedResults<Result>(count: ranks)
    var threads: [Thread] = []
    for rank in 0..<ranks {
      let thread = Thread(stackBytes: stackBytes) {
        let communicator = ThreadCommunicator(
          rank: rank, rendezvous: rendezvous, hosts: hosts, record: rank == 0 ? record : nil)
        do throws(Failure) {
          results.set(try body(communicator), at: rank)
          rendezvous.finish(rank, failure: nil)
        } catch {
          rendezvous.finish(rank, failure: error, isAgreed: communicator.agreement.covers(error))
        }
      }
      guard let thread else {
        rendezvous.finish(rank, failure: Failure(.unavailable, "a thread cannot be started: \(lastSystemError())"))
        break
      }
      threads.append(thread)
    }
    for thread in threads { thread.join() }
    if let failure = rendezvous.firstFailure { throw failure }
    return results.all()
  }

  public func sum(_ buffer: UnsafeMutableBufferPointer<Float>, at site: CallSite) throws(Failure) {
    try sum(buffer, .sumOfFloats)
  }

  public func sum(_ buffer: UnsafeMutableBufferPointer<Double>, at site: CallSite) throws(Failure) {
    try sum(buffer, .sumOfDoubles)
  }

  private func sum<Value: BinaryFloatingPoint & BitwiseCopyable>(
    _ buffer: UnsafeMutableBufferPointer<Value>, _ kind: Call.Kind
  ) throws(Failure) {
    let call = Call(kind, count: buffer.count)
    let slice = (rank * buffer.count / size)..<((rank + 1) * buffer.count / size)
    try rendezvous.collective(call, rank: rank, buffer: UnsafeMutableRawBufferPointer(buffer)) { buffers in
      addSlice(slice, of: buffers.map { $0.bindMemory(to: Value.self) })
    }
  }

  public func broadcast(
    _ buffer: UnsafeMutableRawBufferPointer, from root: Int, at site: CallSite
  ) throws(Failure) {
    precondition(0..<size ~= root, "broadcast from rank \(root) of \(size)")
    let call = Call(.broadcast, count: buffer.count, root: root)
    try rendezvous.collective(call, rank: rank, buffer: buffer) { buffers in
      if rank != root { buffer.copyMemory(from: UnsafeRawBufferPointer(buffers[root])) }
    }
  }

  public func allGather(
    _ bytes: UnsafeRawBufferPointer, into result: UnsafeMutableRawBufferPointer, at site: CallSite
  ) throws(Failure) {
    precondition(result.count == size * bytes.count, "gathering \(bytes.count) of \(size) ranks into \(result.count)")
    let call = Call(.gather, count: bytes.count)
    // Each rank puts its bytes into its own part, then takes the others' parts from there.
    let own = rank * bytes.count..<(rank + 1) * bytes.count
    UnsafeMutableRawBufferPointer(rebasing: result[own]).copyMemory(from: bytes)
    try rendezvous.collective(call, rank: rank, buffer: result) { buffers in
      for other in 0..<size where other != rank {
        let part = other * bytes.count..<(other + 1) * bytes.count
        UnsafeMutableRawBufferPointer(rebasing: result[part])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: buffers[other][part]))
      }
    }
  }

  public func barrier(at site: CallSite) throws(Failure) {
    let nothing = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    try rendezvous.collective(Call(.barrier), rank: rank, buffer: nothing) { _ in }
  }

  public func makeHostMemory(count: Int, at site: CallSite) throws(Failure) -> HostMemory? {
    let part = rendezvous.showBlock(count, of: rank)
    // Each may hide its own when all have taken all, which is when the collective is through.
    defer { rendezvous.hideBlock(of: rank) }
    var blocks: [FloatBlock] = []
    try rendezvous.collective(Call(.hostMemory), rank: rank, buffer: UnsafeMutableRawBufferPointer(part.floats)) { _ in
      blocks = neighbours.compactMap(rendezvous.block)
    }
    precondition(blocks.count == neighbours.count, "\(blocks.count) blocks of \(neighbours.count) ranks")
    return HostMemory(blocks.map(\.floats), owners: blocks)
  }

  public func makeLink() -> any PointToPointChannel {
    let number = channels.add(1, ordering: .relaxed).newValue
    return ThreadChannel(rendezvous, rank: rank, number: number)
  }

  public func abort(_ status: ExitStatus) -> Never { endProcess(status) }
}

/// Overwrites `slice` of every buffer with the sum over the buffers, added in their order.
private func addSlice<Value: BinaryFloatingPoint & BitwiseCopyable>(
  _ slice: Range<Int>, of buffers: [UnsafeMutableBufferPointer<Value>]
) {
  // Small enough that a block is still in the cache when it is copied back.
  let blockCount = 4096
  for start in stride(from: slice.lowerBound, to: slice.upperBound, by: blockCount) {
    let count = min(blockCount, slice.upperBound - start)
    guard let total = buffers[0].baseAddress.map({ $0 + start }) else { return }
    for buffer in buffers.dropFirst() {
      let other = buffer.baseAddress! + start
      for index in 0..<count { total[index] += other[index] }
    }
    for buffer in buffers.dropFirst() { (buffer.baseAddress! + start).update(from: total, count: count) }
  }
}
