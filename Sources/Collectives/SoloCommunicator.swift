import FlightRecorder
import Glibc
import Synchronization
import System

/// The one rank of a job without others: every collective is done at once. MPI is not initialised.
public final class SoloCommunicator: Communicator {
  public let host = hostName()
  public let agreement = Agreement()
  public let record: FlightRecorder?
  private let blocks = Atomic<Int>(0)
  public var rank: Int { 0 }
  public var size: Int { 1 }
  public var localRank: Int { 0 }
  public var localSize: Int { 1 }
  public var hostLeader: Int { 0 }

  /// - Parameter record: what the launcher reads.
  public init(record: FlightRecorder? = nil) { self.record = record }

  public func sum(_ buffer: UnsafeMutableBufferPointer<Float>, at site: CallSite) {}

  public func sum(_ buffer: UnsafeMutableBufferPointer<Double>, at site: CallSite) {}

  public func broadcast(_ buffer: UnsafeMutableRawBufferPointer, from root: Int, at site: CallSite) {
    precondition(root == 0, "broadcast from rank \(root) of 1")
  }

  public func allGather(
    _ bytes: UnsafeRawBufferPointer, into result: UnsafeMutableRawBufferPointer, at site: CallSite
  ) {
    precondition(result.count == bytes.count, "gathering \(bytes.count) bytes of 1 rank into \(result.count)")
    result.copyMemory(from: bytes)
  }

  public func barrier(at site: CallSite) {}

  public func makeHostMemory(count: Int, at site: CallSite) -> HostMemory? {
    HostMemory(FloatBlock(count, number: blocks.add(1, ordering: .relaxed).newValue))
  }

  public func makeLink() -> any PointToPointChannel { preconditionFailure("a channel between the ranks of 1") }

  public func abort(_ status: ExitStatus) -> Never { endProcess(status) }
}

/// This host's name as the system knows it.
func hostName() -> String {
  var name = [UInt8](repeating: 0, count: 256)
  let status = name.withUnsafeMutableBytes { gethostname($0.baseAddress!.assumingMemoryBound(to: CChar.self), 255) }
  guard status == 0 else { return "localhost" }
  return String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
}

/// The status of an abort: never success.
func abortStatus(_ status: ExitStatus) -> Int32 {
  (status == .success ? ExitStatus.internalError : status).rawValue
}

/// Ends the process with all its threads, without exit handlers: other ranks' threads may be using what those tear
/// down.
func endProcess(_ status: ExitStatus) -> Never {
  fflush(nil)
  _exit(abortStatus(status))
}
