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
