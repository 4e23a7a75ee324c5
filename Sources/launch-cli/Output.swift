import Glibc
import Launcher
import System

/// Writes `text` to standard output, where nothing but whole lines and tabs control the terminal.
///
/// - Throws: `.ioError` where it cannot be written: a full disk, a pipe that nobody reads, a closed descriptor.
func put(_ text: String, terminator: String = "\n") throws(Failure) {
  try writeToStandardOutput((text + terminator).escapingAllButLines.utf8)
}

/// Shows `failure` and ends the process.
func fail(_ failure: Failure) -> Never {
  say("error: \(failure)")
  exit(failure.status.rawValue)
}

/// Shows one line on stderr, in one write so that it stays whole among the output of ranks.
///
/// A terminal that is frozen, or a pipe that nobody reads, gets none.
func say(_ line: String) {
  let bytes = launcherLine(line)
  var wait = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
  guard poll(&wait, 1, 1000) != 0 else { return }
  _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
}

enum StandardDescriptors {
  /// Opens those of the three that are closed, so that no other file gets their number. What is written to them is lost
  /// with an error.
  static func fill() {
    for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(descriptor, F_GETFD) < 0 {
      // The lowest free number is this one.
      _ = open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
    }
  }

  /// Whether `descriptor` was open for writing when the process began.
  static func isWritable(_ descriptor: Int32) -> Bool {
    let flags = fcntl(descriptor, F_GETFL)
    return flags >= 0 && flags & O_ACCMODE != O_RDONLY
  }
}

enum HelpWidth {
  private static let columns = 40...400

  /// Gives help a width that its layout has room for, whatever the terminal or COLUMNS says.
  static func limit(_ environment: Environment) {
    let told = environment["COLUMNS"].flatMap { Int($0) }
    var size = winsize()
    let hasTerminal = ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
    guard let width = told ?? (hasTerminal ? Int(size.ws_col) : nil), !columns.contains(width) else { return }
    setenv("COLUMNS", "\(min(max(width, columns.lowerBound), columns.upperBound))", 1)
  }
}
