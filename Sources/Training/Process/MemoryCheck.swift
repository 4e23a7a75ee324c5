import BERT
import Collectives
import Glibc
import System

/// Bytes that a piece of work will take: checked before, for a kernel that runs out of memory kills without a word.
public struct MemoryNeed: Sendable, Equatable {
  /// Of this process.
  public var rank: Int
  /// Of all ranks of this host together, what they share counted once.
  public var host: Int

  public init(rank: Int, host: Int) {
    self.rank = rank
    self.host = host
  }

  /// The weights of a model.
  public static func weights(_ configuration: BertConfiguration) -> MemoryNeed {
    let bytes = ParameterLayout(configuration).count * MemoryLayout<Float>.stride
    return MemoryNeed(rank: bytes, host: bytes)
  }

  /// What is added to the weights in training: gradients, the optimizer's state and activations. At least so much: ranks
  /// of a host share the optimizer's state where they can.
  public static func training(
    _ configuration: BertConfiguration, limits: BatchLimits, ranksOnHost: Int
  ) -> MemoryNeed {
    let gradients = ParameterLayout(configuration).count * MemoryLayout<Float>.stride
    let activations = BertClassifier.activationBytes(configuration, limits: limits)
    return MemoryNeed(
      rank: sum(gradients, 2 * gradients / ranksOnHost, activations),
      host: sum(times(ranksOnHost, gradients), 2 * gradients, times(ranksOnHost, activations)))
  }

  /// What one batch takes beside the weights, with or without gradients.
  public static func singleBatch(
    _ configuration: BertConfiguration, limits: BatchLimits, keepsGradients: Bool
  ) -> MemoryNeed {
    let gradients = keepsGradients ? ParameterLayout(configuration).count * MemoryLayout<Float>.stride : 0
    let activations = BertClassifier.activationBytes(configuration, limits: limits, keepsForBackward: keepsGradients)
    return MemoryNeed(rank: sum(gradients, activations), host: sum(gradients, activations))
  }

  public static func + (a: MemoryNeed, b: MemoryNeed) -> MemoryNeed {
    MemoryNeed(rank: sum(a.rank, b.rank), host: sum(a.host, b.host))
  }

  /// Sums and products that end at the largest number: what is read from a file may ask for any amount.
  private static func sum(_ values: Int...) -> Int {
    values.reduce(0) { total, value in
      let (sum, overflow) = total.addingReportingOverflow(value)
      return overflow ? .max : sum
    }
  }

  private static func times(_ a: Int, _ b: Int) -> Int {
    let (product, overflow) = a.multipliedReportingOverflow(by: b)
    return overflow ? .max : product
  }

  /// Makes sure that so much memory is free on this host, and that this process may have its part of it.
  ///
  /// - Parameter purpose: what needs it, for the message.
  /// - Throws: `.unavailable` with what is needed and what there is.
  public func require(for purpose: String) throws(Failure) {
    if let lack { throw Failure(.unavailable, "\(purpose) \(lack)") }
  }

  /// What is missing, in words that follow a purpose; nil where this host has so much, and this process may have it.
  public var lack: String? {
    if let free = Self.freeBytes(), host > free {
      return "needs \(Self.shown(host)) of memory, but this host has \(Self.shown(free)) free"
    }
    // Reserved and given back: nothing is touched. Refused under `ulimit -v`, and where addresses are short.
    guard let start = mmap(nil, max(1, rank), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
      start != MAP_FAILED
    else {
      var limit = rlimit()
      getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
      let most =
        limit.rlim_cur == rlim_t.max
        ? "no limit is set" : "ulimit -v allows \(Self.shown(Int(clamping: limit.rlim_cur))) in all"
      return "needs \(Self.shown(rank)) of memory, and the process may not have it: \(most)"
    }
    munmap(start, max(1, rank))
    return nil
  }

  /// The same on all ranks, before any of them takes memory.
  public func require(for purpose: String, _ communicator: any Communicator) throws(Failure) {
    try communicator.agree { () throws(Failure) in try require(for: purpose) }
  }

  private static func shown(_ bytes: Int) -> String {
    let tenths = bytes / 100_000_000
    return tenths == 0 ? "\(bytes / 1_000_000) MB" : "\(tenths / 10).\(tenths % 10) GB"
  }

  /// Memory that can be had without anybody's being killed: the kernel's estimate, or what the cgroup allows if that is
  /// less. Nil where neither is known.
  private static func freeBytes() -> Int? {
    var known: [Int] = []
    let machine = "/proc/meminfo"
    if let available = systemNumber("MemAvailable", in: machine) {
      known.append(1024 * (available + (systemNumber("SwapFree", in: machine) ?? 0)))
    }
    let group =
      systemText("/proc/self/cgroup")?.split(separator: "\n").first { $0.hasPrefix("0::") }?.dropFirst(3) ?? "/"
    if let most = systemText("/sys/fs/cgroup\(group)/memory.max").flatMap({ Int($0) }) { known.append(most) }
    return known.min()
  }
}
