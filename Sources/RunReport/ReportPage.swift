import System
import Training

/// The page of one run: a file of its own, without scripts, that needs no network.
public enum ReportPage {
  public static func html(_ run: RunRecord) -> [UInt8] {
    var content = result(run)
    content += HTML.section("curves", "Curves", "<div class=\"grid\">\n" + curves(run) + "</div>\n")
    content += time(run) + confusion(run) + mistakes(run)
    content += HTML.section(
      "configuration", "Configuration",
      HTML.table(
        "What the run was made with", ["name", "value", "from"], run.settings.map { [$0.name, $0.value, $0.origin] }))
    content += HTML.section(
      "versions", "Versions",
      HTML.table("Machine and libraries", ["name", "value"], run.versions.map { [$0.name, $0.value] }))
    content += HTML.section(
      "repeat", "To repeat the run",
      "<pre tabindex=\"0\" aria-label=\"command\">\(HTML.escaped(run.command.map(shellQuoted).joined(separator: " ")))</pre>\n"
    )
    return Array(HTML.page(run.title, content).utf8)
  }

  private static func result(_ run: RunRecord) -> String {
    guard let last = run.evaluations.last else { return "" }
    let rows = run.metricNames.map { [$0, last[$0].map(Chart.number) ?? ""] }
    let skipped = run.steps.count { $0.record.skipped == true }
    return HTML.section(
      "result", "Result",
      HTML.table(
        "After \(last.step) steps, on \(last.examples) rows", ["figure", "value"],
        rows + [
          ["loss", Chart.number(last.loss)],
          ["training examples a second", formatted(run.examplesPerSecond, digits: 1)],
        ] + (skipped > 0 ? [["steps left out, for numbers that are not finite", "\(skipped)"]] : [])))
  }

  private static func curves(_ run: RunRecord) -> String {
    let evaluations = run.evaluations
    let shares = run.metricNames.filter { isBounded($0) }
    let others = run.metricNames.filter { !isBounded($0) }
    func curve(_ name: String) -> Chart.Series {
      .init(name: name, points: evaluations.map { ($0.epoch, $0[name] ?? .nan) })
    }
    var charts: [Chart] = []
    if !shares.isEmpty {
      let isPositive = evaluations.allSatisfy { record in shares.allSatisfy { (record[$0] ?? 0) >= 0 } }
      charts.append(
        Chart(
          title: "Metrics on the validation rows", xName: "epoch", series: shares.map(curve),
          range: isPositive ? 0...1 : -1...1))
    }
    charts += others.map { Chart(title: $0, xName: "epoch", series: [curve($0)]) }
    charts.append(
      Chart(
        title: "Validation loss", xName: "epoch",
        series: [.init(name: "validation loss", points: evaluations.map { ($0.epoch, $0.loss) })]))
    func steps(_ title: String, _ name: String, _ value: (RunRecord.Step) -> Double) -> Chart {
      Chart(
        title: title, xName: "step",
        series: [.init(name: name, points: run.steps.map { (Double($0.record.step), value($0)) })])
    }
    charts.append(steps("Training loss", "loss") { $0.record.loss })
    charts.append(steps("Learning rate", "learning_rate") { $0.record.learning_rate })
    charts.append(steps("Gradient norm", "grad_norm") { $0.record.grad_norm })
    charts.append(
      steps("Throughput in examples a second", "examples a second") {
        $0.seconds > 0 ? Double($0.rows) / $0.seconds : .nan
      })
    return charts.map(\.html).joined()
  }

  /// Whether a figure lies between -1 and 1.
  static func isBounded(_ name: String) -> Bool { !name.hasPrefix("mse") && !name.hasPrefix("loss") }

  private static func time(_ run: RunRecord) -> String {
    guard let first = run.times.first else { return "" }
    return HTML.section(
      "time", "Where the time went",
      HTML.table(
        "Seconds by kind on each rank", ["rank"] + first.seconds.map(\.kind),
        run.times.map { rank in
          ["\(rank.rank) (\(rank.host))"] + rank.seconds.map { formatted($0.seconds, digits: 3) }
        }))
  }

  private static func confusion(_ run: RunRecord) -> String {
    guard let matrix = run.confusion else { return "" }
    let names = run.labels.names
    // A page of hundreds of classes would be nothing but this table.
    let shown = names.prefix(50)
    let note =
      shown.count < names.count ? "<p class=\"faint\">The first \(shown.count) of \(names.count) classes.</p>\n" : ""
    return HTML.section(
      "confusion", "Confusion matrix",
      note
        + HTML.table(
          "A line for each true class, a column for each predicted one", ["true class"] + shown,
          shown.indices.map { label in [names[label]] + shown.indices.map { "\(matrix[label: label, told: $0])" } }))
  }

  private static func mistakes(_ run: RunRecord) -> String {
    guard run.confusion != nil else { return "" }
    let items = run.mistakes.map { mistake in
      "<li>"
        + mistake.texts.map { "<p><bdi>\(HTML.escaped($0))</bdi></p>" }.joined()
        + "<p class=\"faint\">row \(mistake.row): is <b>\(HTML.escaped(mistake.label))</b>, the model says "
        + "<b>\(HTML.escaped(mistake.answer))</b> with probability \(mistake.probability)</p></li>\n"
    }.joined()
    return HTML.section(
      "mistakes", "Most confident mistakes",
      items.isEmpty
        ? "<p>The model is right on every validation row.</p>\n" : "<ol class=\"mistakes\">\n\(items)</ol>\n")
  }
}

/// A word as a shell reads it.
func shellQuoted(_ word: String) -> String {
  let plain = word.unicodeScalars.allSatisfy {
    ("a"..."z").contains($0) || ("A"..."Z").contains($0) || ("0"..."9").contains($0)
      || "-_./=,:+@%".unicodeScalars.contains($0)
  }
  return plain && !word.isEmpty ? word : "'" + word.replacing("'", with: "'\\''") + "'"
}
