import FileSystem
import Glibc

/// What a person reads while a job runs; the only place that prints. On ranks other than 0 it is silent.
///
/// On a terminal one bar moves at the bottom; elsewhere a line comes every ten seconds.
public final class Reporter {
  /// Columns of the user's terminal; nil where the output is a file or a pipe.
  private let columns: Int?
  private let isActive: Bool
  private var barIsShown = false
  private var lastUpdate: ContinuousClock.Instant?
  private let clock = ContinuousClock()

  /// - Parameter isActive: false silences it.
  public init(isActive: Bool) {
    self.isActive = isActive
    columns = Self.terminalColumns()
  }

  /// Under mpirun the output of a rank is never a terminal; the launcher then says what it has.
  private static func terminalColumns() -> Int? {
    if let text = getenv("LOCKSTEP_TERMINAL_COLUMNS") {
      return Int(String(cString: text)).flatMap { 20...1000 ~= $0 ? $0 : nil }
    }
    var size = winsize()
    guard isatty(STDOUT_FILENO) == 1, ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, 20...1000 ~= size.ws_col
    else {
      return nil
    }
    return Int(size.ws_col)
  }

  /// Prints a line, above the bar where there is one.
  public func line(_ text: String) throws(Failure) {
    guard isActive else { return }
    try put((barIsShown ? "\r\u{1B}[K" : "") + text + "\n")
    barIsShown = false
  }

  /// Prints names and values, aligned.
  public func facts(_ facts: [(name: String, value: String)]) throws(Failure) {
    let width = facts.map(\.name.count).max() ?? 0
    for fact in facts { try line(fact.name.padded(to: width) + "  " + fact.value) }
  }

  /// Shows how far the work is: the bar at most ten times a second, or a line every ten seconds.
  ///
  /// - Parameter details: what stands behind the bar.
  public func progress(done: Int, of total: Int, details: () -> String) throws(Failure) {
    guard isActive else { return }
    let now = clock.now
    let interval: Duration = columns == nil ? .seconds(10) : .milliseconds(100)
    // The first line comes at once: it tells that the job is running.
    if let lastUpdate, done < total, now - lastUpdate < interval { return }
    lastUpdate = now
    let count = "step \(String(done).leftPadded(to: String(total).count))/\(total)"
    guard let columns else { return try put("\(count)  \(details())\n") }
    let text = details()
    let room = columns - 1 - count.count - text.count - 6
    var bar = ""
    if room >= 8 {
      let filled = total == 0 ? 0 : room * done / total
      bar = "[" + String(repeating: "=", count: filled) + String(repeating: " ", count: room - filled) + "]  "
    }
    try put("\r\u{1B}[K" + String("\(count)  \(bar)\(text)".prefix(columns - 1)))
    barIsShown = true
  }

  private func put(_ text: String) throws(Failure) {
    guard isActive else { return }
    let bytes = Array(text.utf8)
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress! + done, $0.count - done) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw Failure(.ioError, at: "standard output", "writing failed: \(lastSystemError())") }
      done += count
    }
  }
}

extension String {
  /// With blanks behind, up to `width` characters.
  func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }

  /// With blanks in front, up to `width` characters.
  func leftPadded(to width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
}

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
