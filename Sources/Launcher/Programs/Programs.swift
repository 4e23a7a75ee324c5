import Glibc
import System

/// The package's own programs, and how a name becomes a path.
public struct Programs: Sendable {
  /// The folder that holds this package's programs: that of the launcher itself.
  public var folder: String
  /// Folders of the PATH, in order.
  public var searchPath: [String]

  /// - Parameter searchPath: the value of PATH.
  public init(folder: String, searchPath: String) {
    self.folder = folder
    self.searchPath = searchPath.split(separator: ":").map(String.init)
  }

  /// The programs of this package; a single-process tool runs as one rank unless told otherwise, and an example is there
  /// to be read.
  public static let own: [(name: String, isSingleProcess: Bool, isExample: Bool)] = [
    ("finetune", false, false), ("bench", false, false), ("selftest", false, false), ("manual-loop", true, true),
    ("accelerated-loop", false, true), ("own-task", false, true), ("inspect", true, false), ("predict", true, false),
  ]

  /// Commands of those programs that are programs to the user: the program that has each.
  public static let commands = ["evaluate": "predict", "report": "predict"]

  /// Whether the ranks of the program `name` with these arguments read standard input, which rank 0 then gets: not where
  /// the questions stand in the arguments, for a loop of a shell may want its input for itself.
  public static func readsInput(_ name: String, _ arguments: [String]) -> Bool {
    name == "predict"
      && !arguments.contains { argument in
        let option = argument.prefix { $0 != "=" }.replacing("_", with: "-")
        return ["--text", "--test-file", "--task", "--task-name", "--help", "-h"].contains(option)
      }
  }

  /// Programs of which rank 0 reads all files and the others none.
  static let readOnMainOnly: Set<String> = ["finetune", "predict"]

  /// What runs when no program is named.
  public static let standard = "finetune"

  /// Whether `name` is one of this package's tools that are one process by nature.
  public static func isSingleProcess(_ name: String) -> Bool {
    own.contains { $0.name == commands[name] ?? name && $0.isSingleProcess }
  }

  /// The path of the program `name`: a path as it is, one of the package's programs, or an executable on the PATH.
  public func path(of name: String) throws(Failure) -> String {
    if name.utf8.contains(UInt8(ascii: "/")) {
      try requireExecutable(name)
      return name
    }
    let program = Self.commands[name] ?? name
    if Self.own.contains(where: { $0.name == program }), isExecutableFile("\(folder)/\(program)") {
      return "\(folder)/\(program)"
    }
    if let path = find(name) { return path }
    let known = (Self.own.map(\.name) + Self.commands.keys.sorted()).filter {
      isExecutableFile("\(folder)/\(Self.commands[$0] ?? $0)")
    }
    let hint =
      nearest(to: name, among: known).map { "did you mean \($0)?" }
      ?? "the package's programs are \(known.joined(separator: ", ")); a path needs a slash: ./\(name)"
    throw Failure(.missingInput, at: name, "no such program, neither of this package nor on the PATH", hint: hint)
  }

  /// The path of the program `name`, which the kernel knows how to start: not a script without interpreter.
  public func startable(_ name: String) throws(Failure) -> String {
    let path = try path(of: name)
    try Script.check(path, find: find)
    return path
  }

  /// The path of the executable `name` on the PATH.
  public func find(_ name: String) -> String? {
    guard !name.isEmpty else { return nil }
    return searchPath.lazy.map { "\($0)/\(name)" }.first(where: isExecutableFile)
  }

  private func requireExecutable(_ path: String) throws(Failure) {
    guard exists(path) else { throw Failure(.missingInput, at: path, "no such program") }
    guard !isDirectory(path) else { throw Failure(.missingInput, at: path, "is a directory, expected a program") }
    guard isExecutableFile(path) else {
      throw Failure(.missingInput, at: path, "is not executable", hint: "chmod +x it, or name its interpreter")
    }
  }

  private func isExecutableFile(_ path: String) -> Bool { access(path, X_OK) == 0 && !isDirectory(path) }
}
