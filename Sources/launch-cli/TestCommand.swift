import ArgumentParser
import Launcher
import System

/// Runs the self-test as a job.
struct TestCommand: MachineCommand {
  static let configuration = CommandConfiguration(
    commandName: "test",
    abstract: "Test ranks, data and training on the cluster as it is configured.",
    discussion: "Takes the options of run. The last line says whether all is well.")

  @Argument(parsing: .captureForPassthrough, help: "Options as for run.")
  var arguments: [String] = []

  func run(on machine: Machine) throws {
    if arguments.contains(where: { $0 == "--help" || $0 == "-h" }) {
      try put(LaunchCommand.helpMessage(for: TestCommand.self))
      return
    }
    let command = try RunCommand.parse(arguments + ["selftest"])
    guard command.command == ["selftest"] else {
      throw Failure(.usage, at: command.command[0], "test takes options only, expected no PROGRAM")
    }
    try command.run(on: machine)
  }
}

/// How much memory a training takes: the self-test knows how the trainer allocates.
struct EstimateMemoryCommand: MachineCommand {
  static let configuration = CommandConfiguration(
    commandName: "estimate-memory",
    abstract: "Estimate the memory that training MODEL takes, per rank and per host.",
    discussion: """
      MODEL may be a name on the hub, of which no weights are fetched; --task fetches rows whose lengths count. \
      Options: --data, --task, --revision, --batch-size, --max-length, --num_processes, --num_machines, --ddp-comm-hook, --json, and --measure, which \
      trains two steps and compares.
      """)

  @Argument(parsing: .captureForPassthrough, help: "MODEL, a checkpoint folder or a name on the hub, and options.")
  var arguments: [String] = []

  func run(on machine: Machine) throws {
    let path = try machine.programs.path(of: "selftest")
    var environment = machine.environment
    environment["LOCKSTEP_IN_PROCESS"] = nil
    environment["LOCKSTEP_NUM_THREADS"] = environment["LOCKSTEP_NUM_THREADS"] ?? "\(machine.cores.usable)"
    let words = [Array("memory".utf8)] + CommandLine.rawArguments.suffix(arguments.count)
    let named = try NamedInputs.resolve(
      ["selftest", "memory"] + arguments, verbatim: words, machine.environment, say: say)
    throw execute(path: path, arguments: [Array("selftest".utf8)] + named.verbatim, environment: environment)
  }
}
