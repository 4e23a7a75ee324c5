import BERT
import Collectives
import Synchronization
import System

/// Memory that the ranks of a host see: one copy of the weights, every rank's gradients and every rank's mailbox.
struct HostStore {
  let weights: UnsafeMutableBufferPointer<Float>
  /// By local rank.
  let gradients: [UnsafeMutableBufferPointer<Float>]
  /// By local rank.
  let mailboxes: [StepMailbox]
  /// Keeps all of it.
  let memory: HostMemory

  /// Called by all ranks; nil on all where it can't be had on every host.
  ///
  /// `LOCKSTEP_SHARED_MEMORY=off` does without, to find out whether a fault lies there.
  init?(_ layout: ParameterLayout, _ communicator: any Communicator) throws(Failure) {
    let isWanted = processVariable("LOCKSTEP_SHARED_MEMORY") != "off"
    // All must choose the same.
    guard try communicator.allGather(isWanted ? 1 : 0).allSatisfy({ $0 == 1 }) else { return nil }
    // Each at the start of a cache line.
    let count = (layout.count + 15) / 16 * 16
    let boardCount = StepMailbox.byteCount(layout, ranks: communicator.size) / MemoryLayout<Float>.stride
    let memory = try communicator.makeHostMemory(
      count: (communicator.localRank == 0 ? 2 : 1) * count + boardCount)
    guard try communicator.allGather(memory == nil ? 0 : 1).allSatisfy({ $0 == 1 }), let memory else { return nil }
    self.memory = memory
    let parts = memory.parts
    weights = UnsafeMutableBufferPointer(rebasing: parts[0][..<layout.count])
    gradients = parts.indices.map { rank in
      let start = rank == 0 ? count : 0
      return UnsafeMutableBufferPointer(rebasing: parts[rank][start..<start + layout.count])
    }
    mailboxes = parts.map { part in
      guard let end = part.baseAddress.map({ $0 + part.count - boardCount }) else {
        preconditionFailure("host memory without an address")
      }
      return StepMailbox(at: end, layout)
    }
  }
}

/// What a rank tells the others on its host in a step, and what its host has heard from the others.
///
/// Each field has one writer. A step is told last, so that whoever sees it sees the rest.
struct StepMailbox {
  private let base: UnsafeMutableRawPointer
  private let wordCount: Int

  /// Each of the three counters has a cache line of its own.
  private static let fieldsOffset = 192
  private static let touchedOffset = 256

  /// - Parameter base: memory of `byteCount`, 0 at first.
  init(at base: UnsafeMutableRawPointer, _ layout: ParameterLayout) {
    self.base = base
    wordCount = Self.wordCount(layout)
  }

  static func byteCount(_ layout: ParameterLayout, ranks: Int) -> Int {
    touchedOffset + wordCount(layout) * 8 + ranks * MemoryLayout<Header>.stride
  }

  static func wordCount(_ layout: ParameterLayout) -> Int { (layout.wordTable.shape[0] + 63) / 64 }

  /// What a rank says of a step when its last forward is through.
  struct Header: BitwiseCopyable {
    var lossSum: Double
    /// 1 where the rank was asked to stop.
    var stop: Double
  }

  private func counter(_ index: Int) -> UnsafeMutablePointer<Atomic<Int>> {
    (base + 64 * index).assumingMemoryBound(to: Atomic<Int>.self)
  }

  /// The step whose `head` and `touched` are there.
  var headStep: Int {
    get { counter(0).pointee.load(ordering: .acquiring) }
    nonmutating set { counter(0).pointee.store(newValue, ordering: .releasing) }
  }

  /// Grows with every step and, in it, with every gradient that becomes final.
  var finalMark: Int {
    get { counter(1).pointee.load(ordering: .acquiring) }
    nonmutating set { counter(1).pointee.store(newValue, ordering: .releasing) }
  }

  /// The step whose `heard` is there; on the mailbox of a host's first rank.
  var heardStep: Int {
    get { counter(2).pointee.load(ordering: .acquiring) }
    nonmutating set { counter(2).pointee.store(newValue, ordering: .releasing) }
  }

  var head: Header {
    get { base.load(fromByteOffset: Self.fieldsOffset, as: Header.self) }
    nonmutating set { base.storeBytes(of: newValue, toByteOffset: Self.fieldsOffset, as: Header.self) }
  }

  /// A bit for each row of the word table that this rank's tokens touch.
  var touched: UnsafeMutableBufferPointer<UInt64> {
    UnsafeMutableBufferPointer(
      start: (base + Self.touchedOffset).assumingMemoryBound(to: UInt64.self), count: wordCount)
  }

  /// Every rank's head, by rank.
  var heard: UnsafeMutablePointer<Header> {
    (base + Self.touchedOffset + 8 * wordCount).assumingMemoryBound(to: Header.self)
  }

  /// Forgets all steps.
  func reset() {
    headStep = 0
    finalMark = 0
    heardStep = 0
  }
}

/// This rank's mailbox, in memory of its host or of its own.
final class OwnMailbox {
  let mailbox: StepMailbox
  private let owner: AnyObject

  init(_ layout: ParameterLayout, ranks: Int, in store: HostStore?, _ communicator: any Communicator) {
    if let store {
      mailbox = store.mailboxes[communicator.localRank]
      owner = store.memory
    } else {
      let own = FloatBuffer(count: StepMailbox.byteCount(layout, ranks: ranks) / MemoryLayout<Float>.stride)
      mailbox = StepMailbox(at: UnsafeMutableRawPointer(own.pointer), layout)
      owner = own
    }
  }

  /// No row of the word table is touched yet.
  func clear() { mailbox.touched.update(repeating: 0) }

  /// Marks the rows of a batch's tokens.
  func touch(_ input: PackedInput) {
    let bits = mailbox.touched
    for token in 0..<input.tokens {
      let row = Int(input.tokenIDs[token])
      bits[row / 64] |= 1 << UInt64(row % 64)
    }
  }
}
