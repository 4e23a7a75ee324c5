import ArgumentParser
import Datasets
import ProgramSupport
import System
import Tokenization
import Training

/// `inspect tokens`: the tokenizer's output, a JSON line per row.
struct TokensCommand: Inspection {
  static let configuration = CommandConfiguration(
    commandName: "tokens", abstract: "Prints input_ids, token_type_ids and attention_mask, a JSON line per row.")

  @Option(
    help: ArgumentHelp(
      "The checkpoint's folder, with the tokenizer's files; under ./launch a name on the hub, too.",
      valueName: "dir|name"))
  var model: String

  @OptionGroup var revision: RevisionOption

  @Option(parsing: .unconditional, help: "A text; it may begin with a dash.")
  var text: String?

  @Option(parsing: .unconditional, help: "The second text of a pair.")
  var textPair: String?

  @Option(help: ArgumentHelp("A table of MRPC, with or without labels.", valueName: "file"))
  var tsv: String?

  @Option(name: bothSpellings("max-length"), help: "The most tokens of a row, special ones included.")
  var maxLength: Int?

  func validate() throws {
    guard (text == nil) != (tsv == nil) else { throw ValidationError("Give one of --text and --tsv.") }
    guard textPair == nil || text != nil else { throw ValidationError("--text-pair needs --text.") }
  }

  func run(_ settings: RankSettings) throws {
    try revision.check()
    let tokenizer = try BertTokenizer(folder: model)
    for warning in tokenizer.warnings {
      printError("inspect: warning: \("\(model): \(warning)".escapingControlCharacters)")
    }
    let pairs: any Collection<SentencePair> =
      if let tsv {
        try GLUETask.mrpc.parse(readBytes(tsv), path: tsv, requiresLabels: false)
      } else {
        // transformers, called with two strings, takes an empty second one for none.
        [
          SentencePair(
            first: Array(text!.utf8), second: textPair.flatMap { $0.isEmpty ? nil : Array($0.utf8) }, label: .unknown)
        ]
      }
    var output = JSONOutput()
    var encoder = PairEncoder(tokenizer, maxLength: maxLength)
    var encoding = Encoding()
    for pair in pairs {
      encoding.removeAll()
      try encoder.append(pair.first, pair.second, to: &encoding)
      output.raw("{\"input_ids\":")
      output.numbers(encoding.inputIDs)
      output.raw(",\"token_type_ids\":")
      output.numbers(encoding.tokenTypeIDs)
      output.raw(",\"attention_mask\":")
      output.numbers(repeatElement(1, count: encoding.count))
      output.raw("}\n")
      try output.flushIfLarge()
    }
    try output.flush()
  }
}
