import System
import TestSupport
import Testing

/// docs/reliability.md says which test shows each promise; a page that names a test that is not there is worth nothing.
@Suite struct ReliabilityPageTests {
  /// `File.swift: what the test says` between backticks.
  static var references: Regex<(Substring, file: Substring, name: Substring)> {
    /`(?<file>[A-Za-z]+\.swift): (?<name>[^`]+)`/
  }

  @Test("every test that docs/reliability.md names is there, in the file that it names") func testsAreThere() throws {
    let page = String(decoding: try readBytes("\(packageFolder)/docs/reliability.md"), as: UTF8.self)
    var sources: [String: String] = [:]
    for folder in names(in: "\(packageFolder)/Tests") {
      for file in names(in: "\(packageFolder)/Tests/\(folder)") where file.hasSuffix(".swift") {
        let text = try readBytes("\(packageFolder)/Tests/\(folder)/\(file)")
        sources[file, default: ""] += String(decoding: text, as: UTF8.self)
      }
    }
    let found = page.matches(of: Self.references)
    #expect(found.count > 80)
    for reference in found {
      let (file, name) = (String(reference.output.file), String(reference.output.name))
      let source = sources[file] ?? ""
      #expect(
        source.contains("\"\(name)\"") || source.contains("func \(name)("), "\(file) has no test called \(name)")
    }
  }

  @Test("each row of docs/reliability.md names a test, or says what is missing") func rowsAreComplete() throws {
    let page = String(decoding: try readBytes("\(packageFolder)/docs/reliability.md"), as: UTF8.self)
    let rows = page.split(separator: "\n").filter { $0.hasPrefix("| ") && !$0.hasPrefix("| Fault") }
    #expect(rows.count > 50)
    for row in rows { #expect(row.contains(Self.references) || row.contains("Missing:"), "\(row)") }
  }
}
