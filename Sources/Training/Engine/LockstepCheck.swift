import BERT
import Collectives
import DataParallel
import Kernels
import System

/// Whether all ranks still stand at the same step with the same numbers.
extension TrainingEngine {
  /// What of a slice is compared.
  private enum Kind: Int, CaseIterable {
    case weights, firstMoments, secondMoments

    var name: String {
      switch self {
      case .weights: "the weights"
      case .firstMoments: "the first moments"
      case .secondMoments: "the second moments"
      }
    }
  }

  /// What a rank says of itself.
  private struct Word {
    /// Ranks of one place hold copies of one slice; -1 where nobody else holds this one's.
    var place: Int
    var step: Int
    var rate: UInt64
    /// By kind.
    var digests: [UInt64]

    init(place: Int, step: Int, rate: UInt64, digests: [UInt64]) {
      (self.place, self.step, self.rate, self.digests) = (place, step, rate, digests)
    }

    init(_ numbers: [UInt64]) {
      place = Int(Int64(bitPattern: numbers[0]))
      step = Int(Int64(bitPattern: numbers[1]))
      rate = numbers[2]
      digests = Array(numbers[3...])
    }

    var numbers: [UInt64] { [UInt64(bitPattern: Int64(place)), UInt64(bitPattern: Int64(step)), rate] + digests }
  }

  /// Compares step, rate and, where there are several copies, weights and moments over all ranks. Called by all ranks
  /// between steps. Each rank reads its slice once.
  ///
  /// Ranks of a host that share one copy have nothing to compare but step and rate.
  ///
  /// - Parameter learningRate: of the last step.
  /// - Throws: `.disagreement` on all ranks, with rank, host and tensor.
  public func checkLockstep(learningRate: Double) throws(Failure) {
    guard communicator.size > 1 else { return }
    let groups = try model.memory.groups(communicator)
    let hasCopy = groups.count > 1 && groups.isInPeerGroup
    let own = Word(
      place: hasCopy ? groups.place : -1, step: steps, rate: learningRate.bitPattern,
      digests: Kind.allCases.map { kind in
        guard hasCopy else { return 0 }
        var hash = FNV1a()
        for part in optimizer.parts { hash.add(digest(kind, part)) }
        return hash.value
      })
    let words = try gather(own.numbers).map { Word($0) }
    for (rank, word) in words.enumerated() {
      guard word.step == words[0].step, word.rate == words[0].rate else {
        try report(rank, against: 0, "is at step \(word.step) with the learning rate \(Double(bitPattern: word.rate))")
        return
      }
      guard word.place >= 0 else { continue }
      let peers = words.indices.filter { words[$0].place == word.place }
      // Of three copies and more, most are right; of two, nobody knows which, and the second is named.
      let count = { (digests: [UInt64]) in peers.count { words[$0].digests == digests } }
      let best = peers.max { count(words[$0].digests) < count(words[$1].digests) } ?? rank
      guard word.digests != words[best].digests else { continue }
      try report(rank, against: best, "holds other numbers")
    }
  }

  private func digest(_ kind: Kind, _ range: Range<Int>) -> UInt64 {
    switch kind {
    case .weights: Training.digest(of: model.parameters.pointer + range.lowerBound, count: range.count)
    case .firstMoments: optimizer.digest(of: .first, in: range)
    case .secondMoments: optimizer.digest(of: .second, in: range)
    }
  }

  private func gather(_ numbers: [UInt64]) throws(Failure) -> [[UInt64]] {
    try communicator.allGather(numbers.withUnsafeBytes { Array($0) }).map { bytes in
      (0..<bytes.count / 8).map { index in
        bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self) }
      }
    }
  }

  /// Finds the first tensor in which two ranks differ, and ends the job on all ranks alike.
  private func report(_ odd: Int, against other: Int, _ problem: String) throws(Failure) {
    let slots = model.layout.slots
    let digests = try gather(
      slots.flatMap { slot in
        Kind.allCases.map { kind in
          optimizer.parts.reduce(UInt64(0)) { sum, part in
            let range = slot.range.clamped(to: part)
            return range.isEmpty ? sum : sum &+ digest(kind, range)
          }
        }
      })
    let hosts = try communicator.allGather(Array(communicator.host.utf8)).map { String(decoding: $0, as: UTF8.self) }
    let place = zip(digests[odd], digests[other]).enumerated().first { $0.element.0 != $0.element.1 }?.offset
    let kinds = Kind.allCases
    let what = place.map { place in
      "\(kinds[place % kinds.count].name) of \(slots[place / kinds.count].name) differ"
    }
    try communicator.agree { () throws(Failure) in
      throw Failure(
        .disagreement,
        "the ranks are out of lockstep after step \(steps): rank \(odd) (host \(hosts[odd])) \(problem), rank "
          + "\(other) (host \(hosts[other])) does not" + (what.map { "; \($0)" } ?? ""),
        hint: "a host's memory or network changes numbers; checkpoints from before the last check are good")
    }
  }
}
