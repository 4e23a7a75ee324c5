import Synchronization

/// What the computing thread and the pumping one tell one another of a step: of each field the last step of which it holds.
final class ExchangeSignals: Sendable {
  private let left = Atomic<Int>(0)
  private let summed = Atomic<Int>(0)
  private let finished = Atomic<Int>(0)
  private let moves = Atomic<Int>(0)

  // MARK: The computing thread says

  /// Somebody else applies the sums, when the norm is known.
  func leaveUpdate(of step: Int) { left.store(step, ordering: .releasing) }
  func leaves(_ step: Int) -> Bool { left.load(ordering: .acquiring) == step }

  // MARK: The pumping thread says

  /// All sums of this rank's parts are there.
  func setSummed(_ step: Int) { summed.store(step, ordering: .releasing) }
  /// All is done that this rank does in the step.
  func setFinished(_ step: Int) { finished.store(step, ordering: .releasing) }
  func isSummed(_ step: Int) -> Bool { summed.load(ordering: .acquiring) == step }
  func isFinished(_ step: Int) -> Bool { finished.load(ordering: .acquiring) == step }
  func noteMove() { moves.add(1, ordering: .relaxed) }
  /// Grows when something moves.
  var moveCount: Int { moves.load(ordering: .relaxed) }
}
