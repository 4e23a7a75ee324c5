import Datasets
import Inference
import JSON
import System
import TestSupport

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

extension Reader {
  private static let glueTable = """
    Quality\t#1 ID\t#2 ID\t#1 String\t#2 String
    1\t702876\t702977\tAmrozi accused his brother , whom he called " the witness " .\tReferring to him as only " the witness "
    0\t2108705\t2108831\tIt had been owned since 1996 .\tIt bought the chain for $ 693 million in 1995 .

    """

  private static let exportedTable = """
    sentence1\tsentence2\tlabel\tidx
    the harbour watches a kettle\ta kettle is watched\t1\t0
    été 東京 ,\tnaïve café\t0\t1
    third\trow\t-1\t2

    """

  private static let lines = """
    {"text1": "Tobin watches a kettle .", "text2": "the rusty lantern", "label": 0, "idx": 0, "label_text": "not equivalent"}
    {"text1": "the \\"brisk\\" gl\\u00e4cier", "text2": "its\\tharbour \\ud83d\\ude00", "label": 1, "idx": 1, "label_text": "equivalent"}

    """

  private static let original = """
    Quality\t#1 ID\t#2 ID\t#1 String\t#2 String
    1\t1\t2\ta\tb
    0\t3\t4\tc\td
    1\t5\t6\te\tf

    """

  /// Tables of sentences, and JSON itself.
  static var tables: [Reader] {
    [
      Reader(
        "tsv", samples: [bytes(glueTable), bytes(exportedTable)],
        words: [
          "\t\t", "\t1\t", "-1", "Quality", "#1 String", "sentence1", "label", "index", "\r\n", "\n\n", "1.0", "\"\"",
        ],
        memoryMultiple: 12, program: .data("train.tsv")
      ) { input, _ in
        for requiresLabels in [true, false] {
          try walk(GLUETask.mrpc.parse(input, path: "t", requiresLabels: requiresLabels))
        }
      },
      Reader(
        "jsonl", samples: [bytes(lines)],
        words: ["\"label\": -1", "\"text1\":", "\"sentence2\":", "}\n{", "\"label\":null"],
        memoryMultiple: 24, program: .data("train.jsonl")
      ) { input, _ in
        for requiresLabels in [true, false] {
          try walk(GLUETask.mrpc.parseLines(input, path: "t", requiresLabels: requiresLabels))
        }
      },
      Reader(
        "csv",
        samples: [
          bytes("label,text\r\nyes,\"one, \"\"two\"\"\r\nthree\"\r\nno,four\r\n"),
          bytes("text1,text2,label\n\"a\",b,1\nc,d,2.5\n"),
        ],
        words: ["\"", "\"\"", ",", "\r\n", "\n\n", "label", "text2", "1e5", "-1"], memoryMultiple: 40
      ) { input, workspace in try walk(own(input, "rows.csv", workspace)) },
      Reader(
        "own-jsonl",
        samples: [
          bytes("{\"text\": \"a\", \"label\": [\"x\", \"y\"]}\n{\"text\": \"b\", \"label\": []}\n"),
          bytes("{\"text\": \"a\", \"label\": true}\n{\"text\": \"b\", \"label\": false}\n"),
        ], words: ["[]", "null", "1.5", "\"label\":", "\"text2\":", "{}"], memoryMultiple: 64
      ) { input, workspace in try walk(own(input, "rows.jsonl", workspace)) },
      Reader(
        "questions",
        samples: [
          bytes(
            "{\"id\": 1.50, \"text\": \"a\\u00e9\", \"text_pair\": null, \"deep\": {\"x\": [1]}}\n\n{\"text\":\"b\"}\r\n"
          ),
          bytes("id\tsentence1\tsentence2\n7\ta \"b\"\tc\n\n8\td\te\n"), bytes("one\ttwo\nthree\tfour\n"),
        ],
        words: [
          "\"text\":", "\"text_pair\":", "\"error\":", "\n\n", "\r\n", "\ttext\t", "sentence1", "}\n{", "\\u0000",
        ],
        memoryMultiple: 64
      ) { input, _ in
        var accepted = 0
        accepted += try answered(input, JSONQuestions(path: "t"))
        accepted += try answered(input, TableQuestions(path: "t"))
        if accepted == 0 { throw Failure(.badData, "no question") }
      },
      Reader(
        "dev-ids", samples: [bytes("1\t2\n5\t6\n"), bytes("3\t4\r\n")], words: ["\t", "1\t2\n", "5\t6"],
        memoryMultiple: 32,
        program: .data(
          "dev_ids.tsv",
          others: [("msr_paraphrase_train.txt", bytes(original)), ("msr_paraphrase_test.txt", bytes(original))])
      ) { input, workspace in
        let folder = try workspace.folder(
          "data", files: [("msr_paraphrase_train.txt", bytes(original))], changed: ("dev_ids.tsv", input))
        try walk(loadSplit(.mrpc, folder: folder, split: .validation))
      },
      Reader(
        "json",
        samples: [
          bytes("{\"a\": [1, -2.5e3, true, null], \"b\": {\"c\": \"\\u00e9\\ud83d\\ude00 é\", \"\": []}}\n"),
          bytes("[0]"),
        ], words: ["\"a\":", "e+", "E-", "0.", ".5", "\\u", "\\x", "tru", "nul", "[[", "]]"], memoryMultiple: 64
      ) { input, _ in
        let document = try JSONDocument(input, path: "t")
        var refusals = 0
        try walk(document.root, &refusals)
        // What is written again is what was read.
        let again = try JSONDocument(JSONText.node(document.root).bytes, path: "again")
        guard JSONText.node(again.root).bytes == JSONText.node(document.root).bytes else {
          throw Wrong("written otherwise")
        }
      },
    ]
  }

  /// Reads all lines, answers each, and makes sure that every answer is one line of JSON. Returns the questions that can be
  /// asked.
  private static func answered(_ input: [UInt8], _ reader: some QuestionReader) throws -> Int {
    var (reader, splitter, accepted) = (reader, LineSplitter(limitBytes: 1 << 12), 0)
    let writer = AnswerWriter(ModelLabels(.singleLabel, names: ["a", "b"]))
    func take(_ lines: [LineSplitter.Line]) throws {
      for line in lines {
        // A header that is wrong ends the table.
        guard let question = try? reader.question(line) else { continue }
        if question.problem == nil, question.text.isEmpty { throw Wrong("an empty text") }
        let answer = question.problem == nil ? Answer(logits: [0, 1], .singleLabel) : nil
        let written = writer.line(question, answer)
        guard written.count(where: { $0 == 0x0A }) == 1 else { throw Wrong("an answer of several lines") }
        let root = try JSONDocument(written, path: "answer").root
        guard try (root.member("error") == nil) == (answer != nil) else { throw Wrong("an answer without its end") }
        accepted += answer == nil ? 0 : 1
      }
    }
    // Lines are answered as they come, as the program does it, and not kept.
    for start in stride(from: 0, to: input.count, by: 61) {
      try take(splitter.add(input[start..<min(start + 61, input.count)]))
    }
    if let last = splitter.end() { try take([last]) }
    return accepted
  }

  private static func own(_ input: [UInt8], _ name: String, _ workspace: Workspace) throws -> SentencePairs {
    let path = "\(try workspace.folder("data", files: [], changed: (name, input)))/\(name)"
    let tables = try OwnTables(train: path, validation: path, test: path).load()
    for pair in tables.test ?? tables.train {
      if case .category(let index) = pair.label, index >= tables.labels.outputs { throw Wrong("class \(index)") }
    }
    return tables.train
  }

  private static func walk(_ pairs: SentencePairs) throws {
    for pair in pairs where pair.first.isEmpty { throw Wrong("an empty sentence") }
  }

  /// Reads all of a tree. Each number that is refused is looked for in the text, so there is an end to it: readers stop at
  /// the first.
  private static func walk(_ node: JSONNode, _ refusals: inout Int) throws {
    switch node.kind {
    case .array: for element in try node.elements() { try walk(element, &refusals) }
    case .object: for member in try node.members() { try walk(member.value, &refusals) }
    case .string: _ = try node.string()
    case .number:
      guard refusals < 100 else { break }
      if (try? node.double()) == nil { refusals += 1 }
      if (try? node.int()) == nil { refusals += 1 }
    case .bool: _ = try node.bool()
    case .null: break
    }
  }
}

/// What a reader gave is not what the input says.
struct Wrong: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}
