import ArgumentParser
import Datasets
import Inference
import ProgramSupport
import System

/// The options of `predict`.
struct PredictCommand: ParsableCommand {
  /// How lines of standard input are read.
  enum Format: String, ExpressibleByArgument, CaseIterable { case jsonl, tsv }

  static let configuration = CommandConfiguration(
    commandName: "predict",
    abstract: "Asks a trained model: a text, lines of standard input, or a table.",
    discussion: """
      Without --text, --test-file and --task it reads standard input, a row a line, and answers each with a line as soon \
      as it has come: {"text": …, "text_pair": …} gives the same object with "label", "score" and "probabilities".
      """)

  @Option(
    name: bothSpellings("model", "model-name-or-path"),
    help: ArgumentHelp("The folder of a trained model.", valueName: "dir"))
  var model: String

  @Option(parsing: .unconditional, help: "A text; it may begin with a dash.")
  var text: String?

  @Option(name: bothSpellings("text-pair"), parsing: .unconditional, help: "The second text of a pair.")
  var textPair: String?

  @Flag(help: "Answer --text with a JSON line, too.")
  var json = false

  @Option(help: "What standard input holds: JSON lines, or tab-separated columns.")
  var format: Format?

  @Option(
    name: bothSpellings("test-file"),
    help: ArgumentHelp("Rows of a table: .tsv with a header, .csv or .jsonl.", valueName: "file"))
  var testFile: String?

  @Option(
    name: bothSpellings("text-column"), help: "The texts' column or key. (default: text, text1, sentence1 or sentence)")
  var textColumn: String?

  @Option(
    name: bothSpellings("text-pair-column"),
    help: "The second texts' column or key. (default: text_pair, text2 or sentence2, unless --text-column is given)")
  var textPairColumn: String?

  @OptionGroup var rows: TaskOptions

  @Flag(help: "Write the file that GLUE's server takes for the task's test rows: MRPC.tsv, say.")
  var test = false

  @Option(
    name: bothSpellings("output-dir"),
    help: ArgumentHelp("The folder of --test's file. (default: the present one)", valueName: "dir"))
  var outputDir: String?

  @OptionGroup var options: ModelOptions

  /// Checks what can be checked before anything is read.
  func check() throws(Failure) {
    try options.check()
    let sources = [("--text", text), ("--test-file", testFile), ("--task", rows.task)].filter { $0.1 != nil }
    if sources.count > 1 {
      throw Failure(.usage, at: sources[1].0, "is given with \(sources[0].0), expected one of them")
    }
    let needs: [(option: String, isGiven: Bool, other: String, isThere: Bool)] = [
      ("--text-pair", textPair != nil, "--text", text != nil), ("--json", json, "--text", text != nil),
      ("--task", rows.task != nil, "--data", rows.data != nil),
      ("--data", rows.data != nil, "--task", rows.task != nil),
      ("--split", rows.split != nil, "--task", rows.task != nil), ("--test", test, "--task", rows.task != nil),
      ("--output-dir", outputDir != nil, "--test", test),
    ]
    for need in needs where need.isGiven && !need.isThere {
      throw Failure(.usage, at: need.option, "needs \(need.other)")
    }
    if test && rows.split != nil { throw Failure(.usage, at: "--test", "is given with --split, expected one of them") }
    if format != nil, let source = sources.first {
      throw Failure(.usage, at: "--format", "is for standard input, and \(source.0) is given")
    }
    let isTask = rows.task != nil || text != nil
    for (option, value) in [("--text-column", textColumn), ("--text-pair-column", textPairColumn)]
    where value != nil && isTask {
      throw Failure(.usage, at: option, "is for rows of your own, and \(sources.first?.0 ?? "") is given")
    }
    if let text, !text.utf8.contains(where: { $0 > 0x20 }) {
      throw Failure(.usage, at: "--text", "is blank, expected a text")
    }
    if let testFile { _ = try TableFormat(ofFile: testFile) }
  }

  var columns: TextColumns { TextColumns(text: textColumn, textPair: textPairColumn) }
}
