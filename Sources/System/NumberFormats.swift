import Glibc

/// `1 core`, `2 cores`.
public func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

/// A number with so many digits after the point.
public func formatted(_ value: Double, digits: Int) -> String { printed("%.*f", value, digits) }

/// A number as a learning rate is written: `2.85e-05`.
public func scientific(_ value: Double) -> String { printed("%.*e", value, 2) }

private func printed(_ format: String, _ value: Double, _ digits: Int) -> String {
  guard value.isFinite else { return "\(value)" }
  var buffer = [CChar](repeating: 0, count: 512)
  let count = withVaList([Int32(digits), value]) { vsnprintf(&buffer, buffer.count, format, $0) }
  return String(decoding: buffer.prefix(Int(max(0, count))).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// A whole number with commas between groups of three digits.
public func grouped(_ value: Int) -> String {
  var result = ""
  for (index, digit) in String(value.magnitude).reversed().enumerated() {
    if index > 0 && index % 3 == 0 { result.append(",") }
    result.append(digit)
  }
  return (value < 0 ? "-" : "") + String(result.reversed())
}

/// Seconds as `2:07` or `1:02:07`.
public func clockTime(_ seconds: Double) -> String {
  let whole = Int(max(0, seconds).rounded())
  let tail = { (value: Int) in value < 10 ? "0\(value)" : "\(value)" }
  let (hours, minutes) = (whole / 3600, whole / 60 % 60)
  return hours > 0 ? "\(hours):\(tail(minutes)):\(tail(whole % 60))" : "\(minutes):\(tail(whole % 60))"
}
