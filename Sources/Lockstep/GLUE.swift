import Datasets
import System
import Tokenization
import Training

/// The tasks of the GLUE benchmark, from their own files.
public enum GLUE {
  /// The sentences of a task's training and validation rows.
  public struct Rows: Sendable {
    public let train: SentencePairs
    public let validation: SentencePairs

    /// The rows as token ids, cut to `maxLength` tokens: by default to the tokenizer's limit, at most 512.
    public func tokenized(by tokenizer: BertTokenizer, maxLength: Int? = nil) throws(Failure) -> Tokenized {
      let most = maxLength ?? min(tokenizer.maxLength ?? 512, 512)
      return Tokenized(
        train: try TokenizedDataset(train, tokenizer: tokenizer, maxLength: most),
        validation: try TokenizedDataset(validation, tokenizer: tokenizer, maxLength: most))
    }
  }

  /// A task's training and validation rows as token ids.
  public struct Tokenized: Sendable {
    public let train: TokenizedDataset
    public let validation: TokenizedDataset
  }

  /// Reads a task's folder, such as `GLUE/MRPC`.
  ///
  /// - Throws: `.missingInput` or, with file, line and column, `.badData`.
  public static func load(_ task: GLUETask, from folder: String) throws(Failure) -> Rows {
    Rows(
      train: try loadSplit(task, folder: folder, split: .train),
      validation: try loadSplit(task, folder: folder, split: .validation))
  }

  /// Reads one split of a task's folder; the labels of `.test` may be `.unknown`.
  public static func load(_ task: GLUETask, from folder: String, split: Split) throws(Failure) -> SentencePairs {
    try loadSplit(task, folder: folder, split: split)
  }
}

extension BertTokenizer {
  /// The tokenizer of a checkpoint folder in the Hugging Face layout. Its rows are as long as the model's positions at
  /// most.
  public init(from folder: String) throws(Failure) {
    let model = try ModelFolder(folder)
    self = model.tokenizer.limited(to: model.configuration.maximumPositions)
  }
}
