import Collectives
import Glibc
import System

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

  /// - Parameters:
  ///   - isActive: false silences it.
  ///   - columns: of the user's terminal, where somebody knows them; else it asks whether the output is one.
  public init(isActive: Bool, columns: Int? = nil) {
    self.isActive = isActive
    self.columns = Self.usableColumns(columns)
  }

  private static func usableColumns(_ known: Int?) -> Int? {
    var columns = known
    if columns == nil {
      var size = winsize()
      guard isatty(STDOUT_FILENO) == 1, ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 else { return nil }
      columns = Int(size.ws_col)
    }
    // A bar is not as wide as the widest.
    return columns.flatMap { $0 >= 20 ? min($0, 1000) : nil }
  }

  /// Prints a line, above the bar where there is one. What a name in it could tell the terminal is escaped.
  public func line(_ text: String) throws(Failure) { try lines(text.escapingControlCharacters) }

  /// Prints a text of several lines as it is.
  public func lines(_ text: String) throws(Failure) {
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
    try writeToStandardOutput(text.utf8)
  }
}

extension String {
  /// With blanks behind, up to `width` characters.
  func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }

  /// With blanks in front, up to `width` characters.
  func leftPadded(to width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
}
