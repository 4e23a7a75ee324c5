import BERT
import Checkpoints
import Collectives
import DataParallel
import Kernels
import System

/// When the ranks of a training compare their numbers, and where they leave what differs.
public struct LockstepOptions {
  /// Steps from one comparison to the next; 0 never compares.
  public var interval: Int
  /// Beside which checkpoints a list of all that differs is written; used on rank 0. Nil writes none.
  public var store: CheckpointStore?

  public init(interval: Int = 50, store: CheckpointStore? = nil) { (self.interval, self.store) = (interval, store) }
}

/// What a rank has done since the ranks compared last.
struct TakenSteps {
  /// The learning rate of the last step; 0 before the first.
  var rate = 0.0
  /// A digest of the rates since the last comparison.
  var rates = FNV1a()
  /// The step after which the ranks compared last; nil where they have not since the training began or went on.
  var comparedStep: Int?

  mutating func add(rate: Double) {
    self.rate = rate
    rates.add(rate.bitPattern)
  }
}

/// Whether all ranks still stand at the same step with the same numbers.
extension TrainingEngine {
  /// What a rank says of itself.
  private struct Word {
    /// Ranks of one place hold copies of one slice; -1 where nobody else holds this one's.
    var place: Int
    var step: Int
    /// Of the last step, and a digest of those since the last comparison.
    var rate: UInt64
    var rates: UInt64
    /// By kind.
    var digests: [UInt64]

    init(place: Int, step: Int, rate: UInt64, rates: UInt64, digests: [UInt64]) {
      (self.place, self.step, self.rate, self.rates, self.digests) = (place, step, rate, rates, digests)
    }

    init(_ numbers: [UInt64]) {
      place = Int(Int64(bitPattern: numbers[0]))
      step = Int(Int64(bitPattern: numbers[1]))
      (rate, rates) = (numbers[2], numbers[3])
      digests = Array(numbers[4...])
    }

    var numbers: [UInt64] {
      [UInt64(bitPattern: Int64(place)), UInt64(bitPattern: Int64(step)), rate, rates] + digests
    }

    func hasTakenSameSteps(as other: Word) -> Bool { step == other.step && rate == other.rate && rates == other.rates }

    /// `at step 3 with the learning rate 2e-05`.
    var position: String { "at step \(step) with the learning rate \(Double(bitPattern: rate))" }
  }

  /// Compares, where the last step is one after which that is due; see `checkLockstep`. Called by all ranks, after each step.
  public func checkLockstepWhereDue() throws(Failure) {
    if lockstep.interval > 0 && steps % lockstep.interval == 0 { try checkLockstep() }
  }

  /// Compares, unless that was done after the last step, or never is: so what is saved is what all ranks agree on. Called by
  /// all ranks.
  public func checkLockstepUnlessDone() throws(Failure) {
    if lockstep.interval > 0 && takenSinceCheck.comparedStep != steps { try checkLockstep() }
  }

  /// Compares step, rate and, where there are several copies, weights and moments over all ranks. Called by all ranks
  /// between steps. Each rank reads its slice once.
  ///
  /// Ranks of a host that share one copy have nothing to compare but step and rate.
  ///
  /// - Throws: `.disagreement` on all ranks, with rank, host, tensor and value.
  public func checkLockstep() throws(Failure) {
    let taken = takenSinceCheck
    takenSinceCheck = TakenSteps(rate: taken.rate, comparedStep: steps)
    guard communicator.size > 1 else { return }
    let groups = try model.memory.groups(communicator)
    let hasCopy = groups.count > 1 && groups.isInPeerGroup
    let own = Word(
      place: hasCopy ? groups.place : -1, step: steps, rate: taken.rate.bitPattern, rates: taken.rates.value,
      digests: LockstepKind.allCases.map { kind in
        guard hasCopy else { return 0 }
        var hash = FNV1a()
        for part in optimizer.parts { hash.add(digest(kind, part)) }
        return hash.value
      })
    let words = try gather(own.numbers).map { Word($0) }
    if let odd = words.firstIndex(where: { !$0.hasTakenSameSteps(as: words[0]) }) {
      let names = try labels([odd, 0])
      let isFormer = (words[odd].step, words[odd].rate) == (words[0].step, words[0].rate)
      try fail(
        isFormer
          ? "\(names[0]) has used other learning rates than \(names[1])"
          : "\(names[0]) is \(words[odd].position), \(names[1]) \(words[0].position)",
        hint: "every rank must take the same steps at the same rates, whatever its rank and rows are")
    }
    for (rank, word) in words.enumerated() where word.place >= 0 {
      let peers = words.indices.filter { words[$0].place == word.place }
      // Of three copies and more, most are right; of two, nobody knows which, and the second is named.
      let count = { (digests: [UInt64]) in peers.count { words[$0].digests == digests } }
      let best = peers.max { count(words[$0].digests) < count(words[$1].digests) } ?? rank
      guard word.digests != words[best].digests else { continue }
      try report(rank, against: best, agreeing: count(words[best].digests))
    }
  }

  private func digest(_ kind: LockstepKind, _ range: Range<Int>) -> UInt64 {
    switch kind {
    case .weights: Training.digest(of: model.parameters.pointer + range.lowerBound, count: range.count)
    case .firstMoments: optimizer.digest(of: .first, in: range)
    case .secondMoments: optimizer.digest(of: .second, in: range)
    }
  }

  /// Copies what this rank holds of a range in its slice.
  func copy(_ kind: LockstepKind, _ range: Range<Int>, to place: UnsafeMutablePointer<Float>) {
    switch kind {
    case .weights: place.update(from: model.parameters.pointer + range.lowerBound, count: range.count)
    case .firstMoments: optimizer.copy(.first, range, to: place)
    case .secondMoments: optimizer.copy(.second, range, to: place)
    }
  }

  /// Every rank's numbers; how many may differ.
  func gather(_ numbers: [UInt64]) throws(Failure) -> [[UInt64]] {
    try communicator.allGather(numbers.withUnsafeBytes { Array($0) }).map { bytes in
      (0..<bytes.count / 8).map { index in
        bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self) }
      }
    }
  }

  /// `rank 1 (host nodeb)` of each rank.
  private func labels(_ ranks: [Int]) throws(Failure) -> [String] {
    let hosts = try communicator.allGather(Array(communicator.host.utf8)).map { String(decoding: $0, as: UTF8.self) }
    return ranks.map { "rank \($0) (host \(hosts[$0]))" }
  }

  /// Finds where the copies of two ranks differ, and ends the job on all ranks alike.
  ///
  /// - Parameter agreeing: copies that are as `other`'s.
  private func report(_ odd: Int, against other: Int, agreeing: Int) throws(Failure) {
    let slots = model.layout.slots
    let kinds = LockstepKind.allCases
    let tensors = slots.flatMap { slot in kinds.map { kind in (kind: kind, slot: slot) } }
    let digests = try gather(
      tensors.map { tensor in
        optimizer.parts.reduce(UInt64(0)) { sum, part in
          let range = tensor.slot.range.clamped(to: part)
          return range.isEmpty ? sum : sum &+ digest(tensor.kind, range)
        }
      })
    let suspects = tensors.indices.filter { digests[odd][$0] != digests[other][$0] }.map { tensors[$0] }
    let differences = try LockstepDifference.all(of: suspects, between: odd, and: other, self)
    let names = try labels([odd, other])
    try fail(
      "\(names[0]) holds other numbers than \(names[1])"
        + (agreeing > 1 ? " and \(agreeing - 1) more" : ", and nobody knows which are right")
        + (differences.first.map { ": \($0.text)" } ?? "")
        + (differences.count > 1 ? "; \(differences.count) tensors differ" : ""),
      hint:
        "a host's memory or network changes numbers; a checkpoint is saved only where all ranks agree, so continue from "
        + "the newest one, without that host"
    ) { () throws(Failure) in
      guard let store = lockstep.store, !differences.isEmpty else { return nil }
      return try store.write(
        LockstepDifference.table(differences, ranks: [odd, other]), to: "out-of-lockstep-\(steps).tsv")
    }
  }

  /// - Parameter leave: writes what is known besides, on rank 0, and gives the file's path.
  private func fail(
    _ problem: String, hint: String, leave: () throws(Failure) -> String? = { nil }
  ) throws(Failure) {
    try communicator.agree { () throws(Failure) in
      var message = "the ranks are out of lockstep after step \(steps): \(problem)"
      if communicator.isMain {
        // Where it can't be written, the message is all the same.
        do throws(Failure) { message += try leave().map { "; all of it: \($0)" } ?? "" } catch {
          message += "; \(error)"
        }
      }
      throw Failure(.disagreement, message, hint: hint)
    }
  }
}
