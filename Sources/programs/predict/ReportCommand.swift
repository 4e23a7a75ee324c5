import ArgumentParser
import ProgramSupport
import RunReport
import System

/// The options of `report`.
struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Compares runs: their figures, curves and what was different, on one page.",
    discussion: "Each run's own page is report.html in its folder.")

  @Argument(help: ArgumentHelp("Folders that finetune --output-dir has written.", valueName: "run"))
  var runs: [String]

  @Option(help: ArgumentHelp("Where to write the page.", valueName: "file"))
  var output = "comparison.html"

  /// Writes the page. One process does it; no rank talks to others.
  func write() throws(Failure) {
    guard runs.count > 1 else {
      throw Failure(
        .usage, at: "report", "one run given, expected two or more",
        hint: "the page of one run is \(runs.first ?? "RUN")/report.html")
    }
    let found = try runs.map { (path) throws(Failure) in try RunSummary(folder: path) }
    let start = Array("<!DOCTYPE html>".utf8)
    try ReportFile.check(output, option: "--output", notIn: runs.map { ("RUN", $0) }) { path in
      (try? readStart(path, limitBytes: start.count)).map { $0.elementsEqual(start) } ?? false
    }
    try writeAtomically(ComparisonPage.html(found), to: output)
    try writeToStandardOutput(Array("\(output)\n".escapingControlCharacters(except: ["\n"]).utf8))
  }
}
