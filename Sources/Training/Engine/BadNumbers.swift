import BERT
import Collectives
import System

/// What is said of a loss that is not a finite number.
extension TrainingEngine {
  /// Notes where the last forward went wrong: its first bad row, and the first part of the model with a bad number.
  ///
  /// - Parameter rows: of the batch, as numbers in the data set.
  func noteBadLoss(_ rows: [Int]) {
    guard badPlace == nil, let place = network.rowLosses.firstIndex(where: { !$0.isFinite }) else { return }
    let layers = model.configuration.layers
    let part =
      switch (0...layers).first(where: { !network.hiddenStates($0).allSatisfy(\.isFinite) }) {
      case 0?: "the embeddings"
      case let index?: "layer \(index - 1)"
      case nil: "the head"
      }
    badPlace = "row \(rows[place] + 1) of the training rows, first in \(part)"
  }

  /// Ends the job on all ranks alike.
  ///
  /// - Parameter rank: whose loss it is; it has noted where.
  func refuseLoss(_ loss: Double, on rank: Int) throws(Failure) {
    let places = try communicator.allGather(Array((badPlace ?? "").utf8))
    let place = String(decoding: places[rank], as: UTF8.self)
    try refuse(
      "the loss became \(named(loss)) at step \(optimizer.step + 1) on rank \(rank)"
        + (place.isEmpty ? "" : ": \(place)"))
  }
}
