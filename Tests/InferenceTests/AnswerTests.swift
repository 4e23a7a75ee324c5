import Datasets
import Inference
import JSON
import TestSupport
import Testing
import Training

struct AnswerTests {
  private let question = Question(members: Array(#""id":7"#.utf8), text: [0x61])

  private func line(_ labels: ModelLabels, _ logits: [Float]) -> String {
    String(
      decoding: AnswerWriter(labels).line(question, Answer(logits: logits, labels.problem)), as: UTF8.self)
  }

  @Test("an answer has the input's keys, then the label, its probability and all of them in the order of the classes")
  func classes() throws {
    let labels = ModelLabels(.singleLabel, names: ["no", "y\"es", "maybe"])
    let found = line(labels, [0, 3, 1])
    let document = try JSONDocument(Array(found.utf8), path: "answer")
    #expect(
      try document.root.members().map { String(decoding: $0.key, as: UTF8.self) } == [
        "id", "label", "score", "probabilities",
      ])
    #expect(try document.root.member("label")?.string() == "y\"es")
    let values = try (document.root.member("probabilities")?.elements() ?? []).map { try $0.double() }
    // exp(x) / Σ exp: of 1 + e³ + e.
    let expected = [0.042010065, 0.843794734, 0.114195199]
    #expect(values.count == 3 && zip(values, expected).allSatisfy { abs($0 - $1) < 1e-7 }, "\(values)")
    #expect(try document.root.member("score")?.double() == values[at: 1])
  }

  @Test("sets of classes have those above a half, and none is an empty list")
  func sets() {
    let labels = ModelLabels(.multiLabel, names: ["a", "b"])
    #expect(line(labels, [0, 0]) == "{\"id\":7,\"label\":[],\"score\":[],\"probabilities\":[0.5,0.5]}\n")
    #expect(line(labels, [100, 0]) == "{\"id\":7,\"label\":[\"a\"],\"score\":[1.0],\"probabilities\":[1.0,0.5]}\n")
  }

  @Test("a regression has its score only, and a row without answer its reason")
  func others() {
    #expect(line(ModelLabels(.regression, names: []), [2.5]) == "{\"id\":7,\"score\":2.5}\n")
    var broken = question
    broken.problem = "a \"reason\""
    let writer = AnswerWriter(ModelLabels(.regression, names: []))
    #expect(String(decoding: writer.line(broken, nil), as: UTF8.self) == "{\"id\":7,\"error\":\"a \\\"reason\\\"\"}\n")
    #expect(!Answer(logits: [.nan, 1], .singleLabel).isFinite)
  }

  @Test("GLUE's file has a row's number, from 0, and the name that its server expects")
  func submission() throws {
    let mrpc = GLUESubmission.text(.mrpc, logits: [1, 0, 0, 1], outputs: [0, 1])
    #expect(mrpc == "index\tprediction\n0\t0\n1\t1\n")
    // The model numbers its classes otherwise.
    let rte = GLUESubmission.text(.rte, logits: [1, 0, 0, 1], outputs: [1, 0])
    #expect(rte == "index\tprediction\n0\tnot_entailment\n1\tentailment\n")
    #expect(
      GLUESubmission.text(.stsb, logits: [6, -1, 2.5], outputs: []) == "index\tprediction\n0\t5.0\n1\t0.0\n2\t2.5\n")
    #expect(GLUESubmission.fileName(.mnli, .testMismatched) == "MNLI-mm.tsv")
    #expect(GLUESubmission.fileName(.mrpc, .test) == "MRPC.tsv")
  }

  @Test("each row is dealt to one rank, and ranks get about as many tokens", arguments: [1, 2, 3, 7])
  func dealing(ranks: Int) throws {
    let lengths = (0..<50).map { 8 + $0 * 37 % 41 }
    let order = Predictor.dealt(lengths, ranks: ranks)
    try #require(order.sorted() == Array(0..<50))
    let tokens = (0..<ranks).map { rank in
      order[50 * rank / ranks..<50 * (rank + 1) / ranks].reduce(0) { $0 + lengths[$1] }
    }
    // The longest row has 48, and some ranks have a row more.
    #expect((tokens.max() ?? 0) - (tokens.min() ?? 0) <= 48, "\(tokens)")
    #expect(Predictor.dealt([5], ranks: 3) == [0] && Predictor.dealt([], ranks: 2) == [])
  }
}
