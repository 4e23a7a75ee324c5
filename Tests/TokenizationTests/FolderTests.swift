import Foundation
import JSON
import System
import TestSupport
import Testing
import Tokenization

/// Folders of tokenizers, and the ids that transformers gives for texts in them: what make_goldens.py wrote.
@Suite struct FolderTests {
  /// A line of texts.jsonl.
  struct Row {
    var a: [UInt8]
    var b: [UInt8]?
    var length: Int?
  }

  /// How one folder fared.
  struct Outcome {
    var name: String
    var compared = 0
    var different: [String] = []
    /// Why the folder was refused.
    var refusal: String?
    /// Why transformers failed.
    var failure: String?
  }

  static let folders = (try? FileManager.default.contentsOfDirectory(atPath: goldens))?.filter { $0.hasSuffix(".ids") }
    .map { String($0.dropLast(4)) }.sorted()

  @Test func allFoldersAreThere() { #expect(Self.folders?.count == 38) }

  @Test(arguments: folders ?? [])
  func sameIDsAsTransformers(folder: String) throws {
    let outcome = try Self.compare(folder, in: goldens, rows: Self.rows(goldens))
    #expect(outcome.refusal == nil && outcome.failure == nil)
    #expect(outcome.compared == 200)
    #expect(outcome.different.isEmpty, "\(outcome.different.count): \(outcome.different.prefix(2))")
  }

  /// 38 folders of 2,000 texts, and 300 of random contents.
  @Test(.enabled(if: python != nil, "LOCKSTEP_PYTHON names no Python with transformers"))
  func sameIDsAsTransformersIsAskedNow() throws {
    let folder = try TemporaryFolder()
    let seed = Int.random(in: 0...1_000_000)
    print("make_goldens.py --texts 2000 --random 300 --seed \(seed)")
    let made = Process()
    made.executableURL = URL(fileURLWithPath: python!)
    made.arguments = [
      "\(testFolder)/make_goldens.py", "--out", "\(folder.path)/made", "--texts", "2000", "--random", "300", "--seed",
      "\(seed)",
    ]
    try made.run()
    made.waitUntilExit()
    try #require(made.terminationStatus == 0, "make_goldens.py failed: transformers 5 is needed")
    try Self.check("\(folder.path)/made")
  }

  /// The same with values that were made before.
  @Test(.enabled(if: ProcessInfo.processInfo.environment["LOCKSTEP_FOLDERS"] != nil, "LOCKSTEP_FOLDERS is not set"))
  func sameIDsAsTransformersInAFolder() throws {
    try Self.check(ProcessInfo.processInfo.environment["LOCKSTEP_FOLDERS"]!)
  }

  private static func check(_ path: String) throws {
    let rows = try rows(path)
    let names = try FileManager.default.contentsOfDirectory(atPath: path).filter { $0.hasSuffix(".ids") }.sorted()
    var refused: [Outcome] = []
    var compared = 0
    for name in names.map({ String($0.dropLast(4)) }) {
      let outcome = try compare(name, in: path, rows: rows)
      compared += outcome.compared
      #expect(outcome.different.isEmpty, "\(name): \(outcome.different.count): \(outcome.different.prefix(2))")
      if !name.hasPrefix("random") { #expect(outcome.refusal == nil && outcome.failure == nil, "\(name)") }
      if outcome.refusal != nil && outcome.failure == nil { refused.append(outcome) }
    }
    print("\(names.count) folders, \(compared) rows compared, \(refused.count) refused that transformers takes:")
    for outcome in refused { print("  \(outcome.name): \(outcome.refusal!)") }
    // Those that are refused are of a few kinds: tokens that no row can hold, and the like.
    #expect(refused.count * 10 <= names.count)
  }

  private static func rows(_ path: String) throws -> [Row] {
    try lines("\(path)/texts.jsonl").map { line in
      let parts = try line.elements()
      let b = parts.count > 1 && !parts[1].isNull ? parts[1] : nil
      return Row(a: try parts[0].utf8(), b: try b?.utf8(), length: parts.count > 2 ? try parts[2].int() : nil)
    }
  }

  private static func lines(_ path: String) throws -> [JSONNode] {
    try readBytes(path).split(separator: 0x0A).map { try JSONDocument(Array($0), path: path).root }
  }

  private static func compare(_ name: String, in path: String, rows: [Row]) throws -> Outcome {
    var outcome = Outcome(name: name)
    let expected = try lines("\(path)/\(name).ids")
    if let first = expected.first, first.kind == .string { outcome.failure = try first.string() }
    do throws(Failure) {
      let tokenizer = try BertTokenizer(folder: "\(path)/\(name)")
      if outcome.failure != nil { return outcome }
      for (row, line) in zip(rows, expected) {
        let values = try numbers(line)
        let encoding = try tokenizer.encode(row.a, row.b, maxLength: row.length)
        let types = stride(from: 0, to: values[1].count, by: 2).flatMap {
          repeatElement(values[1][$0], count: Int(values[1][$0 + 1]))
        }
        outcome.compared += 1
        if encoding.inputIDs != values[0] || encoding.tokenTypeIDs != types {
          outcome.different.append(
            "\(text(row.a)), \(row.b.map(text) ?? "-"), \(row.length ?? 0): \(encoding.inputIDs) "
              + "\(encoding.tokenTypeIDs), expected \(values[0]) \(values[1])")
        }
      }
    } catch {
      outcome.refusal = error.description
    }
    return outcome
  }

  private static func numbers(_ line: JSONNode) throws(Failure) -> [[Int32]] {
    var result: [[Int32]] = []
    for list in try line.elements() {
      var values: [Int32] = []
      for value in try list.elements() { values.append(Int32(try value.int(0...Int(Int32.max)))) }
      result.append(values)
    }
    return result
  }

  private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self).debugDescription }
}
