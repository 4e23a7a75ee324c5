import Collectives
import System

/// What the groups tell one another when the last forward of a step is through: every rank's loss, and the rows of the
/// word table that the step touches. Each peer group asks for itself; the first rank of a group writes down the losses for all.
final class StepHeaderExchange {
  private enum Phase { case waiting, travelling, done }

  private let groups: HostTopology
  private let channel: any PointToPointChannel
  private let mailboxes: [StepMailbox]
  /// By group: the headers of its ranks, then its rows as bits.
  private let texts: [UnsafeMutableRawBufferPointer]
  private var messages: [Int] = []
  private var phase = Phase.done

  /// What any rank touches, once it is done.
  private(set) var touched: TouchedEmbeddingRows

  init(
    _ groups: HostTopology, _ channel: any PointToPointChannel, _ mailboxes: [StepMailbox], _ layout: GradientLayout
  ) {
    self.groups = groups
    self.channel = channel
    self.mailboxes = mailboxes
    let words = mailboxes[0].touched.count
    touched = TouchedEmbeddingRows(layout)
    texts = groups.ranks.map { ranks in
      .allocate(byteCount: ranks.count * MemoryLayout<StepHeader>.stride + 8 * words, alignment: 64)
    }
  }

  deinit {
    // As with sums that are on their way.
    if !messages.isEmpty { return }
    for text in texts { text.deallocate() }
  }

  var isDone: Bool { phase == .done }

  func begin() { phase = .waiting }

  /// Moves what can be moved; false where nothing could.
  func advance(step: Int) throws(Failure) -> Bool {
    switch phase {
    case .waiting:
      guard mailboxes.allSatisfy({ $0.headerStep == step }) else { return false }
      try send()
      phase = .travelling
    case .travelling:
      try channel.poll()
      let before = messages.count
      messages.removeAll { channel.isDone($0) }
      guard messages.isEmpty else { return messages.count < before }
      read(step: step)
      phase = .done
    case .done: return false
    }
    return true
  }

  private func send() throws(Failure) {
    let own = texts[groups.own]
    for (place, mailbox) in mailboxes.enumerated() {
      own.storeBytes(
        of: mailbox.header, toByteOffset: place * MemoryLayout<StepHeader>.stride, as: StepHeader.self)
    }
    let bits = bits(of: groups.own)
    for index in bits.indices { bits[index] = mailboxes.reduce(0) { $0 | $1.touched[index] } }
    for group in 0..<groups.count where group != groups.own {
      let peer = groups.ranks[group][groups.place]
      messages.append(try channel.receive(texts[group], from: peer, tag: 0))
      messages.append(try channel.send(UnsafeRawBufferPointer(own), to: peer, tag: 0))
    }
  }

  private func read(step: Int) {
    touched.clear()
    for group in 0..<groups.count {
      touched.formUnion(bits(of: group))
      guard groups.place == 0 else { continue }
      for (place, rank) in groups.ranks[group].enumerated() {
        mailboxes[0].heard[rank] = texts[group].load(
          fromByteOffset: place * MemoryLayout<StepHeader>.stride, as: StepHeader.self)
      }
    }
    if groups.place == 0 { mailboxes[0].heardStep = step }
  }

  private func bits(of group: Int) -> UnsafeMutableBufferPointer<UInt64> {
    let start = groups.ranks[group].count * MemoryLayout<StepHeader>.stride
    return UnsafeMutableRawBufferPointer(rebasing: texts[group][start...]).assumingMemoryBound(to: UInt64.self)
  }
}
