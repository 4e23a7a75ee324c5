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

  @OptionGroup var columns: ColumnOptions

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
      ("--label-names", labelNames != nil), ("--problem-type", problemType != nil),
      ("--predictions", predictions != nil),
    ]
    guard trainFile != nil else {
      if let option = others.first(where: \.isGiven)?.option ?? columns.given {
        throw Failure(.usage, at: option, "needs --train-file", hint: "both are for tables of your own")
      }
      return
    }
    guard validationFile != nil else { throw Failure(.usage, at: "--train-file", "needs --validation-file") }
    guard predictions == nil || testFile != nil else { throw Failure(.usage, at: "--predictions", "needs --test-file") }
    try columns.check()
    for (option, file) in files {
      if let file { try namingOption(option) { () throws(Failure) in _ = try TableFormat(ofFile: file) } }
    }
  }

  /// The tables, where they are given.
  var tables: OwnTables? {
    guard let trainFile, let validationFile else { return nil }
    var tables = OwnTables(train: trainFile, validation: validationFile, test: testFile)
    columns.name(columnsOf: &tables)
    tables.labelNames = labelNames.map { $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init) }
    tables.problem = problemType
    return tables
  }

  /// Adds the option to an error about its value.
  private func namingOption(_ option: String, _ body: () throws(Failure) -> Void) throws(Failure) {
    do throws(Failure) { try body() } catch {
      throw Failure(error.status, at: option, "\(error.place.map { "\($0) is " } ?? "")\(error.message)")
    }
  }
}
