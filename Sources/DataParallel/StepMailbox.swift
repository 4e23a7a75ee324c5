import Synchronization

/// What a rank tells the others on its host in a step, and what its host has heard from the others.
///
/// Each field has one writer. A step is told last, so that whoever sees it sees the rest: hence unchecked.
struct StepMailbox: @unchecked Sendable {
  private let base: UnsafeMutableRawPointer
  private let wordCount: Int

  /// Each of the four counters has a cache line of its own.
  private static let fieldsOffset = 256
  private static let touchedOffset = 320

  /// - Parameter base: memory of `byteCount`, 0 at first.
  init(at base: UnsafeMutableRawPointer, _ layout: GradientLayout) {
    self.base = base
    wordCount = layout.bitWords
  }

  static func byteCount(_ layout: GradientLayout, ranks: Int) -> Int {
    touchedOffset + layout.bitWords * 8 + ranks * MemoryLayout<StepHeader>.stride
  }

  private func counter(_ index: Int) -> UnsafeMutablePointer<Atomic<Int>> {
    (base + 64 * index).assumingMemoryBound(to: Atomic<Int>.self)
  }

  /// The step whose `header` and `touched` are there.
  var headerStep: Int {
    get { counter(0).pointee.load(ordering: .acquiring) }
    nonmutating set { counter(0).pointee.store(newValue, ordering: .releasing) }
  }

  /// Grows with every step and, in it, with every gradient that becomes final.
  var finalMark: Int {
    get { counter(1).pointee.load(ordering: .acquiring) }
    nonmutating set { counter(1).pointee.store(newValue, ordering: .releasing) }
  }

  /// The mark of gradients from `offset` on that are final, of `count`.
  static func mark(step: Int, offset: Int, of count: Int) -> Int { step << 40 | (count - offset + 1) }

  /// The step whose `heard` is there; on the mailbox of a host's first rank.
  var heardStep: Int {
    get { counter(2).pointee.load(ordering: .acquiring) }
    nonmutating set { counter(2).pointee.store(newValue, ordering: .releasing) }
  }

  /// The step with which the weights may change: this rank reads them no more before the step is done.
  var permittedStep: Int {
    get { counter(3).pointee.load(ordering: .acquiring) }
    nonmutating set { counter(3).pointee.store(newValue, ordering: .releasing) }
  }

  var header: StepHeader {
    get { base.load(fromByteOffset: Self.fieldsOffset, as: StepHeader.self) }
    nonmutating set { base.storeBytes(of: newValue, toByteOffset: Self.fieldsOffset, as: StepHeader.self) }
  }

  /// A bit for each row of the word table that this rank's tokens touch.
  var touched: UnsafeMutableBufferPointer<UInt64> {
    UnsafeMutableBufferPointer(
      start: (base + Self.touchedOffset).assumingMemoryBound(to: UInt64.self), count: wordCount)
  }

  /// Every rank's header, by rank.
  var heard: UnsafeMutablePointer<StepHeader> {
    (base + Self.touchedOffset + 8 * wordCount).assumingMemoryBound(to: StepHeader.self)
  }

  /// Forgets all steps.
  func reset() {
    headerStep = 0
    finalMark = 0
    heardStep = 0
    permittedStep = 0
  }
}
