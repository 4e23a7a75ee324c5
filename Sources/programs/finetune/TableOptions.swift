import ArgumentParser
import Datasets
import ProgramSupport
import System

/// The options that name tables of the user's own.
struct TableOptions: ParsableArguments {
  @Option(
    name: bothSpellings("train-file"),
    help: ArgumentHelp("Training rows of your own: .tsv, .csv (RFC 4180) or .jsonl.", valueName: "file"))
  var trainFile: String?

  @Option(
    name: bothSpellings("validation-file"),
    help: ArgumentHelp("Validation rows of your own.", valueName: "file"))
  var validationFile: String?

  @Option(
    name: bothSpellings("test-file"),
    help: ArgumentHelp(
      "Test rows of your own, evaluated at the end. Without labels they need --predictions.", valueName: "file"))
  var testFile: String?

  @Option(
    name: bothSpellings("text-column"), help: "The sentences' column. (default: text1, sentence1, text or sentence)")
  var textColumn: String?

  @Option(
    name: bothSpellings("text-pair-column"),
    help: "The second sentences' column. (default: text2 or sentence2, unless --text-column is given)")
  var textPairColumn: String?

  @Option(name: bothSpellings("label-column"), help: "The labels' column. (default: label)")
  var labelColumn: String?

  @Option(
    name: bothSpellings("label-names"),
    help: ArgumentHelp(
      "The classes in order, with commas between them. (default: those of the training rows, sorted)",
      valueName: "names"))
  var labelNames: String?

  @Option(
    name: bothSpellings("problem-type"),
    help: "\(ProblemType.allCases.map(\.rawValue).joined(separator: ", ")). (default: what the labels look like)")
  var problemType: ProblemType?

  @Option(
    name: bothSpellings("label-separator"),
    help: "The character between the classes of a TSV or CSV row that may have several.")
  var labelSeparator: String?

  @Option(
    help: ArgumentHelp("Where to write what the model predicts for --test-file, as TSV.", valueName: "file"))
  var predictions: String?

  /// The files, with their options.
  var files: [(option: String, path: String?)] {
    [("--train-file", trainFile), ("--validation-file", validationFile), ("--test-file", testFile)]
  }

  /// Checks what can be checked before anything is read.
  func check() throws(Failure) {
    let others: [(option: String, isGiven: Bool)] = [
      ("--validation-file", validationFile != nil), ("--test-file", testFile != nil),
      ("--text-column", textColumn != nil), ("--text-pair-column", textPairColumn != nil),
      ("--label-column", labelColumn != nil), ("--label-names", labelNames != nil),
      ("--problem-type", problemType != nil), ("--label-separator", labelSeparator != nil),
      ("--predictions", predictions != nil),
    ]
    guard trainFile != nil else {
      if let other = others.first(where: \.isGiven) {
        throw Failure(.usage, at: other.option, "needs --train-file", hint: "both are for tables of your own")
      }
      return
    }
    guard validationFile != nil else { throw Failure(.usage, at: "--train-file", "needs --validation-file") }
    guard predictions == nil || testFile != nil else { throw Failure(.usage, at: "--predictions", "needs --test-file") }
    if let labelSeparator {
      guard let byte = labelSeparator.utf8.first, labelSeparator.utf8.count == 1, (0x21...0x7E).contains(byte),
        byte != 0x22
      else {
        throw Failure(
          .usage, at: "--label-separator", "\"\(labelSeparator)\", expected one ASCII character, such as | or ;")
      }
    }
    for (option, file) in files {
      if let file { try namingOption(option) { () throws(Failure) in _ = try TableFormat(ofFile: file) } }
    }
  }

  /// The tables, where they are given.
  var tables: OwnTables? {
    guard let trainFile, let validationFile else { return nil }
    var tables = OwnTables(train: trainFile, validation: validationFile, test: testFile)
    tables.textColumn = textColumn
    tables.textPairColumn = textPairColumn
    tables.labelColumn = labelColumn
    tables.labelNames = labelNames.map { $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init) }
    tables.problem = problemType
    tables.labelSeparator = labelSeparator?.utf8.first
    return tables
  }

  /// Adds the option to an error about its value.
  private func namingOption(_ option: String, _ body: () throws(Failure) -> Void) throws(Failure) {
    do throws(Failure) { try body() } catch {
      throw Failure(error.status, at: option, "\(error.place.map { "\($0) is " } ?? "")\(error.message)")
    }
  }
}
