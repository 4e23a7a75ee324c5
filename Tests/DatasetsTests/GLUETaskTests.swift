import Datasets
import System
import TestSupport
import Testing

@Suite("GLUE's tasks") struct GLUETaskTests {
  /// A row of each task as GLUE's own files have it, what it is, and the same row as `datasets` exports it.
  static let rows: [(task: String, own: String, pair: SentencePair, exported: String)] = [
    (
      "cola", "gj04\t1\t\tThey \"rode\" it.\n", pair("They \"rode\" it.", nil, .category(1)),
      #"{"sentence": "They \"rode\" it.", "label": 1, "idx": 0}"#
    ),
    (
      "sst2", "sentence\tlabel\na charming journey \t1\n", pair("a charming journey ", nil, .category(1)),
      #"{"sentence": "a charming journey ", "label": 1}"#
    ),
    (
      "qqp", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\tWhy?\tHow?\t0\n",
      pair("Why?", "How?", .category(0)), #"{"question1": "Why?", "question2": "How?", "label": 0}"#
    ),
    (
      "stsb",
      "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
        + "0\tg\tf\ty\t1\tnone\tnone\tone\ttwo\t3.800\n",
      pair("one", "two", .score(3.8)), #"{"sentence1": "one", "sentence2": "two", "label": 3.8}"#
    ),
    (
      "mnli",
      "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
        + "sentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label\n"
        + "0\t1\t1n\tg\t(a)\t(b)\t(A)\t(B)\tone\ttwo\tneutral\tcontradiction\n",
      pair("one", "two", .category(2)), #"{"premise": "one", "hypothesis": "two", "label": 2}"#
    ),
    (
      "qnli", "index\tquestion\tsentence\tlabel\n0\tWhy?\tSo.\tnot_entailment\n", pair("Why?", "So.", .category(1)),
      #"{"question": "Why?", "sentence": "So.", "label": 1}"#
    ),
    (
      "rte", "index\tsentence1\tsentence2\tlabel\n0\tone\ttwo\tentailment\n", pair("one", "two", .category(0)),
      #"{"sentence1": "one", "sentence2": "two", "label": 0}"#
    ),
    (
      "wnli", "index\tsentence1\tsentence2\tlabel\n0\tone\ttwo\t1\n", pair("one", "two", .category(1)),
      #"{"sentence1": "one", "sentence2": "two", "label": 1}"#
    ),
  ]

  @Test("rows come out of GLUE's own files and of exports with the same label", arguments: rows.indices)
  func files(index: Int) throws {
    let row = Self.rows[index]
    let task = try GLUETask.named(row.task)
    #expect(Array(try task.parse(Array(row.own.utf8), path: "t.tsv")) == [row.pair])
    #expect(Array(try task.parseLines(Array(row.exported.utf8), path: "t.jsonl")) == [row.pair])
  }

  @Test("have the classes of load_dataset, in its order, and names for them")
  func labels() throws {
    #expect(
      GLUETask.all.map(\.name) == "cola sst2 mrpc qqp stsb mnli qnli rte wnli ax".split(separator: " ").map(String.init)
    )
    for task in GLUETask.all {
      #expect(task.labelCount == (task.name == "stsb" ? 1 : task.labelNames.count))
      #expect(!task.metrics.isEmpty && !task.officialRowCounts.isEmpty)
    }
    #expect(GLUETask.mnli.labelNames == ["entailment", "neutral", "contradiction"])
    #expect(GLUETask.wnli.labelNames == ["not_entailment", "entailment"])
    #expect(
      try ["SST-2", "sts-b", "CoLA", "MNLI"].map { try GLUETask.named($0).name } == ["sst2", "stsb", "cola", "mnli"])
    #expect(failure { () throws(Failure) in try GLUETask.named("squad") }?.status == .usage)
  }

  @Test("MNLI has two validation sets and two test sets, AX a test set only")
  func splits() throws {
    let folder = try TemporaryFolder()
    let header = "sentence1\tsentence2\tgold_label\n"
    for name in ["train", "dev_matched", "dev_mismatched"] {
      try folder.write(header + "\(name)\tb\tneutral\n", "\(name).tsv")
    }
    for (split, name) in [
      (Split.train, "train"), (.validation, "dev_matched"), (.validationMismatched, "dev_mismatched"),
    ] {
      let rows = try loadSplit(.mnli, folder: folder.path, split: split)
      #expect(Array(rows) == [pair(name, "b", .category(1))])
      #expect(GLUETask.mnli.isThere(split, in: folder.path))
    }
    #expect(!GLUETask.mnli.isThere(.testMismatched, in: folder.path))
    try folder.write("index\tsentence1\tsentence2\n0\ta\tb\n", "diagnostic.tsv")
    #expect(Array(try loadSplit(.ax, folder: folder.path, split: .test)) == [pair("a", "b", .unknown)])
    for (task, split) in [(GLUETask.ax, Split.train), (.rte, .validationMismatched)] {
      let failure = failure { () throws(Failure) in try loadSplit(task, folder: folder.path, split: split) }
      #expect(failure?.status == .usage && failure?.message.contains("no \(split.rawValue) split") == true)
    }
  }

  @Test("QQP's rows with too few cells are left out and counted, as datasets leaves them out; other tasks refuse them")
  func brokenRows() throws {
    let header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    let text = header + "1\t2\t3\ta\tb\t0\n4\t5\t6\tcut off\n\n and the rest\td\t1\n7\t8\t9\t\te\t1\n"
    let rows = try GLUETask.qqp.parse(Array(text.utf8), path: "t.tsv")
    #expect(Array(rows) == [pair("a", "b", .category(0)), pair("", "e", .category(1))])
    #expect(rows.rowsLeftOut == 2)
    let short = "index\tsentence1\tsentence2\tlabel\n0\tone\ttwo\n"
    let failure = failure { () throws(Failure) in try GLUETask.rte.parse(Array(short.utf8), path: "t.tsv") }
    #expect(failure?.place == "t.tsv:2:10" && failure?.message.contains("3 tab-separated fields, expected 4") == true)
  }

  @Test(
    "labels outside the task's are refused with what it expects",
    arguments: [
      ("cola", "gj04\t2\t\tx\n", "t.tsv:1:6", "0 or 1"),
      ("cola", "gj04\t1\tx\n", "t.tsv:1:1", "no column \"sentence\""),
      ("stsb", "sentence1\tsentence2\tscore\na\tb\t5.001\n", "t.tsv:2:5", "from 0.0 to 5.0"),
      ("mnli", "sentence1\tsentence2\tgold_label\na\tb\t-\n", "t.tsv:2:5", "entailment, neutral or contradiction"),
      ("rte", "sentence1\tsentence2\tlabel\na\tb\t2\n", "t.tsv:2:5", "entailment or not_entailment"),
      ("qnli", "index\tquestion\tlabel\n0\ta\tentailment\n", "t.tsv:1:1", "no column \"sentence\""),
    ])
  func faults(name: String, text: String, place: String, message: String) throws {
    let task = try GLUETask.named(name)
    let failure = failure { () throws(Failure) in try task.parse(Array(text.utf8), path: "t.tsv") }
    #expect(failure?.status == .badData && failure?.place == place, "\(failure?.description ?? "nothing thrown")")
    #expect(failure?.message.contains(message) == true, "\(failure?.message ?? "nothing thrown")")
  }

  @Test(
    "the real tables are read, every row of them", .needs(.reference),
    arguments: [("cola", "CoLA"), ("sst2", "SST-2"), ("mrpc", "MRPC"), ("stsb", "STS-B"), ("rte", "RTE")])
  func realTables(name: String, folder: String) throws {
    let task = try GLUETask.named(name)
    for split in [Split.train, .validation, .test] {
      let rows = try loadSplit(task, folder: Golden.inReference("data/glue/\(folder)"), split: split)
      #expect(rows.count == task.officialRowCounts[split], "\(name), \(split)")
      #expect(rows.rowsLeftOut == 0)
      if split != .test { #expect(rows.allSatisfy { $0.label != .unknown }) }
    }
  }
}
