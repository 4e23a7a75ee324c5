import BERT
import Batches
import Datasets
import System

/// This rank's rows of one step, with their tokens end to end and without padding.
///
/// Its memory is used again when nobody holds it any more.
public final class Batch {
  let content = PackedBatch()
  let dataset: TokenizedDataset
  /// What no batch of its loader exceeds.
  let limits: BatchLimits
  /// Nil where its loader is not prepared.
  let placement: Placement?
  /// Rows of the accumulation window over all ranks.
  var rowsInStep = 0
  /// Of them this rank's.
  var ownWindowRows = 0
  /// Whether the optimizer steps after this batch (Accelerate's `sync_gradients`).
  public internal(set) var isLastInStep = true
  /// Rows of this step over all ranks.
  public internal(set) var globalCount = 0
  /// Rows before those that only fill up the last round.
  public internal(set) var ownCount = 0
  /// What is wrong with it; whoever computes with it throws that.
  var problem: Failure?

  init(_ dataset: TokenizedDataset, _ limits: BatchLimits, _ placement: Placement?) {
    self.dataset = dataset
    self.limits = limits
    self.placement = placement
  }

  /// Rows; may be 0 on some ranks in the last round of an epoch.
  public var count: Int { content.sequences }
  /// `[rows]`: the class of each, or -1 where it has none.
  public var labels: [Int] { copy(content.classes, count).map { Int($0) } }
  /// `[rows]`: the score of each, 0 where it has none.
  public var scores: [Float] { copy(content.scores, count) }
  /// `[rows]`: their numbers in the data set.
  public var rows: [Int] { copy(content.rows, count) }
  /// `[tokens]`: of all rows, one after the other.
  public var inputIDs: [Int32] { copy(content.tokenIDs, content.tokens) }
  /// `[tokens]`.
  public var tokenTypeIDs: [Int32] { copy(content.typeIDs, content.tokens) }
  /// `[rows + 1]`: row i is tokens `offsets[i]..<offsets[i + 1]`.
  public var offsets: [Int] { copy(content.starts, count + 1).map { Int($0) } }

  /// The rows' labels, as the data set has them.
  var ownLabels: [Label] { rows.map { dataset.labels[$0] } }

  private func copy<Value>(_ values: UnsafePointer<Value>, _ count: Int) -> [Value] {
    Array(UnsafeBufferPointer(start: values, count: count))
  }
}
