import Glibc
import System

/// The words that make the launcher's binary an agent.
extension RankAgent {
  /// The first argument that makes the launcher's own binary an agent.
  public static let marker = "--rank-agent"

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

  /// Where an agent writes its frames.
  public enum Route: String, Sendable {
    /// Through the standard error that mpirun reads.
    case errors
    /// To the launcher itself, whose child it is. The rank writes to where the launcher does.
    case direct
    /// To the launcher itself, with what the rank writes.
    case directWithOutput
  }

  /// The words that go in front of the program and its arguments.
  public static func words(
    launcher: String, intervalMilliseconds: Int, route: Route = .errors, debugger: Debugger? = nil
  ) -> [String] {
    var words = [launcher, marker, "\(intervalMilliseconds)"]
    if route != .errors { words.append(route.rawValue) }
    if let debugger {
      words += ["\(debugger.rank)", debugger.terminal, "\(debugger.words.count)"] + debugger.words
    }
    return words + ["--"]
  }

  /// Acts as the agent where `arguments` (the process's own, as bytes) ask for it, and ends with the rank; returns
  /// otherwise.
  public static func runIfAsked(_ arguments: [[UInt8]], _ environment: Environment) -> Failure? {
    guard arguments.count >= 5, arguments[1].elementsEqual(marker.utf8) else { return nil }
    let texts = arguments.map { String(decoding: $0, as: UTF8.self) }
    guard let interval = Int(texts[2]), 10...60_000 ~= interval else {
      return Failure(.usage, at: marker, "\"\(texts[2])\", expected milliseconds")
    }
    let route = Route(rawValue: texts[3])
    var position = route == nil ? 3 : 4
    var debugger: Debugger?
    if route == nil && texts[3] != "--" {
      guard texts.count > 6, let rank = Int(texts[3]), let count = Int(texts[5]), 1..<texts.count - 6 ~= count
      else { return Failure(.usage, at: marker, "expected the debugger's rank, terminal and words") }
      debugger = Debugger(rank: rank, terminal: texts[4], words: Array(texts[6..<6 + count]))
      position = 6 + count
    }
    guard arguments.count > position + 1, texts[position] == "--" else {
      return Failure(.usage, at: marker, "expected a program after --")
    }
    do throws(Failure) {
      var agent = try RankAgent(
        Array(arguments[(position + 1)...]), interval: interval, route: route ?? .errors, debugger: debugger,
        environment)
      exit(agent.run())
    } catch {
      return error
    }
  }
}
