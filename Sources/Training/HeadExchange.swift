import BERT
import Collectives
import System

/// What the groups tell one another when the last forward of a step is through: every rank's loss, and the rows of the
/// word table that the step touches. Each lane asks for itself; the first rank of a group writes down the losses for all.
final class HeadExchange {
  private enum Phase { case waiting, travelling, done }

  private let groups: RankGroups
  private let link: any Link
  private let boards: [Board]
  /// By group: the heads of its ranks, then its rows as bits.
  private let texts: [UnsafeMutableRawBufferPointer]
  private var messages: [Int] = []
  private var phase = Phase.done

  /// What any rank touches, once it is done.
  private(set) var touched: WordRows

  init(_ groups: RankGroups, _ link: any Link, _ boards: [Board], _ layout: ParameterLayout) {
    self.groups = groups
    self.link = link
    self.boards = boards
    let words = boards[0].touched.count
    touched = WordRows(layout)
    texts = groups.ranks.map { ranks in
      .allocate(byteCount: ranks.count * MemoryLayout<Board.Head>.stride + 8 * words, alignment: 64)
    }
  }

  deinit { for text in texts { text.deallocate() } }

  var isDone: Bool { phase == .done }

  func begin() { phase = .waiting }

  /// Moves what can be moved; false where nothing could.
  func advance(step: Int) throws(Failure) -> Bool {
    switch phase {
    case .waiting:
      guard boards.allSatisfy({ $0.headStep == step }) else { return false }
      try send()
      phase = .travelling
    case .travelling:
      try link.poll()
      let before = messages.count
      messages.removeAll { link.isDone($0) }
      guard messages.isEmpty else { return messages.count < before }
      read(step: step)
      phase = .done
    case .done: return false
    }
    return true
  }

  private func send() throws(Failure) {
    let own = texts[groups.own]
    for (place, board) in boards.enumerated() {
      own.storeBytes(of: board.head, toByteOffset: place * MemoryLayout<Board.Head>.stride, as: Board.Head.self)
    }
    let bits = bits(of: groups.own)
    for index in bits.indices { bits[index] = boards.reduce(0) { $0 | $1.touched[index] } }
    for group in 0..<groups.count where group != groups.own {
      let peer = groups.ranks[group][groups.place]
      messages.append(try link.receive(texts[group], from: peer, tag: 0))
      messages.append(try link.send(UnsafeRawBufferPointer(own), to: peer, tag: 0))
    }
  }

  private func read(step: Int) {
    touched.clear()
    for group in 0..<groups.count {
      touched.formUnion(bits(of: group))
      guard groups.place == 0 else { continue }
      for (place, rank) in groups.ranks[group].enumerated() {
        boards[0].heard[rank] = texts[group].load(
          fromByteOffset: place * MemoryLayout<Board.Head>.stride, as: Board.Head.self)
      }
    }
    if groups.place == 0 { boards[0].heardStep = step }
  }

  private func bits(of group: Int) -> UnsafeMutableBufferPointer<UInt64> {
    let start = groups.ranks[group].count * MemoryLayout<Board.Head>.stride
    return UnsafeMutableRawBufferPointer(rebasing: texts[group][start...]).assumingMemoryBound(to: UInt64.self)
  }
}
