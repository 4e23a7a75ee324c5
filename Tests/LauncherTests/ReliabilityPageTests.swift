import System
import TestSupport
import Testing

/// docs/reliability.md says which test shows each promise; a page that names a test that is not there is worth nothing.
@Suite struct ReliabilityPageTests {
  /// `File.swift: what the test says` between backticks.
  static var references: Regex<(Substring, file: Substring, name: Substring)> {
    /`(?<file>[A-Za-z]+\.swift): (?<name>[^`]+)`/
  }

  private func page() throws -> String {
    String(decoding: try readBytes("\(packageFolder)/docs/reliability.md"), as: UTF8.self)
  }

  @Test("every test that docs/reliability.md names is there, in the file that it names") func testsAreThere() throws {
    var sources: [String: String] = [:]
    for folder in names(in: "\(packageFolder)/Tests") {
      for file in names(in: "\(packageFolder)/Tests/\(folder)") where file.hasSuffix(".swift") {
        let text = try readBytes("\(packageFolder)/Tests/\(folder)/\(file)")
        sources[file, default: ""] += String(decoding: text, as: UTF8.self)
      }
    }
    let found = try page().matches(of: Self.references)
    #expect(found.count > 200)
    for reference in found {
      let (file, name) = (String(reference.output.file), String(reference.output.name))
      let source = sources[file] ?? ""
      #expect(
        source.contains("\"\(name)\"") || source.contains("func \(name)("), "\(file) has no test called \(name)")
    }
  }

  @Test("each row of docs/reliability.md names a test or says why there is none, and has a result")
  func rowsAreComplete() throws {
    let rows = try page().split(separator: "\n").filter { $0.hasPrefix("| ") && !$0.hasPrefix("| Fault") }
    #expect(rows.count > 80)
    for row in rows {
      #expect(row.contains(Self.references) || row.contains("Missing:") || row.contains("No test:"), "\(row)")
      let cells = row.split(separator: #/ \| /#)
      #expect(cells.count == 4, "\(row)")
      let result = cells.last ?? ""
      #expect(
        ["passed", "skipped", "failed", "no test", "not run", "without a result"].contains { result.contains($0) },
        "\(row)")
    }
  }

  /// Runs `tools/reliability` on a page of one row.
  private func generate(
    _ results: [String], _ tests: [String]
  ) throws -> (run: RunResult, page: [String]) {
    let folder = try TemporaryFolder()
    let table = try folder.write(results.map { $0 + "\n" }.joined(), "results.tsv")
    let shown = tests.map { "`\($0)`" }.joined(separator: ", ")
    let page = try folder.write(
      "# Page\n\nResults of no run.\n\n| Fault | Promise | Shown by | Result |\n|---|---|---|---|\n"
        + "| a fault | 75 | \(shown) | not run |\n", "page.md")
    let outcome = try run("\(packageFolder)/tools/reliability", [table, page])
    let lines = String(decoding: try readBytes(page), as: UTF8.self).split(separator: "\n").map(String.init)
    return (outcome, lines)
  }

  @Test("tools/reliability writes how the tests of a row came out, and why one was skipped") func results() throws {
    let results = [
      "passed\tA.swift\tone\t\tabc", "passed\tA.swift\tother, with \"quotes\"\t\tabc",
      "skipped\tB.swift\tfar\tno ip, or no right | to use it\tabc", "failed\tB.swift\tbad\t\tabc",
    ]
    let cases = [
      (["A.swift: one", "A.swift: other, with \"quotes\""], "passed", "2 passed, 0 failed and 0 were skipped"),
      (
        ["A.swift: one", "B.swift: far"], #"1 of 2 passed, skipped: no ip, or no right \| to use it"#,
        "1 passed, 0 failed and 1 were skipped"
      ),
      (["B.swift: bad", "A.swift: one"], "1 of 2 passed, **failed:** B.swift: bad", "1 passed, 1 failed and"),
    ]
    for (tests, result, stamp) in cases {
      let (outcome, page) = try generate(results, tests)
      #expect(outcome.status == 0, "\(outcome.stderr)")
      #expect(page.last?.hasSuffix(" | \(result) |") == true, "\(page)")
      #expect(page.contains { $0.hasPrefix("Results of commit abc: ") && $0.contains(stamp) }, "\(page)")
      // What it writes, it reads.
      #expect(page.last?.hasPrefix("| a fault | 75 | `") == true)
    }
  }

  @Test("tools/reliability ends with 65 where a test of the page has no result, and names it") func noResult() throws {
    let (outcome, page) = try generate(["passed\tA.swift\tone\t\tabc"], ["A.swift: one", "A.swift: gone"])
    #expect(outcome.status == 65 && outcome.stderr.contains("no result of A.swift: gone"), "\(outcome.stderr)")
    #expect(page.last?.hasSuffix(" | 1 of 2 passed, 1 without a result |") == true, "\(page)")
    #expect(try run("\(packageFolder)/tools/reliability", ["/nonexistent/results"]).status == 66)
  }
}
