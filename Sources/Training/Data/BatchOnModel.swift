import BERT
import Datasets

extension BatchLimits {
  /// The end of the longest batch from row `start` on that keeps to these limits, before `last` at the latest.
  func end(ofBatchFrom start: Int, in dataset: TokenizedDataset, before last: Int) -> Int {
    var end = start
    while end < last, end - start < sequences, dataset.offsets[end + 1] - dataset.offsets[start] <= tokens { end += 1 }
    precondition(end > start || start == last, "row \(start) has more tokens than a batch holds")
    return end
  }
}

extension Batch {
  /// Calls `body` with this batch as the model takes it.
  func withPackedInput(_ body: (PackedInput) -> Void) {
    inputIDs.withUnsafeBufferPointer { tokenIDs in
      tokenTypeIDs.withUnsafeBufferPointer { typeIDs in
        offsets.withUnsafeBufferPointer { starts in
          rows.withUnsafeBufferPointer { rows in
            guard let tokens = tokenIDs.baseAddress, let types = typeIDs.baseAddress, let starts = starts.baseAddress,
              let rows = rows.baseAddress
            else { preconditionFailure("a batch without rows") }
            body(
              PackedInput(
                tokens: tokenCount, sequences: count, tokenIDs: tokens, typeIDs: types, starts: starts, rows: rows))
          }
        }
      }
    }
  }
}

extension BertClassifier {
  /// The sum of the losses of the batch's rows, after forward, as transformers has it: binary cross-entropy where rows have
  /// sets of classes, squared error where the model has one output, else cross-entropy.
  func loss(of batch: Batch, gradientScale: Double) -> Double {
    if batch.isMultiLabel {
      batch.categoryOffsets.withUnsafeBufferPointer { offsets in
        batch.categories.withUnsafeBufferPointer {
          binaryCrossEntropyLoss(categories: $0, offsets: offsets.baseAddress!, gradientScale: gradientScale)
        }
      }
    } else if configuration.labels == 1 {
      batch.scores.withUnsafeBufferPointer { squaredErrorLoss(targets: $0.baseAddress!, gradientScale: gradientScale) }
    } else {
      batch.labels.withUnsafeBufferPointer { crossEntropyLoss(labels: $0.baseAddress!, gradientScale: gradientScale) }
    }
  }
}
