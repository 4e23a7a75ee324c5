import BERT
import Batches
import Collectives
import DataParallel
import Kernels
import System

/// What a rank knows of numbers in the present window that are not finite.
struct BadNumbers {
  /// This rank's rows of the window, as numbers in the data set.
  private(set) var rows: [Int] = []
  /// Where the first bad loss of this rank came from; empty where all are good.
  var lossPlace = ""
  /// The rank whose loss was bad first, where ranks tell one another before the step; the same on every rank.
  var lossRank: Int?
  /// The first row of the last forward's batch whose loss is bad.
  var rowInBatch: Int?

  mutating func add(rowsOf batch: PackedBatch) {
    rows.append(contentsOf: UnsafeBufferPointer(start: batch.rows, count: batch.sequences).lazy.map { Int($0) })
  }

  mutating func reset() {
    rows.removeAll(keepingCapacity: true)
    lossPlace = ""
    lossRank = nil
  }

  /// As a person counts them.
  static func named(_ rows: [Int]) -> String {
    let shown = rows.prefix(8).map { "\($0 + 1)" }.joined(separator: ", ")
    let what = rows.count == 1 ? "row" : "rows"
    return "\(what) \(shown)\(rows.count > 8 ? " and \(rows.count - 8) more" : "") of the training rows"
  }
}

/// What is said of a loss or a gradient that is not a finite number.
extension TrainingEngine {
  /// Notes where the last forward went wrong: its first bad row, or all where it is not known, and the first part of the
  /// model with a bad number.
  func noteBadLoss(_ batch: PackedBatch) {
    guard badNumbers.lossPlace.isEmpty else { return }
    let layers = model.configuration.layers
    let part =
      switch (0...layers).first(where: { !network.hiddenStates($0).allSatisfy(\.isFinite) }) {
      case 0?: "the embeddings"
      case let index?: "layer \(index - 1)"
      case nil: "the head"
      }
    let rows = badNumbers.rowInBatch.map { [Int(batch.rows[$0])] } ?? (0..<batch.sequences).map { Int(batch.rows[$0]) }
    badNumbers.lossPlace = "\(BadNumbers.named(rows)), first in \(part)"
  }

  /// What is wrong with the losses of this step. Called by all ranks; the same on all.
  ///
  /// - Parameter rank: whose loss it is; it has noted where.
  func problem(ofLoss loss: Double, on rank: Int) throws(Failure) -> String {
    let places = try communicator.allGather(Array(badNumbers.lossPlace.utf8))
    let place = String(decoding: places[rank], as: UTF8.self)
    return "the loss became \(named(loss)) at step \(steps + 1) on rank \(rank)" + (place.isEmpty ? "" : ": \(place)")
  }

  /// What is wrong with a gradient whose norm is not finite: the tensor nearest to the loss, where backward met it first,
  /// and the rank whose rows it comes from. Called by all ranks; the same on all.
  func problem(ofNorm norm: Double, step: Int) throws(Failure) -> String {
    let slots = model.layout.slots
    let own = synchronizer.badGradient(in: slots.map(\.range))
    // Of several ranks the first, and a rank before a sum of all.
    let found = try communicator.allGather([Double(own?.tensor ?? -1), Double(own?.rank ?? communicator.size)])
      .map { (tensor: Int($0[0]), rank: Int($0[1])) }
    let worst = found.filter { $0.tensor >= 0 }.max { ($0.tensor, -$0.rank) < ($1.tensor, -$1.rank) }
    let rank = worst.flatMap { $0.rank < communicator.size ? $0.rank : nil }
    let rows = try communicator.allGather(
      rank == communicator.rank ? Array(BadNumbers.named(badNumbers.rows).utf8) : [])
    let name = worst.map { slots[$0.tensor].name } ?? "all tensors together"
    return "the gradient of \(name) became \(named(norm)) at step \(step)"
      + (rank.map { " on rank \($0): \(String(decoding: rows[$0], as: UTF8.self))" } ?? ", summed over the ranks")
  }

  /// A number that is not finite, without the sign that a NaN may have.
  private func named(_ value: Double) -> String { value.isNaN ? "NaN" : "\(value)" }

  /// Every rank knows the same, so all end in order and one line is printed.
  func refuse(_ message: String) throws(Failure) {
    try communicator.agree { () throws(Failure) in
      throw Failure(
        .badData, message, hint: "a lower learning rate may help, or gradients that are clipped to a norm of 1",
        cause: .notFinite)
    }
  }
}
