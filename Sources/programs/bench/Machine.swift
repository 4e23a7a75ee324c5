import Collectives
import Glibc
import Kernels
import System
import Training

// swift-format-ignore: AlwaysUseLowerCamelCase
/// What a figure was measured on.
struct Machine: Encodable {
  var cpu: String
  var system: String
  var blas: String
  /// Nil where the ranks are not MPI's.
  var mpi: String?
  var ranks: Int
  var hosts: [String]
  var threads_per_rank: Int

  /// Called by all ranks.
  init(_ communicator: any Communicator, _ settings: RankSettings) throws(Failure) {
    cpu = processorName() ?? "unknown"
    system = Self.systemName
    blas = Hardware.blas
    mpi = communicator is MPICommunicator ? MPILibrary.version : nil
    ranks = communicator.size
    hosts = try hostNames(communicator)
    threads_per_rank = settings.threads
  }

  private static var systemName: String {
    var name = utsname()
    guard uname(&name) == 0 else { return "unknown" }
    func text<Field>(_ field: Field) -> String {
      withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
    return "\(text(name.sysname)) \(text(name.release)) \(text(name.machine))"
  }
}

/// The names of the job's hosts, each once, in the order of their first ranks. Called by all ranks.
func hostNames(_ communicator: any Communicator) throws(Failure) -> [String] {
  try communicator.allGather(Array(communicator.host.utf8)).reduce(into: []) { names, bytes in
    let name = String(decoding: bytes, as: UTF8.self)
    if !names.contains(name) { names.append(name) }
  }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
/// What the ranks hold in memory, in 10⁶ bytes.
struct MemoryResult: Encodable {
  // swift-format-ignore: AlwaysUseLowerCamelCase
  struct Rank: Encodable {
    var host: String
    /// Pages in memory, shared ones included.
    var rss: Double
    /// The most that `rss` was.
    var peak_rss: Double
    /// A page that n processes share counts 1/n.
    var pss: Double
  }
  // swift-format-ignore: AlwaysUseLowerCamelCase
  struct Host: Encodable {
    var host: String
    /// Private and shared pages, each once.
    var megabytes: Double
  }
  var ranks: [Rank]
  var hosts: [Host]

  /// Called by all ranks, while they hold what is to be measured.
  init(_ communicator: any Communicator) throws(Failure) {
    // Every rank is still there when any reads: the share of a page depends on who has it.
    try communicator.barrier()
    let own = [
      systemNumber("Rss", in: "/proc/self/smaps_rollup"),
      systemNumber("VmHWM", in: "/proc/self/status"),
      systemNumber("Pss", in: "/proc/self/smaps_rollup"),
    ].map { Double($0 ?? 0) * 1.024e-3 }
    let all = try communicator.allGather(own)
    let names = try communicator.allGather(Array(communicator.host.utf8)).map { String(decoding: $0, as: UTF8.self) }
    let ranks = zip(names, all).map { Rank(host: $0, rss: $1[0], peak_rss: $1[1], pss: $1[2]) }
    self.ranks = ranks
    // Ranks that are threads share one process, whose pages each of them would tell.
    let areThreads = communicator is ThreadCommunicator
    hosts = try hostNames(communicator).map { host in
      let here = ranks.filter { $0.host == host }.map(\.pss)
      return Host(host: host, megabytes: areThreads ? here[0] : here.reduce(0, +))
    }
  }
}
