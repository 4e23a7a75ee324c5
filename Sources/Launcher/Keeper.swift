import Glibc
import System

/// The launcher's binary as the parent of one rank, on the rank's host: mpirun starts it in the program's place.
///
/// It starts the program, sends what that writes and how it fares to the launcher, tells a rank that is to stop, and
/// leaves no process of it behind: what the rank's descendants leave becomes the keeper's own child.
public enum Keeper {
  /// The first argument that makes the launcher's own binary a keeper.
  public static let marker = "--keep-rank"

  /// A debugger in front of one rank, on the user's terminal.
  public struct Debugger: Equatable, Sendable {
    public var rank: Int
    /// The terminal's device; empty where there is none.
    public var terminal: String
    /// The debugger with its options.
    public var words: [String]

    public init(rank: Int, terminal: String, words: [String]) {
      self.rank = rank
      self.terminal = terminal
      self.words = words
    }
  }

  /// Where a keeper writes its frames.
  public enum Way: String, Sendable {
    /// Through the standard error that mpirun reads.
    case errors
    /// To the launcher itself, whose child it is. The rank writes to where the launcher does.
    case direct
    /// To the launcher itself, with what the rank writes.
    case directWithOutput
  }

  /// The words that go in front of the program and its arguments.
  public static func words(
    launcher: String, intervalMilliseconds: Int, way: Way = .errors, debugger: Debugger? = nil
  ) -> [String] {
    var words = [launcher, marker, "\(intervalMilliseconds)"]
    if way != .errors { words.append(way.rawValue) }
    if let debugger {
      words += ["\(debugger.rank)", debugger.terminal, "\(debugger.words.count)"] + debugger.words
    }
    return words + ["--"]
  }

  /// Acts as the keeper where `arguments` (the process's own, as bytes) ask for it, and ends with the rank; returns
  /// otherwise.
  public static func runIfAsked(_ arguments: [[UInt8]]) -> Failure? {
    guard arguments.count >= 5, arguments[1].elementsEqual(marker.utf8) else { return nil }
    let texts = arguments.map { String(decoding: $0, as: UTF8.self) }
    guard let interval = Int(texts[2]), 10...60_000 ~= interval else {
      return Failure(.usage, at: marker, "\"\(texts[2])\", expected milliseconds")
    }
    let way = Way(rawValue: texts[3])
    var position = way == nil ? 3 : 4
    var debugger: Debugger?
    if way == nil && texts[3] != "--" {
      guard texts.count > 6, let rank = Int(texts[3]), let count = Int(texts[5]), 1..<texts.count - 6 ~= count
      else { return Failure(.usage, at: marker, "expected the debugger's rank, terminal and words") }
      debugger = Debugger(rank: rank, terminal: texts[4], words: Array(texts[6..<6 + count]))
      position = 6 + count
    }
    guard arguments.count > position + 1, texts[position] == "--" else {
      return Failure(.usage, at: marker, "expected a program after --")
    }
    do throws(Failure) {
      var keeping = try Keeping(
        Array(arguments[(position + 1)...]), interval: interval, way: way ?? .errors, debugger: debugger)
      exit(keeping.run())
    } catch {
      return error
    }
  }
}
