import Datasets
import System
import TestSupport
import Testing

@Suite struct LoadSplitTests {
  static let header = ParsingTests.header
  static let original = "1\t1\t2\ta\tb\n0\t3\t4\tc\td\n1\t5\t6\te\tf\n0\t3\t6\tg\th\n"

  @Test func gluesFiles() throws {
    let folder = try TemporaryFolder()
    try folder.write(Self.header + "1\t1\t2\ta\tb\n", "train.tsv")
    try folder.write(Self.header + "0\t3\t4\tc\td\n", "dev.tsv")
    try folder.write(ParsingTests.unlabelledHeader + "0\t5\t6\te\tf\n", "test.tsv")
    #expect(try load(folder, .train) == [pair("a", "b", .category(1))])
    #expect(try load(folder, .validation) == [pair("c", "d", .category(0))])
    #expect(try load(folder, .test) == [pair("e", "f", .unknown)])
  }

  @Test func theOriginalFiles() throws {
    let folder = try TemporaryFolder()
    try folder.write("\u{FEFF}" + Self.header + Self.original, "msr_paraphrase_train.txt")
    try folder.write(Self.header + "1\t7\t8\ti\tj\n", "msr_paraphrase_test.txt")
    try folder.write("5\t6\n3\t4\n", "dev_ids.tsv")
    #expect(try load(folder, .train) == [pair("a", "b", .category(1)), pair("g", "h", .category(0))])
    #expect(try load(folder, .validation) == [pair("c", "d", .category(0)), pair("e", "f", .category(1))])
    #expect(try load(folder, .test) == [pair("i", "j", .category(1))])
  }

  @Test(arguments: [
    ("3\t9\n", ":1:1", "3, 9"), ("3\t4\n5\t6\n3\t4\n", ":3:1", "line 1 already"), ("3\t4\t5\n", ":1:1", "expected 2"),
    ("3\t4\n5\n", ":2:2", "expected 2"), ("", "", "empty"),
  ])
  func badHeldOutIDs(text: String, place: String, message: String) throws {
    let folder = try TemporaryFolder()
    try folder.write(Self.header + Self.original, "msr_paraphrase_train.txt")
    try folder.write(text, "dev_ids.tsv")
    let failure = failure { () throws(Failure) in try loadSplit(.mrpc, folder: folder.path, split: .train) }
    #expect(failure?.status == .badData)
    #expect(failure?.place == "\(folder.path)/dev_ids.tsv\(place)")
    #expect(failure?.message.contains(message) == true, "\(failure?.message ?? "nothing thrown")")
  }

  @Test func missingFiles() throws {
    let folder = try TemporaryFolder()
    for (split, name) in [(Split.train, "train.tsv"), (.validation, "dev.tsv"), (.test, "test.tsv")] {
      let failure = failure { () throws(Failure) in try loadSplit(.mrpc, folder: folder.path, split: split) }
      #expect(failure?.status == .missingInput)
      #expect(failure?.place == "\(folder.path)/\(name)")
    }
    try folder.write(Self.header + Self.original, "msr_paraphrase_train.txt")
    let ids = failure { () throws(Failure) in try loadSplit(.mrpc, folder: folder.path, split: .train) }
    #expect(ids?.status == .missingInput && ids?.place == "\(folder.path)/dev_ids.tsv")
    let nowhere = failure { () throws(Failure) in try loadSplit(.mrpc, folder: "/nowhere", split: .train) }
    #expect(nowhere?.status == .missingInput && nowhere?.place == "/nowhere")
  }

  @Test func testTableGivenForTraining() throws {
    let folder = try TemporaryFolder()
    try folder.write(ParsingTests.unlabelledHeader + "0\t5\t6\te\tf\n", "train.tsv")
    let failure = failure { () throws(Failure) in try loadSplit(.mrpc, folder: folder.path, split: .train) }
    #expect(failure?.status == .badData && failure?.hint?.contains("test.tsv") == true)
  }

  @Test(arguments: ["dev.tsv", "validation.tsv", "dev.jsonl", "validation.jsonl"])
  func filesOfExports(validation: String) throws {
    let folder = try TemporaryFolder()
    let lines = "{\"text1\": \"a\", \"text2\": \"b\", \"label\": 1, \"idx\": 0, \"label_text\": \"equivalent\"}\n"
    try folder.write(lines, "train.jsonl")
    try folder.write(validation.hasSuffix("l") ? lines : "text1\ttext2\tlabel\na\tb\t1\n", validation)
    try folder.write(lines.replacing(": 1,", with: ": -1,"), "test.jsonl")
    #expect(try load(folder, .train) == [pair("a", "b", .category(1))])
    #expect(try load(folder, .validation) == [pair("a", "b", .category(1))])
    #expect(try load(folder, .test) == [pair("a", "b", .unknown)])
  }

  @Test func twoFilesForOneSplit() throws {
    let folder = try TemporaryFolder()
    try folder.write(Self.header + "1\t1\t2\ta\tb\n", "train.tsv")
    try folder.write("{\"text1\": \"a\", \"text2\": \"b\", \"label\": 1}\n", "train.jsonl")
    let failure = failure { () throws(Failure) in try loadSplit(.mrpc, folder: folder.path, split: .train) }
    #expect(failure?.status == .badData && failure?.place == folder.path)
    #expect(failure?.message == "has train.tsv and train.jsonl, expected one file for the train split")
  }

  @Test func unknownTask() {
    #expect(failure { () throws(Failure) in try GLUETask.named("mrpc") } == nil)
    #expect(failure { () throws(Failure) in try GLUETask.named("mrcp") }?.status == .usage)
  }

  @Test(.needs(.reference))
  func theOriginalFilesGiveGLUEsRows() throws {
    let folder = try Golden.inReference("data/glue/MRPC")
    let originals = try TemporaryFolder()
    for name in ["msr_paraphrase_train.txt", "msr_paraphrase_test.txt", "dev_ids.tsv"] {
      try writeAtomically(readBytes("\(folder)/\(name)"), to: "\(originals.path)/\(name)")
    }
    for split in [Split.train, .validation] {
      let rows = Array(try loadSplit(.mrpc, folder: folder, split: split))
      #expect(rows.count == GLUETask.mrpc.officialRowCounts[split])
      #expect(Array(try loadSplit(.mrpc, folder: originals.path, split: split)) == rows)
    }
    let unlabelled = try GLUETask.mrpc.parse(
      readBytes("\(folder)/test.tsv"), path: "test.tsv", requiresLabels: false)
    let test = try loadSplit(.mrpc, folder: originals.path, split: .test)
    #expect(test.count == 1725 && unlabelled.count == 1725)
    #expect(zip(test, unlabelled).allSatisfy { $0.first == $1.first && $0.second == $1.second && $1.label == .unknown })
    #expect(test.count { $0.label == .category(1) } == 1147)
  }

  private func load(_ folder: TemporaryFolder, _ split: Split) throws -> [SentencePair] {
    Array(try loadSplit(.mrpc, folder: folder.path, split: split))
  }
}
