/// `value` with so many `digits` after the point, rounded to the nearest; of numbers beyond 10¹² and of those that are none
/// Swift's own text.
public func fixed(_ value: Double, _ digits: Int) -> String {
  guard value.isFinite, abs(value) < 1e12 else { return "\(value)" }
  let scale = (0..<digits).reduce(1) { product, _ in product * 10 }
  let scaled = Int((abs(value) * Double(scale)).rounded())
  let fraction = String(scaled % scale)
  let zeros = String(repeating: "0", count: max(0, digits - fraction.utf8.count))
  return "\(value < 0 && scaled > 0 ? "-" : "")\(scaled / scale)" + (digits == 0 ? "" : ".\(zeros)\(fraction)")
}

/// `1 core`, `2 cores`.
public func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
