import JSON
import System
import Training

/// A run as `report.json` of its folder tells it.
public struct RunSummary: Sendable {
  public var path: String
  public var title: String
  public var metrics: [String]
  /// By epoch: its number and the figures under their names.
  public var evaluations: [(epoch: Double, values: [String: Double])]
  public var examplesPerSecond: Double
  public var settings: [RunRecord.Setting]

  /// Reads the run in the folder `path`.
  ///
  /// - Throws: `.missingInput` or `.badData` where there is none.
  public init(folder path: String) throws(Failure) {
    let file = "\(path)/report.json"
    guard exists(file) else {
      throw Failure(
        .missingInput, at: file, "is not there", hint: "expected the folder that a run of fine-tuning has saved")
    }
    let document = try JSONDocument(contentsOf: file, limitBytes: 1 << 26, status: .badData)
    let root = document.root
    guard try root.member("format")?.string() == RunRecord.format else {
      throw Failure(.badData, at: file, "is no run's report, expected \"format\": \"\(RunRecord.format)\"")
    }
    self.path = path
    title = try root.member("title")?.string() ?? path
    metrics = try (root.member("metrics")?.elements() ?? []).map { (node) throws(Failure) in try node.string() }
    examplesPerSecond = try root.member("examples_per_second")?.double() ?? 0
    evaluations = try (root.member("evaluations")?.elements() ?? []).map { (node) throws(Failure) in
      var values: [String: Double] = [:]
      var epoch = 0.0
      for (key, value) in try node.members() {
        let name = String(decoding: key, as: UTF8.self)
        let number = value.isNull ? Double.nan : try value.double()
        if name == "epoch" { epoch = number } else { values[name] = number }
      }
      return (epoch, values)
    }
    settings = try (root.member("settings")?.elements() ?? []).map { (node) throws(Failure) in
      RunRecord.Setting(
        try node.member("name")?.string() ?? "", try node.member("value")?.string() ?? "",
        try node.member("origin")?.string() ?? "")
    }
  }
}

/// The page that compares runs.
public enum ComparisonPage {
  public static func html(_ runs: [RunSummary]) -> [UInt8] {
    var names: [String] = []
    for run in runs { for name in run.metrics + ["loss"] where !names.contains(name) { names.append(name) } }
    let rows = runs.map { run in
      [run.path] + names.map { name in run.evaluations.last?.values[name].map(Chart.number) ?? "" }
        + [formatted(run.examplesPerSecond, digits: 1)]
    }
    var content = HTML.section(
      "results", "Results",
      HTML.table("After the last epoch", ["run"] + names + ["examples a second"], rows))
    let charts = names.map { name in
      let series = runs.map { run in
        Chart.Series(name: run.path, points: run.evaluations.map { ($0.epoch, $0.values[name] ?? .nan) })
      }
      // As on the page of one run; a figure that may be negative shows its own range.
      let isShare = ReportPage.isBounded(name) && series.allSatisfy { $0.points.allSatisfy { !($0.y < 0) } }
      return Chart(title: name, xName: "epoch", series: series, range: isShare ? 0...1 : nil).html
    }
    content += HTML.section("curves", "Curves", "<div class=\"grid\">\n\(charts.joined())</div>\n")
    let different = differences(runs)
    content += HTML.section(
      "differences", "What is different",
      different.isEmpty
        ? "<p>All runs were made with the same values.</p>\n"
        : HTML.table("Values that are not the same in all runs", ["name"] + runs.map(\.path), different))
    return Array(HTML.page("Comparison of \(runs.count) runs", content).utf8)
  }

  static func differences(_ runs: [RunSummary]) -> [[String]] {
    var names: [String] = []
    for run in runs { for setting in run.settings where !names.contains(setting.name) { names.append(setting.name) } }
    return names.compactMap { name in
      let values = runs.map { run in run.settings.first { $0.name == name }?.value ?? "" }
      return Set(values).count > 1 ? [name] + values : nil
    }
  }
}
