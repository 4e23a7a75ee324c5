import ArgumentParser
import Datasets
import System

/// The options that say where texts and labels stand in tables of the user's own.
public struct ColumnOptions: ParsableArguments {
  @Option(name: bothSpellings("text-column"), help: "The texts' column. (default: text1, sentence1, text or sentence)")
  public var textColumn: String?

  @Option(
    name: bothSpellings("text-pair-column"),
    help: "The second texts' column. (default: text2 or sentence2, unless --text-column is given)")
  public var textPairColumn: String?

  @Option(name: bothSpellings("label-column"), help: "The labels' column. (default: label)")
  public var labelColumn: String?

  @Option(
    name: bothSpellings("label-separator"),
    help: "The character between the classes of a TSV or CSV row that may have several.")
  public var labelSeparator: String?

  public init() {}

  /// The first of them that is given.
  public var given: String? {
    [
      ("--text-column", textColumn), ("--text-pair-column", textPairColumn), ("--label-column", labelColumn),
      ("--label-separator", labelSeparator),
    ].first { $0.1 != nil }?.0
  }

  /// Checks what can be checked before anything is read.
  public func check() throws(Failure) {
    guard let labelSeparator else { return }
    // A quote means something in CSV.
    guard let byte = labelSeparator.utf8.first, labelSeparator.utf8.count == 1, (0x21...0x7E).contains(byte),
      byte != 0x22
    else {
      throw Failure(
        .usage, at: "--label-separator", "\"\(labelSeparator)\", expected one ASCII character, such as | or ;")
    }
  }

  /// Names the columns of `tables`.
  public func name(columnsOf tables: inout OwnTables) {
    tables.textColumn = textColumn
    tables.textPairColumn = textPairColumn
    tables.labelColumn = labelColumn
    tables.labelSeparator = labelSeparator?.utf8.first
  }
}
