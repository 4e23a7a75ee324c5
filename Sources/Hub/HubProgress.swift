import Glibc
import System

/// Shows how far a download is: a bar on a terminal, a line at the end in a file.
final class HubProgress {
  private let isShown: Bool
  private let isTerminal: Bool
  private let say: (String) -> Void
  private var name = ""
  private var total: Int?
  private var start = ContinuousClock.now
  private var startBytes = 0
  private var last = ContinuousClock.now
  private var isBarThere = false

  init(isShown: Bool, say: @escaping (String) -> Void) {
    self.isShown = isShown
    self.say = say
    isTerminal = isatty(STDERR_FILENO) == 1
  }

  func note(_ text: String) {
    clear()
    say(text)
  }

  func begin(_ name: String, done: Int, total: Int?) {
    (self.name, self.total, startBytes) = (name, total, done)
    start = .now
    // So that a file that is there at once shows no bar.
    last = .now
  }

  func update(_ done: Int) {
    guard isShown, isTerminal, .now - last > .milliseconds(100) else { return }
    last = .now
    var size = winsize()
    let columns = ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
    var text = "\(name)  \(Self.megabytes(done))"
    if let total, total > 0 {
      let percent = min(100, done * 100 / max(total, 1))
      let width = 24
      let filled = width * percent / 100
      text = "\(name)  [" + String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled)
      text += "] \(percent) % of \(Self.megabytes(total))"
    }
    let seconds = (.now - start) / .seconds(1)
    if seconds > 0.5 { text += ", \(formatted(Double(done - startBytes) / 1e6 / seconds, digits: 1)) MB/s" }
    write("\r\u{1B}[K" + String(text.escapingControlCharacters.unicodeScalars.prefix(max(1, columns - 1))))
    isBarThere = true
  }

  func end(_ done: Int) {
    clear()
    guard isShown else { return }
    let seconds = (.now - start) / .seconds(1)
    say("fetched \(name), \(Self.megabytes(done)) in \(formatted(seconds, digits: 1)) s")
  }

  private func clear() {
    if isBarThere { write("\r\u{1B}[K") }
    isBarThere = false
  }

  private func write(_ text: String) {
    // A terminal that takes nothing gets no bar.
    try? writeAll(Array(text.utf8), to: STDERR_FILENO, at: "standard error")
  }

  static func megabytes(_ bytes: Int) -> String {
    bytes < 100_000
      ? "\(formatted(Double(bytes) / 1e3, digits: 1)) kB" : "\(formatted(Double(bytes) / 1e6, digits: 1)) MB"
  }
}
