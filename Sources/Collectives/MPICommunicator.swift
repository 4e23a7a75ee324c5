import CMPI
import FlightRecorder
import Glibc
import Synchronization
import System

/// The ranks that an MPI launcher started, one process each.
///
/// Made once per process; used and finalized by the thread that made it; its channels may be used by another thread, one
/// call at a time (`MPI_THREAD_SERIALIZED`). Errors come back as
/// `Failure` (`MPI_ERRORS_RETURN`), but Open MPI reports few: a lost rank ends the job through the launcher, and
/// mismatched calls are not noticed.
public final class MPICommunicator: Communicator {
  public let rank: Int
  public let size: Int
  public let host: String
  public let localRank: Int
  public let localSize: Int
  public let hostLeader: Int
  /// Whether another thread may use a channel.
  public let linksMayBeUsedByOtherThreads: Bool
  public let agreement = Agreement()
  public let record: FlightRecorder?

  /// MPI's handles; under their lock is every call of MPI.
  private struct Handles {
    var world: MPI_Comm?
    /// The ranks that share memory with this one.
    var local: MPI_Comm?
    /// Channels of channels, freed when MPI ends.
    var channels: [MPI_Comm?] = []
  }
  private let handles: Mutex<Handles>
  private let sharedFiles = Mutex(SharedFiles())
  /// Blocks of memory of a rank that is alone on its host.
  private let ownBlocks = Atomic<Int>(0)
  /// Whether every collective first compares what the ranks call.
  private let comparesCalls: Bool
  private let thread = pthread_self()

  /// The elements of one `MPI_Allreduce`. Open MPI allocates a temporary as large as the message: in pieces it is not
  /// mapped anew for each call. 110 M floats on 2 ranks of one host took 120 ms instead of 237; smaller pieces are no
  /// quicker, and slower where other processes want the cores, as each piece waits for the other rank a few times.
  static let sumPiece = 1 << 21
  /// The bytes of one broadcast: each piece is a sign of life, also where the network is slow.
  static let broadcastPiece = 1 << 22
  /// The bytes of one gather: counts are `Int32`.
  static let gatherPiece = 1 << 30

  /// Initialises MPI. `expectedSize` is what the launcher's environment promises; `record` is kept for the launcher.
  ///
  /// - Parameters:
  ///   - simulatedHosts: ranks of each host that they pretend to be on, as `2,1`.
  ///   - comparesCalls: whether every collective first compares what the ranks call.
  public init(
    expectedSize: Int? = nil, record: FlightRecorder? = nil, simulatedHosts: String? = nil, comparesCalls: Bool = false
  ) throws(Failure) {
    self.record = record
    let machine = hostName()
    self.comparesCalls = comparesCalls
    var call = MPICall(name: "MPI_Init_thread", rank: nil, host: machine)
    linksMayBeUsedByOtherThreads = try Self.start(&call) >= MPI_THREAD_SERIALIZED

    // A communicator of our own: other users of MPI in the process cannot mix their messages with ours.
    var world: MPI_Comm?
    call.name = "MPI_Comm_dup"
    try call.check(MPI_Comm_dup(lockstep_comm_world(), &world))
    (rank, size) = try Self.place(in: world, &call)
    call.rank = rank

    let ranks = size
    let pretended = try simulatedHosts.map { (text) throws(Failure) in try SimulatedHosts(text, ranks: ranks) }
    host = pretended?.name(of: rank, on: machine) ?? machine
    let local = try Self.ranksOfHost(in: world, rank: rank, pretended, &call)
    (localRank, localSize) = try Self.place(in: local, &call)
    var leader = Int32(rank)
    call.name = "MPI_Bcast"
    try call.check(MPI_Bcast(&leader, 4, lockstep_byte(), 0, local))
    hostLeader = Int(leader)
    handles = Mutex(Handles(world: world, local: local))

    if let expectedSize, expectedSize != size {
      throw Failure(
        .unavailable, "MPI found \(size) rank\(size == 1 ? "" : "s"), the launcher started \(expectedSize)",
        hint: "the launcher must belong to this Open MPI; under Slurm use `srun --mpi=pmix`, or mpirun")
    }
    record?.join(rank: rank, size: size)
  }

  /// Initialises MPI with errors that come back; returns the thread level that it has.
  private static func start(_ call: inout MPICall) throws(Failure) -> Int32 {
    var isInitialized: Int32 = 0
    MPI_Initialized(&isInitialized)
    precondition(isInitialized == 0, "MPI is initialised already; a process has one MPICommunicator")
    var provided: Int32 = 0
    call.name = "MPI_Init_thread"
    try call.check(MPI_Init_thread(nil, nil, Int32(MPI_THREAD_SERIALIZED), &provided), otherwise: .unavailable)
    guard provided >= MPI_THREAD_FUNNELED else {
      throw Failure(
        .unavailable, "MPI on host \(call.host) has thread level \(provided), expected \(MPI_THREAD_FUNNELED)")
    }
    call.name = "MPI_Comm_set_errhandler"
    try call.check(MPI_Comm_set_errhandler(lockstep_comm_world(), lockstep_errors_return()))
    return provided
  }

  /// This process's rank in a communicator, and its size.
  private static func place(
    in communicator: MPI_Comm?, _ call: inout MPICall
  ) throws(Failure) -> (rank: Int, size: Int) {
    var numbers: (rank: Int32, size: Int32) = (0, 0)
    call.name = "MPI_Comm_rank"
    try call.check(MPI_Comm_rank(communicator, &numbers.rank))
    call.name = "MPI_Comm_size"
    try call.check(MPI_Comm_size(communicator, &numbers.size))
    return (Int(numbers.rank), Int(numbers.size))
  }

  /// The ranks that share memory with this one; of those, where hosts are pretended, the ones of its host.
  private static func ranksOfHost(
    in world: MPI_Comm?, rank: Int, _ pretended: SimulatedHosts?, _ call: inout MPICall
  ) throws(Failure) -> MPI_Comm? {
    var local: MPI_Comm?
    call.name = "MPI_Comm_split_type"
    try call.check(
      MPI_Comm_split_type(world, Int32(MPI_COMM_TYPE_SHARED), Int32(rank), lockstep_info_null(), &local))
    guard let pretended else { return local }
    var part: MPI_Comm?
    call.name = "MPI_Comm_split"
    try call.check(MPI_Comm_split(local, Int32(pretended.host(of: rank)), Int32(rank), &part))
    call.name = "MPI_Comm_free"
    try call.check(MPI_Comm_free(&local))
    return part
  }

  public func sum(_ buffer: UnsafeMutableBufferPointer<Float>, at site: CallSite) throws(Failure) {
    try sum(buffer, as: lockstep_float(), Call(.sumOfFloats, count: buffer.count), site)
  }

  public func sum(_ buffer: UnsafeMutableBufferPointer<Double>, at site: CallSite) throws(Failure) {
    try sum(buffer, as: lockstep_double(), Call(.sumOfDoubles, count: buffer.count), site)
  }

  private func sum<Value>(
    _ buffer: UnsafeMutableBufferPointer<Value>, as type: MPI_Datatype?, _ call: Call, _ site: CallSite
  ) throws(Failure) {
    try enter(call, site)
    defer { record?.leave() }
    try inPieces(of: buffer.count, Self.sumPiece, "MPI_Allreduce") { world, start, count in
      MPI_Allreduce(lockstep_in_place(), buffer.baseAddress! + start, count, type, lockstep_sum(), world)
    }
  }

  public func broadcast(
    _ buffer: UnsafeMutableRawBufferPointer, from root: Int, at site: CallSite
  ) throws(Failure) {
    precondition(0..<size ~= root, "broadcast from rank \(root) of \(size)")
    try enter(Call(.broadcast, count: buffer.count, root: root), site)
    defer { record?.leave() }
    try inPieces(of: buffer.count, Self.broadcastPiece, "MPI_Bcast") { world, start, count in
      MPI_Bcast(buffer.baseAddress! + start, count, lockstep_byte(), Int32(root), world)
    }
  }

  public func allGather(
    _ bytes: UnsafeRawBufferPointer, into result: UnsafeMutableRawBufferPointer, at site: CallSite
  ) throws(Failure) {
    precondition(result.count == size * bytes.count, "gathering \(bytes.count) of \(size) ranks into \(result.count)")
    guard bytes.count <= Self.gatherPiece else {
      // Pieces of a gather would not be contiguous in the result: each rank's part is broadcast instead.
      for root in 0..<size {
        let part = UnsafeMutableRawBufferPointer(rebasing: result[root * bytes.count..<(root + 1) * bytes.count])
        if root == rank { part.copyMemory(from: bytes) }
        try broadcast(part, from: root, at: site)
      }
      return
    }
    try enter(Call(.gather, count: bytes.count), site)
    defer { record?.leave() }
    try inPieces(of: bytes.count, Self.gatherPiece, "MPI_Allgather") { world, start, count in
      MPI_Allgather(bytes.baseAddress!, count, lockstep_byte(), result.baseAddress!, count, lockstep_byte(), world)
    }
  }

  public func barrier(at site: CallSite) throws(Failure) {
    try enter(Call(.barrier), site)
    defer { record?.leave() }
    try inPieces(of: 1, 1, "MPI_Barrier") { world, _, _ in MPI_Barrier(world) }
  }

  public func makeHostMemory(count: Int, at site: CallSite) throws(Failure) -> HostMemory? {
    try enter(Call(.hostMemory), site)
    if localSize == 1 {
      record?.leave()
      let memory = HostMemory(FloatBlock(count, number: ownBlocks.add(1, ordering: .relaxed).newValue))
      // Other hosts may have none.
      return try allGather(1).allSatisfy { $0 == 1 } ? memory : nil
    }
    let own = sharedFiles.withLock { $0.make(floats: count, localRank: localRank) }
    var offer = own?.offer ?? SharedFiles.Offer()
    defer { if offer.descriptor >= 0 { close(offer.descriptor) } }
    var offers = [SharedFiles.Offer](repeating: offer, count: localSize)
    let byteCount = Int32(MemoryLayout<SharedFiles.Offer>.stride)
    let status = inHandles("MPI_Allgather") { handles in
      MPI_Allgather(&offer, byteCount, lockstep_byte(), &offers, byteCount, lockstep_byte(), handles.local)
    }
    record?.leave()
    try MPICall(name: "MPI_Allgather", rank: rank, host: host).check(status)
    let parts = offers.indices.map { index in
      index == localRank ? own?.part : sharedFiles.withLock { $0.open(offers[index]) }
    }
    // Not an error: memory may be short. All ranks must do without where one must. Also the sign that all have opened all.
    let isWhole = parts.allSatisfy { $0 != nil }
    guard try allGather(isWhole ? 1 : 0).allSatisfy({ $0 == 1 }) else { return nil }
    return HostMemory(parts.compactMap { $0?.floats }, owners: parts.compactMap { $0?.mapping })
  }

  public func makeLink() throws(Failure) -> any PointToPointChannel {
    var channel: MPI_Comm?
    try MPICall(name: "MPI_Comm_dup", rank: rank, host: host).check(
      inHandles("MPI_Comm_dup") { handles in
        let status = MPI_Comm_dup(handles.world, &channel)
        if status == MPI_SUCCESS { handles.channels.append(channel) }
        return status
      })
    return MPIChannel(self, channel)
  }

  /// Makes a call of MPI for a channel, on whatever thread uses that.
  func inLink(_ name: String, _ body: () -> Int32) throws(Failure) {
    let status = handles.withLock { handles in
      precondition(handles.world != nil, "rank \(rank) calls \(name) after MPI_Finalize")
      return body()
    }
    try MPICall(name: name, rank: rank, host: host).check(status)
  }

  public func abort(_ status: ExitStatus) -> Never {
    fflush(nil)
    // No lock: an abort must work whatever the other threads of this process are in.
    MPI_Abort(lockstep_comm_world(), abortStatus(status))
    _exit(abortStatus(status))
  }

  /// In debug mode: throws `.disagreement` on every rank where one is about to end while another calls a collective, which
  /// would wait for it for ever.
  func compareEnd() throws(Failure) {
    if comparesCalls { try compare(Call(.finish), CallSite(label: "the end of the program")) }
  }

  /// Ends MPI in order; waits for the other ranks to do the same. Nothing may be called after it but `finalize`.
  public func finalize() throws(Failure) {
    precondition(pthread_self() == thread, "rank \(rank) calls MPI from another thread than the one that made it")
    var call = MPICall(name: "MPI_Comm_free", rank: rank, host: host)
    let freed = handles.withLock { handles -> [Int32]? in
      guard handles.world != nil else { return nil }
      record?.enter(Call(.finish), at: CallSite(label: "MPI_Finalize"))
      defer { handles = Handles() }
      return handles.channels.indices.map { MPI_Comm_free(&handles.channels[$0]) } + [
        MPI_Comm_free(&handles.local), MPI_Comm_free(&handles.world),
      ]
    }
    guard let freed else { return }
    for status in freed { try call.check(status) }
    call.name = "MPI_Finalize"
    // MPI's text for an error may not be asked for after MPI_Finalize.
    let status = MPI_Finalize()
    guard status == MPI_SUCCESS else { throw Failure(.lost, call.message("error \(status)")) }
  }

  /// Writes the call down, and compares it with the other ranks' where that is asked for.
  private func enter(_ call: Call, _ site: CallSite) throws(Failure) {
    record?.enter(call, at: site)
    if comparesCalls { try compare(call, site) }
  }

  /// In debug mode: throws `.disagreement` on every rank where ranks are about to call different collectives, or the same
  /// from different places, which MPI would answer with wrong data or by waiting for ever.
  private func compare(_ call: Call, _ site: CallSite) throws(Failure) {
    let width = 192
    let own = Array("\(host)\n\(call) at \(site)".utf8.prefix(width))
    let padded = own + [UInt8](repeating: 0, count: width - own.count)
    var all = [UInt8](repeating: 0, count: size * width)
    let status = inHandles("MPI_Allgather") { handles in
      MPI_Allgather(padded, Int32(width), lockstep_byte(), &all, Int32(width), lockstep_byte(), handles.world)
    }
    try MPICall(name: "MPI_Allgather", rank: rank, host: host).check(status)
    let texts = (0..<size).map { all[$0 * width..<($0 + 1) * width].prefix { $0 != 0 } }
    let calls = texts.map { Array($0.drop { $0 != UInt8(ascii: "\n") }.dropFirst()) }
    guard calls.contains(where: { $0 != calls[0] }) else { return }
    let hosts = texts.map { String(decoding: $0.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self) }
    let failure = Failure(
      .disagreement,
      differing(calls.map { String(decoding: $0, as: UTF8.self) }, hosts: hosts, "ranks call different collectives"))
    agreement.record(failure)
    throw failure
  }

  /// Calls `body` with the start and count of each piece of `total`; nothing for a total of 0.
  private func inPieces(
    of total: Int, _ piece: Int, _ name: String, _ body: (MPI_Comm?, Int, Int32) -> Int32
  ) throws(Failure) {
    let status = inHandles(name) { handles -> Int32 in
      var start = 0
      while start < total {
        let count = min(piece, total - start)
        let status = body(handles.world, start, Int32(count))
        if status != MPI_SUCCESS { return status }
        start += count
        if start < total { record?.touch() }
      }
      return MPI_SUCCESS
    }
    try MPICall(name: name, rank: rank, host: host).check(status)
  }

  /// Calls `body` with MPI's handles, on the right thread and before the end.
  private func inHandles(_ name: String, _ body: (inout Handles) -> Int32) -> Int32 {
    precondition(pthread_self() == thread, "rank \(rank) calls MPI from another thread than the one that made it")
    return handles.withLock { handles in
      precondition(handles.world != nil, "rank \(rank) calls \(name) after MPI_Finalize")
      return body(&handles)
    }
  }
}
