import Datasets
import System

extension ModelFolder {
  /// The rows as this model takes them: cut to its positions, and every number in them checked against its tables.
  ///
  /// - Parameters:
  ///   - maxLength: the most tokens of a row; nil takes the tokenizer's own limit.
  ///   - withLabels: whether each row needs a label that the model has a loss for.
  ///   - name: what errors call the rows.
  public func tokenized(
    _ pairs: some Collection<SentencePair>, maxLength: Int? = nil, withLabels: Bool = true, name: String? = nil
  ) throws(Failure) -> TokenizedDataset {
    let most = configuration.maximumPositions
    let length = min(maxLength ?? tokenizer.maxLength ?? most, most)
    let rows = try TokenizedDataset(pairs, tokenizer: tokenizer, maxLength: length)
    try rows.check(against: configuration, withLabels: withLabels, name: name)
    return rows
  }

  /// Makes sure, before a table is read, that the model has an embedding for every token type of the task's rows.
  public func requireTokenTypes(for task: GLUETask) throws(Failure) {
    try requireTokenTypes(ofPairs: task.secondColumn != nil, of: task.name)
  }

  /// The same for any rows.
  ///
  /// - Parameter name: what the message calls the rows' task or table.
  public func requireTokenTypes(ofPairs arePairs: Bool, of name: String) throws(Failure) {
    let row = try tokenizer.encode([], arePairs ? [] : nil, maxLength: 8)
    guard let highest = row.tokenTypeIDs.max(), !configuration.takes(tokenType: Int(highest)) else { return }
    throw Failure(
      .configuration, at: "\(path)/config.json",
      "\"type_vocab_size\" is \(configuration.tokenTypes), but the sentence pairs of \(name) have token type \(highest)",
      hint: "a model of single sentences cannot take pairs")
  }
}
