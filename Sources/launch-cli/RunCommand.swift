import ArgumentParser
import Glibc
import Launcher
import System

/// Runs a program as ranks; what `./launch` does when no other command is named.
struct RunCommand: MachineCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Run a program as ranks (the default).",
    discussion: """
      PROGRAM is one of the package's programs (finetune, inspect, …) or any executable. Everything after it is passed \
      on verbatim. Without PROGRAM, finetune runs on the data that it carries inside.
      """)

  @OptionGroup var options: LaunchOptions

  @Option(name: names("in_process"), help: "Run this many ranks as threads of one process, for a debugger.")
  var threadRankCount: String?

  @Option(name: names("debugger"), help: "Put this program (lldb, gdb) in front of one rank.")
  var debugger: String?

  @Option(name: names("debug_rank"), help: "The rank that --debugger is put in front of. Default: 0.")
  var debugRank: String?

  @Flag(name: names("dry_run"), help: "Print the command instead of running it.")
  var isDryRun = false

  @Argument(parsing: .captureForPassthrough, help: "PROGRAM and its arguments.")
  var command: [String] = []

  /// Commands that nobody means as a PROGRAM; `env` may well be one.
  private static let commandsOnly = [
    "test", "check", "config", "pack", "estimate-memory", "completions", "ckpt", "download", "cache",
    "verify-equivalence",
  ]

  func run(on machine: Machine) throws {
    if let first = command.first, first.utf8.first == UInt8(ascii: "-") {
      guard first == "--help" || first == "-h" else { throw RefusedFlags.refusal(first) }
      try put(LaunchCommand.helpMessage(for: RunCommand.self))
      return
    }
    if let first = command.first, Self.commandsOnly.contains(first) {
      throw Failure(
        .usage, at: first, "is a command of the launcher, expected in front of the options",
        hint: "./launch \(first) …; a program of that name needs its path")
    }
    guard StandardDescriptors.isWritable(STDOUT_FILENO), StandardDescriptors.isWritable(STDERR_FILENO) else {
      throw Failure(.ioError, "stdout or stderr is closed, expected both open")
    }
    if !isDryRun, let outer = machine.outerLauncher {
      // The first says it for all, whom mpirun then ends; srun may not.
      if outer.task > 0 { sleep(1) }
      throw outer.refusal(CommandLine.rawArguments.dropFirst().map { String(decoding: $0, as: UTF8.self) })
    }
    let settings = try options.settings(machine.environment)
    let isQuiet = settings[.quiet]
    let (command, verbatim) = try NamedInputs.resolve(
      self.command, verbatim: Array(CommandLine.rawArguments.suffix(max(0, self.command.count - 1))),
      machine.environment, isDry: isDryRun
    ) { if !isQuiet { say($0) } }
    let request = JobRequest(
      command.isEmpty ? [Programs.standard] : command, threadRanks: threadRankCount, debugger: debugger,
      debugRank: debugRank)
    let plan = try JobPlan(request, settings, on: machine)
    if isDryRun { return try put(plan.dryRunText, terminator: "") }
    if !plan.isQuiet {
      for note in try options.checkIgnored() + plan.notes { say("note: \(note)") }
    }
    Glibc.exit(try JobRunner(plan, on: machine, say: say).run(verbatim: verbatim))
  }
}
