import CMPI
import FileSystem
import Glibc
import Synchronization

/// The ranks that an MPI launcher started, one process each.
///
/// Made once per process; used and finalized by the thread that made it (`MPI_THREAD_FUNNELED`). Errors come back as
/// `Failure` (`MPI_ERRORS_RETURN`), but Open MPI reports few: a lost rank ends the job through the launcher, and
/// mismatched calls are not noticed.
public final class MPICommunicator: Communicator {
  public let rank: Int
  public let size: Int
  public let host: String
  public let localRank: Int
  public let localSize: Int
  public let agreement = Agreement()

  /// MPI's handles; the lock makes them shareable, though one thread uses them.
  private struct Handles {
    var world: MPI_Comm?
    /// The ranks that share memory with this one.
    var local: MPI_Comm?
    /// Shared memory, freed when MPI ends.
    var windows: [MPI_Win?] = []
  }
  private let handles: Mutex<Handles>
  /// Whether every collective first compares what the ranks call: `LOCKSTEP_DEBUG=1`, which `launch --debug` sets.
  private let comparesCalls: Bool
  private let thread = pthread_self()

  /// The elements of one `MPI_Allreduce`. Open MPI allocates a temporary as large as the message: in pieces it is not
  /// mapped anew for each call. 110 M floats on 2 ranks of one host took 120 ms instead of 237; smaller pieces are no
  /// quicker, and slower where other processes want the cores, as each piece waits for the other rank a few times.
  static let sumPiece = 1 << 21
  /// The bytes of one broadcast or gather: counts are `Int32`.
  static let movePiece = 1 << 30

  /// Initialises MPI. `expectedSize` is what the launcher's environment promises.
  public init(expectedSize: Int? = nil) throws(Failure) {
    host = hostName()
    comparesCalls = processVariable("LOCKSTEP_DEBUG") == "1"
    var isInitialized: Int32 = 0
    MPI_Initialized(&isInitialized)
    precondition(isInitialized == 0, "MPI is initialised already; a process has one MPICommunicator")

    var provided: Int32 = 0
    var call = MPICall(name: "MPI_Init_thread", rank: nil, host: host)
    try call.check(MPI_Init_thread(nil, nil, Int32(MPI_THREAD_FUNNELED), &provided), otherwise: .unavailable)
    guard provided >= MPI_THREAD_FUNNELED else {
      throw Failure(.unavailable, "MPI on host \(host) has thread level \(provided), expected \(MPI_THREAD_FUNNELED)")
    }
    call.name = "MPI_Comm_set_errhandler"
    try call.check(MPI_Comm_set_errhandler(lockstep_comm_world(), lockstep_errors_return()))

    // A communicator of our own: other users of MPI in the process cannot mix their messages with ours.
    var world: MPI_Comm?
    call.name = "MPI_Comm_dup"
    try call.check(MPI_Comm_dup(lockstep_comm_world(), &world))
    var numbers: (rank: Int32, size: Int32) = (0, 0)
    call.name = "MPI_Comm_rank"
    try call.check(MPI_Comm_rank(world, &numbers.rank))
    call.name = "MPI_Comm_size"
    try call.check(MPI_Comm_size(world, &numbers.size))
    rank = Int(numbers.rank)
    size = Int(numbers.size)
    call.rank = rank

    var local: MPI_Comm?
    call.name = "MPI_Comm_split_type"
    try call.check(
      MPI_Comm_split_type(world, Int32(MPI_COMM_TYPE_SHARED), numbers.rank, lockstep_info_null(), &local))
    call.name = "MPI_Comm_rank"
    try call.check(MPI_Comm_rank(local, &numbers.rank))
    call.name = "MPI_Comm_size"
    try call.check(MPI_Comm_size(local, &numbers.size))
    localRank = Int(numbers.rank)
    localSize = Int(numbers.size)
    handles = Mutex(Handles(world: world, local: local))

    if let expectedSize, expectedSize != size {
      throw Failure(
        .unavailable, "MPI found \(size) rank\(size == 1 ? "" : "s"), the launcher started \(expectedSize)",
        hint: "the launcher must belong to this Open MPI; under Slurm use `srun --mpi=pmix`, or mpirun")
    }
  }

  public func sum(_ buffer: UnsafeMutableBufferPointer<Float>) throws(Failure) {
    try sum(buffer, as: lockstep_float())
  }

  public func sum(_ buffer: UnsafeMutableBufferPointer<Double>) throws(Failure) {
    try sum(buffer, as: lockstep_double())
  }

  private func sum<Value>(_ buffer: UnsafeMutableBufferPointer<Value>, as type: MPI_Datatype?) throws(Failure) {
    try compare(Call(name: "sum", count: buffer.count, unit: Value.self == Float.self ? "floats" : "doubles"))
    try inPieces(of: buffer.count, Self.sumPiece, "MPI_Allreduce") { world, start, count in
      MPI_Allreduce(lockstep_in_place(), buffer.baseAddress! + start, count, type, lockstep_sum(), world)
    }
  }

  public func broadcast(_ buffer: UnsafeMutableRawBufferPointer, from root: Int) throws(Failure) {
    precondition(0..<size ~= root, "broadcast from rank \(root) of \(size)")
    try compare(Call(name: "broadcast from rank \(root)", count: buffer.count, unit: "bytes"))
    try inPieces(of: buffer.count, Self.movePiece, "MPI_Bcast") { world, start, count in
      MPI_Bcast(buffer.baseAddress! + start, count, lockstep_byte(), Int32(root), world)
    }
  }

  public func allGather(
    _ bytes: UnsafeRawBufferPointer, into result: UnsafeMutableRawBufferPointer
  ) throws(Failure) {
    precondition(result.count == size * bytes.count, "gathering \(bytes.count) of \(size) ranks into \(result.count)")
    try compare(Call(name: "gather", count: bytes.count, unit: "bytes"))
    guard bytes.count <= Self.movePiece else {
      // Pieces of a gather would not be contiguous in the result: each rank's part is broadcast instead.
      for root in 0..<size {
        let part = UnsafeMutableRawBufferPointer(rebasing: result[root * bytes.count..<(root + 1) * bytes.count])
        if root == rank { part.copyMemory(from: bytes) }
        try broadcast(part, from: root)
      }
      return
    }
    try inPieces(of: bytes.count, Self.movePiece, "MPI_Allgather") { world, start, count in
      MPI_Allgather(bytes.baseAddress!, count, lockstep_byte(), result.baseAddress!, count, lockstep_byte(), world)
    }
  }

  public func barrier() throws(Failure) {
    try compare(Call(name: "barrier"))
    try inPieces(of: 1, 1, "MPI_Barrier") { world, _, _ in MPI_Barrier(world) }
  }

  public func makeHostMemory(count: Int) throws(Failure) -> HostMemory? {
    try compare(Call(name: "host memory"))
    var own: UnsafeMutableRawPointer?
    let made = inHandles("MPI_Win_allocate_shared") { handles -> Int32 in
      var window: MPI_Win?
      let status = MPI_Win_allocate_shared(
        MPI_Aint(count * MemoryLayout<Float>.stride), Int32(MemoryLayout<Float>.stride), lockstep_info_null(),
        handles.local, &own, &window)
      if status == MPI_SUCCESS { handles.windows.append(window) }
      return status
    }
    // Not an error: /dev/shm may be small. All ranks must do without where one must.
    guard try allGather(made == MPI_SUCCESS ? 1 : 0).allSatisfy({ $0 == 1 }) else { return nil }
    var parts: [UnsafeMutableBufferPointer<Float>] = []
    for rank in 0..<localSize {
      var byteCount: MPI_Aint = 0
      var unit: Int32 = 0
      var base: UnsafeMutableRawPointer?
      let status = inHandles("MPI_Win_shared_query") { handles in
        MPI_Win_shared_query(handles.windows[handles.windows.count - 1], Int32(rank), &byteCount, &unit, &base)
      }
      try MPICall(name: "MPI_Win_shared_query", rank: self.rank, host: host).check(status)
      let floats = Int(byteCount) / MemoryLayout<Float>.stride
      parts.append(
        UnsafeMutableBufferPointer(start: base?.bindMemory(to: Float.self, capacity: floats), count: floats))
    }
    return HostMemory(parts)
  }

  public func abort(_ status: ExitStatus) -> Never {
    fflush(nil)
    // No lock: an abort must work whatever the other threads of this process are in.
    MPI_Abort(lockstep_comm_world(), abortStatus(status))
    _exit(abortStatus(status))
  }

  /// Ends MPI in order; waits for the other ranks to do the same. Nothing may be called after it but `finalize`.
  public func finalize() throws(Failure) {
    precondition(pthread_self() == thread, "rank \(rank) calls MPI from another thread than the one that made it")
    var call = MPICall(name: "MPI_Comm_free", rank: rank, host: host)
    let freed = handles.withLock { handles -> [Int32]? in
      guard handles.world != nil else { return nil }
      defer { handles = Handles() }
      return handles.windows.indices.map { MPI_Win_free(&handles.windows[$0]) } + [
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

  /// In debug mode: throws `.disagreement` on every rank where ranks are about to call different collectives, which MPI
  /// would answer with wrong data or by waiting for ever.
  private func compare(_ call: Call) throws(Failure) {
    guard comparesCalls else { return }
    let width = 64
    let own = Array(call.description.utf8.prefix(width))
    let padded = own + [UInt8](repeating: 0, count: width - own.count)
    var all = [UInt8](repeating: 0, count: size * width)
    let status = inHandles("MPI_Allgather") { handles in
      MPI_Allgather(padded, Int32(width), lockstep_byte(), &all, Int32(width), lockstep_byte(), handles.world)
    }
    try MPICall(name: "MPI_Allgather", rank: rank, host: host).check(status)
    let calls = (0..<size).map { all[$0 * width..<($0 + 1) * width].prefix { $0 != 0 } }
    guard let other = calls.firstIndex(where: { $0 != calls[0] }) else { return }
    let names = [calls[0], calls[other]].map { String(decoding: $0, as: UTF8.self) }
    let failure = Failure(
      .disagreement, "ranks call different collectives: rank 0 \(names[0]), rank \(other) \(names[1])")
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
