import Inference
import System
import Training
import WeightFiles

/// The option of these programs that is the way out of a library's failure; nil where its own hint is all there is.
@Sendable
public func remedy(for failure: Failure) -> String? {
  switch failure.cause {
  case .notFinite: "a lower learning rate or --max-grad-norm 1 may help; --non-finite skip leaves such steps out"
  case .missingTensor: "--ignore-mismatched-sizes starts fresh where tensors are missing or their shapes differ"
  case .otherLabels:
    "the checkpoint was made for another number of labels; --ignore-mismatched-sizes starts with a fresh classifier"
  case .otherShape:
    "config.json and the weights do not belong together; --ignore-mismatched-sizes starts fresh where shapes differ"
  case .foreignFiles: "name another folder, or replace everything in it with --overwrite-output-dir"
  case .noWeights: "finetune --init random starts with fresh weights"
  case .unknownColumns: "--text-column and --text-pair-column name them"
  case .untrained:
    "fine-tune it first: ./launch finetune --model \(failure.place ?? "DIR") … --output-dir DIR, then ask DIR"
  default: nil
  }
}
