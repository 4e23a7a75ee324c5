import FlightRecorder
import System

/// The ranks of one job, seen from one of them.
///
/// Collectives are called by all ranks in the same order with the same counts, each rank from one thread. Their results
/// have the same bits on every rank. What they throw names the call, the rank and the host. The call site is for people:
/// it is shown for ranks that wait in vain, and compared where somebody looks for a fault.
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
  /// The rank whose `localRank` on this rank's host is 0.
  var hostLeader: Int { get }
  /// What `agree` found last; tells an orderly common end from one rank's own failure.
  var agreement: Agreement { get }
  /// What the launcher knows about this rank; nil without the launcher.
  var record: FlightRecorder? { get }

  /// Adds up over all ranks, in place: overwrites `buffer` on every rank.
  func sum(_ buffer: UnsafeMutableBufferPointer<Float>, at site: CallSite) throws(Failure)
  /// Adds up over all ranks, in place: overwrites `buffer` on every rank.
  func sum(_ buffer: UnsafeMutableBufferPointer<Double>, at site: CallSite) throws(Failure)
  /// Overwrites `buffer` on every rank but `root` with root's bytes.
  func broadcast(_ buffer: UnsafeMutableRawBufferPointer, from root: Int, at site: CallSite) throws(Failure)
  /// Overwrites `result` (`size * bytes.count` bytes) with the ranks' `bytes` in rank order. The count is the same on
  /// every rank.
  func allGather(
    _ bytes: UnsafeRawBufferPointer, into result: UnsafeMutableRawBufferPointer, at site: CallSite
  ) throws(Failure)
  /// Returns when all ranks have called it.
  func barrier(at site: CallSite) throws(Failure)
  /// Memory of which every rank on this host gets a part of `count` floats (counts may differ), 0 at first, visible to
  /// the others; nil on every rank where it can't be had. Called by all ranks.
  func makeHostMemory(count: Int, at site: CallSite) throws(Failure) -> HostMemory?
  /// Whether a channel may be used by another thread than the communicator's.
  var linksMayBeUsedByOtherThreads: Bool { get }
  /// A channel for messages between ranks; those of two channels do not mix. Called by all ranks.
  func makeLink() throws(Failure) -> any PointToPointChannel
  /// Ends all ranks at once. `.success` is no verdict of an abort: it becomes `.internalError`.
  func abort(_ status: ExitStatus) -> Never
}

extension Communicator {
  public var record: FlightRecorder? { nil }

  public var linksMayBeUsedByOtherThreads: Bool { true }

  /// Whether this rank speaks for all: rank 0.
  public var isMain: Bool { rank == 0 }

  /// `rank 1 (host nodeb)`.
  public var label: String { rankLabel(rank, host: host) }
}

/// `rank 1 (host nodeb)`.
func rankLabel(_ rank: Int, host: String) -> String { "rank \(rank) (host \(host))" }
