import System
import Training

/// Curves over a common axis, as an SVG with its numbers in a table.
struct Chart {
  struct Series {
    var name: String
    var points: [(x: Double, y: Double)]
  }

  var title: String
  var xName: String
  var series: [Series]
  /// Fixed ends of the vertical axis; else those of the values.
  var range: ClosedRange<Double>?

  private static let (width, height) = (480.0, 240.0)
  private static let (left, right, top, bottom) = (74.0, 14.0, 14.0, 38.0)
  /// Points of a curve; more would not be seen.
  static let mostPoints = 400
  /// Lines of a table.
  static let mostLines = 200
  private static let dashes = ["", "7 3", "2 3", "9 3 2 3", "12 4", "4 6"]

  /// The figure; nothing where no value is a number.
  var html: String {
    let values = series.flatMap { $0.points.map(\.y) }.filter(\.isFinite)
    let places = series.flatMap { $0.points.map(\.x) }
    guard let least = values.min(), let most = values.max(), let first = places.min(), let last = places.max() else {
      return ""
    }
    let y = range ?? (least == most ? Self.around(least) : least...most)
    let x = first == last ? first - 0.5...last + 0.5 : first...last
    return "<figure><figcaption>\(HTML.escaped(title))</figcaption>\n" + svg(x, y) + legend + table + "</figure>\n"
  }

  private func svg(_ x: ClosedRange<Double>, _ y: ClosedRange<Double>) -> String {
    func across(_ value: Double) -> Double {
      Self.left + (value - x.lowerBound) / (x.upperBound - x.lowerBound) * (Self.width - Self.left - Self.right)
    }
    func down(_ value: Double) -> Double {
      Self.top + (y.upperBound - value) / (y.upperBound - y.lowerBound) * (Self.height - Self.top - Self.bottom)
    }
    var text =
      "<svg viewBox=\"0 0 \(Int(Self.width)) \(Int(Self.height))\" role=\"img\" aria-label=\"\(HTML.escaped(description))\">\n"
    for step in 0...4 {
      let value = y.lowerBound + (y.upperBound - y.lowerBound) * Double(step) / 4
      let place = Self.shown(down(value))
      text +=
        "<line class=\"axis\" x1=\"\(Int(Self.left))\" x2=\"\(Int(Self.width - Self.right))\" y1=\"\(place)\" y2=\"\(place)\"/>"
      text +=
        "<text x=\"\(Int(Self.left) - 6)\" y=\"\(place)\" dy=\".32em\" text-anchor=\"end\">\(Self.label(value))</text>\n"
    }
    let base = Self.shown(Self.height - Self.bottom + 16)
    let isOne = Set(series.flatMap { $0.points.map(\.x) }).count == 1
    for (value, anchor) in isOne ? [] : [(x.lowerBound, "start"), (x.upperBound, "end")] {
      text +=
        "<text x=\"\(Self.shown(across(value)))\" y=\"\(base)\" text-anchor=\"\(anchor)\">\(Self.label(value))</text>"
    }
    text +=
      "<text x=\"\(Int((Self.width + Self.left) / 2))\" y=\"\(base)\" text-anchor=\"middle\">\(HTML.escaped(isOne ? "\(xName) \(Self.label((x.lowerBound + x.upperBound) / 2))" : xName))</text>\n"
    for (index, series) in series.enumerated() {
      let points = Self.thinned(series.points, to: Self.mostPoints).filter(\.y.isFinite)
      let color = "var(--s\(index % 6))"
      let path = points.map { "\(Self.shown(across($0.x))),\(Self.shown(down($0.y)))" }.joined(separator: " ")
      text +=
        "<polyline class=\"curve\" style=\"stroke:\(color)\" stroke-dasharray=\"\(Self.dashes[index % 6])\" points=\"\(path)\"/>\n"
      guard points.count <= 30 else { continue }
      for point in points {
        text +=
          "<circle cx=\"\(Self.shown(across(point.x)))\" cy=\"\(Self.shown(down(point.y)))\" r=\"3\" style=\"fill:\(color)\"/>"
      }
    }
    return text + "</svg>\n"
  }

  /// What a screen reader says in the picture's place.
  private var description: String {
    "\(title) over \(xName): "
      + series.map { series in
        let values = series.points.map(\.y).filter(\.isFinite)
        guard let first = values.first, let last = values.last else { return "\(series.name) has no values" }
        return "\(series.name) from \(Self.label(first)) to \(Self.label(last))"
      }.joined(separator: "; ") + ". The numbers are in the table below."
  }

  private var legend: String {
    guard series.count > 1 else { return "" }
    return "<ul class=\"legend\">"
      + series.enumerated().map { index, series in
        "<li><svg viewBox=\"0 0 36 10\" aria-hidden=\"true\"><line x1=\"0\" x2=\"36\" y1=\"5\" y2=\"5\" stroke-width=\"3\" "
          + "style=\"stroke:var(--s\(index % 6))\" stroke-dasharray=\"\(Self.dashes[index % 6])\"/></svg> \(HTML.escaped(series.name))</li>"
      }.joined() + "</ul>\n"
  }

  /// The numbers, as the metrics file has them.
  private var table: String {
    let places = Array(Set(series.flatMap { $0.points.map(\.x) })).sorted()
    let shown = Self.thinned(places, to: Self.mostLines)
    let columns = series.map { series in
      Dictionary(series.points.map { ($0.x, $0.y) }, uniquingKeysWith: { $1 })
    }
    let rows = shown.map { place in
      [Self.number(place)] + columns.map { $0[place].map(Self.number) ?? "" }
    }
    let caption =
      shown.count < places.count ? "\(title), \(shown.count) of \(places.count) values" : title
    return "<details><summary>Numbers of “\(HTML.escaped(title))”</summary>\n"
      + HTML.table(caption, [xName] + series.map(\.name), rows) + "</details>\n"
  }

  /// The shortest decimal that reads back as the same value; a whole number without a point.
  static func number(_ value: Double) -> String {
    if !value.isFinite { return "not defined" }
    return value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\(value)"
  }

  private static func label(_ value: Double) -> String {
    let size = abs(value)
    if value == value.rounded() && size < 1e6 { return "\(Int(value))" }
    return size >= 1e5 || size < 1e-3
      ? scientific(value) : formatted(value, digits: size >= 100 ? 0 : size >= 10 ? 1 : 3)
  }

  /// A range that shows one value in proportion to nothing.
  private static func around(_ value: Double) -> ClosedRange<Double> {
    value == 0 ? -1...1 : min(0, 2 * value)...max(0, 2 * value)
  }

  private static func shown(_ place: Double) -> String { formatted(place, digits: 1) }

  /// Evenly chosen values, the first and the last among them.
  static func thinned<Value>(_ values: [Value], to most: Int) -> [Value] {
    guard values.count > most else { return values }
    return (0..<most).map { values[$0 * (values.count - 1) / (most - 1)] }
  }
}
