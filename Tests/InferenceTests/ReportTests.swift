import Datasets
import FoundationEssentials
import Inference
import JSON
import Reporting
import RunReport
import System
import TestSupport
import Testing
import Training

struct ReportTests {
  private func run(steps: Int = 5) throws -> RunRecord {
    var run = RunRecord(title: "<script>alert(1)</script>", labels: ModelLabels(.singleLabel, names: ["no", "<b>yes"]))
    run.metricNames = ["accuracy"]
    run.steps = try (1...steps).map { step in
      let line = """
        {"kind":"step","step":\(step),"epoch":0.5,"loss":\(0.1234567890123 / Double(step)),"learning_rate":3e-5,"grad_norm":2}
        """
      return .init(try JSONDecoder().decode(StepRecord.self, from: Data(line.utf8)), rows: 8, seconds: 0.25)
    }
    let evaluation = Evaluation(
      lossSum: 3,
      rows: EvaluatedRows(outputs: 2, logits: [1, 0, 5, 0, 0, 1], labels: [.category(0), .category(1), .category(1)]))
    run.evaluations = [
      EvaluationRecord(evaluation, values: [MetricValue("accuracy", 2.0 / 3)], epoch: 1, step: steps)
    ]
    let texts = ["a", "<img src=x onerror=alert(1)> & \u{202E}rtl", "c"].map {
      SentencePair(first: Array($0.utf8), second: nil, label: .unknown)
    }
    run.take(evaluation.rows, texts: texts)
    run.settings = [.init("epochs", "3", "--epochs")]
    run.command = ["./launch", "finetune", "--model", "a b"]
    return run
  }

  @Test("the page shows every figure in full, names the confident mistake, and nothing in it becomes markup")
  func page() throws {
    let page = String(decoding: ReportPage.html(try run()), as: UTF8.self)
    for number in ["0.6666666666666666", "0.1234567890123", "3e-05", "32.0"] {
      #expect(page.contains(number), "\(number)")
    }
    #expect(!page.contains("<script") && !page.contains("<img") && !page.contains("<b>yes"))
    #expect(page.contains("&lt;img src=x onerror=alert(1)&gt; &amp; \\u{202e}rtl"))
    #expect(page.contains("row 2: is <b>&lt;b&gt;yes</b>, the model says <b>no</b>"))
    #expect(page.contains("./launch finetune --model &#39;a b&#39;"))
    #expect(page.contains("prefers-color-scheme:dark") && !page.contains("http"), "no network is needed")
  }

  @Test("a page of a hundred thousand steps is under a megabyte")
  func size() throws { #expect(ReportPage.html(try run(steps: 100_000)).count < 1_000_000) }

  @Test("each picture has a name for screen readers and a table of its numbers")
  func alternatives() throws {
    let page = String(decoding: ReportPage.html(try run()), as: UTF8.self)
    let pictures = page.components(of: "<svg viewBox=\"0 0 480 240\" role=\"img\" aria-label=\"")
    #expect(pictures >= 5 && pictures == page.components(of: "<details><summary>"))
  }

  @Test(
    "in a real browser nothing is wider than the page, and nothing is complained of", .needs(.program("chromium")),
    arguments: [1280, 390])
  func browser(width: Int) throws {
    var run = try run()
    run.command = ["./launch", "finetune", "--model", String(repeating: "long", count: 200)]
    run.settings.append(.init("model", String(repeating: "/folder", count: 60), "--model"))
    let folder = try TemporaryFolder()
    // The page itself has no script; this one says how wide it came out. In a frame, for windows have a least width.
    let measure = "<script>parent.postMessage(document.documentElement.scrollWidth + ' of ' + innerWidth, '*')</script>"
    let page = String(decoding: ReportPage.html(run), as: UTF8.self).replacing("</body>", with: "\(measure)</body>")
    try folder.write(page, "report.html")
    let frame = """
      <script>onmessage = event => document.title = event.data</script>
      <iframe src="report.html" style="border: 0; width: \(width)px; height: 900px"></iframe>
      """
    let path = try folder.write(frame, "frame.html")
    let outcome = try Program.run(
      [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr",
        "--user-data-dir=\(folder.path)/profile", "--window-size=1400,1000", "--virtual-time-budget=2000",
        "--dump-dom", "file://\(path)",
      ], variables: ["HOME": folder.path], seconds: 120)
    #expect(outcome.status == 0 && outcome.output.contains("<title>\(width) of \(width)</title>"), "\(outcome.errors)")
    #expect(!outcome.errors.contains("CONSOLE"), "\(outcome.errors)")
  }

  @Test("runs are compared by what they left, and differences are listed")
  func comparison() throws {
    let folder = try TemporaryFolder()
    var second = try run()
    second.settings = [.init("epochs", "4", "--epochs")]
    for (name, run) in [("one", try run()), ("two", second)] {
      try makeDirectory("\(folder.path)/\(name)")
      try folder.write(run.summary.bytes, "\(name)/report.json")
    }
    let runs = try ["one", "two"].map { try RunSummary(folder: "\(folder.path)/\($0)") }
    #expect(runs.map { $0.evaluations.last?.values["accuracy"] } == [2.0 / 3, 2.0 / 3])
    let page = String(decoding: ComparisonPage.html(runs), as: UTF8.self)
    #expect(page.contains("Values that are not the same in all runs") && page.contains("<td>4</td>"))
    #expect(throws: (any Error).self) { try RunSummary(folder: folder.path) }
  }

  @Test("a card's metadata is YAML that the hub reads, whatever the names are")
  func card() {
    let card = ModelCard(
      name: "a \"b\"", baseModel: "google-bert/bert-base-uncased",
      dataset: (type: "nyu-mll/glue", configuration: "mrpc", name: "GLUE mrpc", language: "en"), data: "mrpc in <x>",
      metrics: [MetricValue("accuracy", 0.875), MetricValue("f1", .nan)], settings: [], isRegression: false)
    let text = card.text
    #expect(text.hasPrefix("---\nlanguage: \"en\"\nlibrary_name: transformers\n"))
    #expect(
      text.contains("- name: \"a \\\"b\\\"\"\n") && text.contains("    - type: \"accuracy\"\n      value: 0.875\n"))
    #expect(!text.contains("type: \"f1\"") && text.contains("mrpc in \\<x\\>") && text.contains(ModelCard.mark))
    #expect(ModelCard.hubName(ofFolder: "/x/models--a--b/snapshots/1", nameInConfiguration: nil) == "a/b")
    #expect(ModelCard.hubName(ofFolder: "/x", nameInConfiguration: "/secret/path") == nil)
    #expect(ModelCard.hubName(ofFolder: "/x", nameInConfiguration: "bert-base-uncased") == "bert-base-uncased")
  }
}

extension String {
  /// How often `part` is in this text.
  fileprivate func components(of part: String) -> Int { ranges(of: part).count }
}
