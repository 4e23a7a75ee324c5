import CProcess
import Glibc
import Synchronization
import System

/// What a rank tells whoever started it: how far it is, what it waits in, and how it ended.
///
/// It lies in memory that the rank shares with its agent, the process of the launcher that stands beside it, so that it
/// can be read while the rank is stopped and after it was killed. Writing costs well under a microsecond a collective.
///
/// Unchecked, because it is memory that two processes share: each word has one writer and is written and read as an
/// atomic. Whoever sees an outcome, a collective's number or a sign of life sees what was written before it.
public final class FlightRecorder: @unchecked Sendable {
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
    fileprivate var magic: UInt64 = FlightRecorder.magic
    public var phase: Int64 = 0
    public var outcome: Int64 = 0
    /// The exit status of a rank that failed.
    public var status: Int64 = 0
    /// Whether all ranks agreed on that failure, and one of them has reported it.
    public var isAgreed: Int64 = 0
    /// Whether the program has said that it stops by itself where it is asked to.
    public var acceptsStop: Int64 = 0
    /// Whether it is to stop; written by the agent.
    public var stopRequested: Int64 = 0
    /// Not 0 where it stopped because of that: the signal that the rank itself got, or 1.
    public var hasStopped: Int64 = 0
    /// The rank's process, which may be a descendant of the one that the agent started; 0 before it is known.
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

    /// `sum of 4 floats at Training/TrainingEngineStep.swift:112`.
    public var text: String { "\(call.map { "\($0)" } ?? "nothing") at \(siteText)" }
  }

  private let base: UnsafeMutableRawPointer
  private let ring: UnsafeMutableRawPointer

  /// The words of the state, in the order of its fields: each has 8 bytes.
  private typealias Word = Atomic<Int64>

  enum Field: Int, CaseIterable {
    case magic, phase, outcome, status, isAgreed, acceptsStop, stopRequested, hasStopped, pid, rank, size, sequence
    case callDigest, isInside, progress, changed, step, hasDigest, digest
  }

  private func word(_ field: Field) -> UnsafeMutablePointer<Word> {
    (base + 8 * field.rawValue).assumingMemoryBound(to: Word.self)
  }

  /// What the writer itself wrote last, or the reader takes as it is.
  private func get(_ field: Field) -> Int64 { word(field).pointee.load(ordering: .relaxed) }

  private func set(_ field: Field, _ value: Int64) { word(field).pointee.store(value, ordering: .relaxed) }

  /// Sets a field that tells the reader that those before it are there.
  private func publish(_ field: Field, _ value: Int64) { word(field).pointee.store(value, ordering: .releasing) }

  private func see(_ field: Field) -> Int64 { word(field).pointee.load(ordering: .acquiring) }

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
    ring = base + 512
    if isNew {
      // The file is all zeros, and the ring stays so.
      withUnsafeBytes(of: State()) { base.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    } else if UInt64(bitPattern: get(.magic)) != Self.magic {
      munmap(base, Self.byteCount)
      return nil
    }
  }

  deinit { munmap(base, Self.byteCount) }

  /// The record that the launcher gave to this process; nil where there is none, as without the launcher.
  ///
  /// The variable is removed from the process's own environment: programs that the rank starts are no ranks. From now on
  /// the rank dies with its agent, and SIGUSR1, by which the agent is asked to stop the rank, does not end it.
  public static func given(_ environment: Environment) -> FlightRecorder? {
    guard let descriptor = environment[variable].flatMap({ Int32($0) }) else { return nil }
    unsetenv(variable)
    guard let record = FlightRecorder(descriptor: descriptor, isNew: false) else { return nil }
    close(descriptor)
    signal(SIGUSR1, SIG_IGN)
    _ = lockstep_signal_on_parent_death(SIGKILL)
    record.set(.pid, Int64(getpid()))
    record.publish(.phase, Phase.starting.rawValue)
    record.touch()
    return record
  }

  // MARK: The rank writes.

  public func join(rank: Int, size: Int) {
    set(.rank, Int64(rank))
    set(.size, Int64(size))
    publish(.phase, Phase.joined.rawValue)
    touch()
  }

  /// Enters a collective.
  public func enter(_ call: Call, at site: CallSite) {
    touch()
    let sequence = get(.sequence) &+ 1
    var entry = Entry()
    entry.sequence = sequence
    entry.step = get(.step)
    entry.entered = get(.changed)
    entry.kind = call.kind.rawValue
    entry.count = Int64(call.count)
    entry.root = Int64(call.root)
    withUnsafeMutableBytes(of: &entry.site) { site.write(into: $0) }
    write(entry)
    var digest = FNV1a(UInt64(bitPattern: get(.callDigest)))
    for value in [entry.kind, entry.count, entry.root] { digest.add(UInt64(bitPattern: value)) }
    set(.callDigest, Int64(bitPattern: digest.value))
    set(.isInside, 1)
    publish(.sequence, sequence)
  }

  /// Leaves the collective.
  public func leave() {
    set(.isInside, 0)
    touch()
    let left = MemoryLayout<Entry>.offset(of: \.left) ?? 0
    words(of: get(.sequence))[left / 8].store(get(.changed), ordering: .releasing)
  }

  /// A sign of life.
  public func touch() {
    set(.changed, monotonicNanoseconds())
    publish(.progress, get(.progress) &+ 1)
  }

  /// Optimizer steps finished.
  public func finish(step: Int) {
    set(.step, Int64(step))
    touch()
  }

  /// What all ranks must hold alike at the end.
  public func setDigest(_ digest: UInt64) {
    set(.digest, Int64(bitPattern: digest))
    publish(.hasDigest, 1)
  }

  /// Tells the launcher that the program looks at ``isAskedToStop`` after each step and then ends by itself. A program
  /// that does not say so is ended as any other is.
  public func acceptStop() { publish(.acceptsStop, 1) }

  /// Whether the rank is to stop.
  public var isAskedToStop: Bool { see(.stopRequested) != 0 }

  /// - Parameter signal: that this process got itself; nil where its agent has asked.
  public func noteStop(signal: Int32? = nil) { publish(.hasStopped, Int64(signal ?? 1)) }

  public func end(_ outcome: Outcome, status: Int32 = 0, isAgreed: Bool = false) {
    set(.status, Int64(status))
    set(.isAgreed, isAgreed ? 1 : 0)
    publish(.outcome, outcome.rawValue)
    touch()
  }

  /// Overwrites the place of `entry` in the ring; its number comes last, and is 0 meanwhile.
  private func write(_ entry: Entry) {
    let words = words(of: entry.sequence)
    words[0].store(0, ordering: .relaxed)
    atomicMemoryFence(ordering: .releasing)
    withUnsafeBytes(of: entry) { bytes in
      let values = bytes.assumingMemoryBound(to: Int64.self)
      for index in 1..<values.count { words[index].store(values[index], ordering: .relaxed) }
    }
    words[0].store(entry.sequence, ordering: .releasing)
  }

  // MARK: The agent reads.

  /// A copy. The rank may write anything there at any time, even by mistake, so a reader takes one copy and looks at that.
  public var state: State {
    var copy = State()
    withUnsafeMutableBytes(of: &copy) { bytes in
      let values = bytes.assumingMemoryBound(to: Int64.self)
      // First what tells of others; those are then at least as new.
      let telling: [Field] = [.outcome, .sequence, .progress, .hasDigest]
      for field in telling { values[field.rawValue] = see(field) }
      for field in Field.allCases where !telling.contains(field) { values[field.rawValue] = get(field) }
    }
    return copy
  }

  /// The last collective as of `state`; nil before the first, and where the rank is about to overwrite it.
  public func last(of state: State) -> Entry? { state.sequence == 0 ? nil : entry(state.sequence) }

  /// The last collectives, the oldest first.
  public var entries: [Entry] {
    (0..<Int64(Self.ringCount)).compactMap { entry($0) }.sorted { $0.sequence < $1.sequence }
  }

  /// The entry at the place of collective `sequence`; nil where there is none, or the rank writes it just now.
  private func entry(_ sequence: Int64) -> Entry? {
    let words = words(of: sequence)
    var copy = Entry()
    copy.sequence = words[0].load(ordering: .acquiring)
    guard copy.sequence > 0 else { return nil }
    let number = copy.sequence
    withUnsafeMutableBytes(of: &copy) { bytes in
      let values = bytes.assumingMemoryBound(to: Int64.self)
      for index in 1..<values.count { values[index] = words[index].load(ordering: .relaxed) }
    }
    atomicMemoryFence(ordering: .acquiring)
    return words[0].load(ordering: .relaxed) == number ? copy : nil
  }

  /// The words of the place in the ring of a collective; of any number one that is there.
  private func words(of sequence: Int64) -> UnsafeMutablePointer<Word> {
    let slot = Int(UInt64(bitPattern: sequence) % UInt64(Self.ringCount))
    return (ring + slot * MemoryLayout<Entry>.stride).assumingMemoryBound(to: Word.self)
  }

  public func requestStop() { publish(.stopRequested, 1) }
}

extension FlightRecorder.State {
  public var knownPhase: FlightRecorder.Phase { FlightRecorder.Phase(rawValue: phase) ?? .unknown }
  public var knownOutcome: FlightRecorder.Outcome { FlightRecorder.Outcome(rawValue: outcome) ?? .none }
}
