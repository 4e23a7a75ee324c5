import CProcess
import Glibc

/// What a rank tells whoever started it: how far it is, what it waits in, and how it ended.
///
/// It lies in memory that the rank shares with its keeper, the process of the launcher that stands beside it, so that it
/// can be read while the rank is stopped and after it was killed. Writing costs well under a microsecond a collective.
///
/// Unchecked, because it is memory that two processes share: each word has one writer, and the reader takes what is
/// there.
public final class RankRecord: @unchecked Sendable {
  /// The variable that gives a rank the number of the open file that holds its record.
  public static let variable = "LOCKSTEP_RECORD"
  public static let byteCount = 8192
  public static let ringCount = 64
  private static let magic: UInt64 = 0x4c53_5245_4331_0001

  public enum Phase: Int64, Sendable {
    /// The program has not used the library.
    case unknown = 0
    /// It is about to join the others.
    case starting
    case joined
  }

  public enum Outcome: Int64, Sendable {
    case none = 0
    /// It did what it was to do.
    case done
    case failed
  }

  /// Everything but the ring.
  public struct State: BitwiseCopyable, Sendable {
    fileprivate var magic: UInt64 = RankRecord.magic
    public var phase: Int64 = 0
    public var outcome: Int64 = 0
    /// The exit status of a rank that failed.
    public var status: Int64 = 0
    /// Whether all ranks agreed on that failure, and one of them has reported it.
    public var isAgreed: Int64 = 0
    /// Whether the program asks at each step whether it is to stop.
    public var acceptsStop: Int64 = 0
    /// Whether it is to stop; written by the keeper.
    public var stopRequested: Int64 = 0
    /// Whether it stopped because of that.
    public var hasStopped: Int64 = 0
    /// The rank's process, which may be a descendant of the one that the keeper started; 0 before it is known.
    public var pid: Int64 = 0
    public var rank: Int64 = -1
    public var size: Int64 = 0
    /// Collectives entered so far.
    public var sequence: Int64 = 0
    /// A digest of all calls so far: kinds, counts, roots.
    public var callDigest: UInt64 = 0
    public var isInside: Int64 = 0
    /// Grows with every sign of life.
    public var progress: Int64 = 0
    /// When it last grew, in nanoseconds of this host's monotonic clock.
    public var changed: Int64 = 0
    /// Optimizer steps finished; -1 where the program does not say.
    public var step: Int64 = -1
    public var hasDigest: Int64 = 0
    /// Of what all ranks must hold alike at the end.
    public var digest: UInt64 = 0

    public init() {}
  }

  /// One collective.
  public struct Entry: BitwiseCopyable, Sendable {
    public var sequence: Int64 = 0
    public var step: Int64 = -1
    public var entered: Int64 = 0
    /// 0 while the rank is inside.
    public var left: Int64 = 0
    public var kind: Int64 = 0
    public var count: Int64 = 0
    public var root: Int64 = 0
    var site: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)

    public init() {}

    public var call: Call? { Call.Kind(rawValue: kind).map { Call($0, count: Int(count), root: Int(root)) } }

    /// Where the call stands in the program; bytes that no name has are shown as `?`.
    public var siteText: String {
      withUnsafeBytes(of: site) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }.map { 0x20...0x7E ~= $0 ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
      }
    }

    /// `sum of 4 floats at Training/Accelerator.swift:112`.
    public var text: String { "\(call.map { "\($0)" } ?? "nothing") at \(siteText)" }
  }

  private let base: UnsafeMutableRawPointer
  private let states: UnsafeMutablePointer<State>
  private let ring: UnsafeMutablePointer<Entry>

  /// Makes an empty record in the file `descriptor`, or takes the one that is there; nil where it cannot be had.
  public init?(descriptor: Int32, isNew: Bool) {
    var info = stat()
    if isNew {
      guard ftruncate(descriptor, off_t(Self.byteCount)) == 0 else { return nil }
    } else {
      guard fstat(descriptor, &info) == 0, info.st_size == Self.byteCount else { return nil }
    }
    guard let base = mmap(nil, Self.byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), base != MAP_FAILED
    else { return nil }
    self.base = base
    states = base.bindMemory(to: State.self, capacity: 1)
    ring = (base + 512).bindMemory(to: Entry.self, capacity: Self.ringCount)
    if isNew {
      states.initialize(to: State())
      ring.initialize(repeating: Entry(), count: Self.ringCount)
    } else if states.pointee.magic != Self.magic {
      munmap(base, Self.byteCount)
      return nil
    }
  }

  deinit { munmap(base, Self.byteCount) }

  /// The record that the launcher gave to this process; nil where there is none, as without the launcher.
  ///
  /// The variable is removed: programs that the rank starts are no ranks. From now on the rank dies with its keeper, and
  /// SIGUSR1, by which the keeper is asked to stop the rank, does not end it.
  public static func ofThisProcess() -> RankRecord? {
    guard let text = getenv(variable), let descriptor = Int32(String(cString: text)) else { return nil }
    unsetenv(variable)
    guard let record = RankRecord(descriptor: descriptor, isNew: false) else { return nil }
    close(descriptor)
    signal(SIGUSR1, SIG_IGN)
    _ = lockstep_signal_on_parent_death(SIGKILL)
    record.states.pointee.pid = Int64(getpid())
    record.states.pointee.phase = Phase.starting.rawValue
    record.touch()
    return record
  }

  // MARK: The rank writes.

  public func join(rank: Int, size: Int) {
    states.pointee.rank = Int64(rank)
    states.pointee.size = Int64(size)
    states.pointee.phase = Phase.joined.rawValue
    touch()
  }

  /// Enters a collective.
  public func enter(_ call: Call, at site: CallSite) {
    let sequence = states.pointee.sequence &+ 1
    let slot = ring + Self.slot(of: sequence)
    touch()
    slot.pointee.sequence = sequence
    slot.pointee.step = states.pointee.step
    slot.pointee.entered = states.pointee.changed
    slot.pointee.left = 0
    slot.pointee.kind = call.kind.rawValue
    slot.pointee.count = Int64(call.count)
    slot.pointee.root = Int64(call.root)
    withUnsafeMutableBytes(of: &slot.pointee.site) { site.write(into: $0) }
    // FNV-1a over the three words.
    var digest = states.pointee.callDigest
    digest = (digest ^ UInt64(bitPattern: slot.pointee.kind)) &* 0x100_0000_01b3
    digest = (digest ^ UInt64(bitPattern: slot.pointee.count)) &* 0x100_0000_01b3
    digest = (digest ^ UInt64(bitPattern: slot.pointee.root)) &* 0x100_0000_01b3
    states.pointee.callDigest = digest
    states.pointee.sequence = sequence
    states.pointee.isInside = 1
  }

  /// Leaves the collective.
  public func leave() {
    states.pointee.isInside = 0
    touch()
    ring[Self.slot(of: states.pointee.sequence)].left = states.pointee.changed
  }

  /// A sign of life.
  public func touch() {
    states.pointee.changed = Self.now()
    states.pointee.progress &+= 1
  }

  /// Optimizer steps finished.
  public func finish(step: Int) {
    states.pointee.step = Int64(step)
    touch()
  }

  /// What all ranks must hold alike at the end.
  public func setDigest(_ digest: UInt64) {
    states.pointee.digest = digest
    states.pointee.hasDigest = 1
  }

  /// Whether the rank is to stop; from now on the launcher knows that it asks.
  public var isAskedToStop: Bool {
    states.pointee.acceptsStop = 1
    return states.pointee.stopRequested != 0
  }

  public func noteStop() { states.pointee.hasStopped = 1 }

  public func end(_ outcome: Outcome, status: Int32 = 0, isAgreed: Bool = false) {
    states.pointee.status = Int64(status)
    states.pointee.isAgreed = isAgreed ? 1 : 0
    states.pointee.outcome = outcome.rawValue
    touch()
  }

  // MARK: The keeper reads.

  /// A copy. The rank may write anything there at any time, even by mistake, so a reader takes one copy and looks at that.
  public var state: State { states.pointee }

  /// The last collective as of `state`; nil before the first.
  public func last(of state: State) -> Entry? { state.sequence == 0 ? nil : ring[Self.slot(of: state.sequence)] }

  /// The place in the ring of a collective; of any number one that is there.
  private static func slot(of sequence: Int64) -> Int { Int(UInt64(bitPattern: sequence) % UInt64(ringCount)) }

  /// The last collectives, the oldest first.
  public var entries: [Entry] {
    (0..<Self.ringCount).map { ring[$0] }.filter { $0.sequence > 0 }.sorted { $0.sequence < $1.sequence }
  }

  public func requestStop() { states.pointee.stopRequested = 1 }

  /// Nanoseconds of this host's monotonic clock.
  public static func now() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }
}

extension RankRecord.State {
  public var knownPhase: RankRecord.Phase { RankRecord.Phase(rawValue: phase) ?? .unknown }
  public var knownOutcome: RankRecord.Outcome { RankRecord.Outcome(rawValue: outcome) ?? .none }
}
