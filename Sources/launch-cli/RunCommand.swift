import ArgumentParser
import FileSystem
import Glibc
import Launcher

/// Runs a program as ranks; what `./launch` does when no other command is named.
struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Run a program as ranks (the default).",
    discussion: """
      PROGRAM is one of the package's programs (finetune, inspect, …) or any executable. Everything after it is passed \
      on verbatim. Without PROGRAM, finetune runs on the data that it carries inside.
      """)

  @Option(
    name: [.customShort("n"), .customLong("num_processes"), .customLong("num-processes")],
    help: "Ranks over all hosts. Default: one a core, at most 4; 1 for single-process tools.")
  var rankCount: Int?

  @Option(
    name: [.customLong("in_process"), .customLong("in-process")],
    help: "Run this many ranks as threads of one process, for a debugger.")
  var threadRankCount: Int?

  @Option(
    name: [.customLong("num_cpu_threads_per_process"), .customLong("num-cpu-threads-per-process")],
    help: "Threads of each rank. Default: the cores dealt out evenly.")
  var threadsPerRank: Int?

  @Flag(name: [.customLong("dry_run"), .customLong("dry-run")], help: "Print the command instead of running it.")
  var isDryRun = false

  @Argument(parsing: .captureForPassthrough, help: "PROGRAM and its arguments.")
  var command: [String] = []

  func run() throws {
    try refuseUnknownOption()
    guard fcntl(STDOUT_FILENO, F_GETFD) >= 0, fcntl(STDERR_FILENO, F_GETFD) >= 0 else {
      throw Failure(.ioError, "stdout or stderr is closed, expected both open")
    }
    let context = LaunchContext()
    let plan = try context.plan(
      ranks: rankCount, threadRanks: threadRankCount, threads: threadsPerRank,
      command: command.isEmpty ? [Programs.standard] : command)
    if isDryRun {
      print(try context.description(of: plan), terminator: "")
      return
    }
    try context.start(plan, verbatim: Array(CommandLine.rawArguments.suffix(max(0, command.count - 1))))
  }

  /// What starts with a dash before PROGRAM is an option that we do not have.
  private func refuseUnknownOption() throws(Failure) {
    guard let first = command.first, first.utf8.first == UInt8(ascii: "-") else { return }
    if first == "--help" || first == "-h" {
      print(Launch.helpMessage(for: RunCommand.self))
      Glibc.exit(0)
    }
    let name = String(first.prefix { $0 != "=" })
    throw Failure(
      .usage, at: name, "unknown option",
      hint: Suggestions.option(name).map { "did you mean \($0)?" } ?? "./launch --help shows the options")
  }
}
