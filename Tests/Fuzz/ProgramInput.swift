import Glibc
import System
import TestSupport

/// How a program of the package comes to read an input.
enum ProgramInput: Sendable {
  /// `finetune` with this file in the data folder; the other files are GLUE's, or these.
  case data(String, others: [(name: String, bytes: [UInt8])] = [])
  /// `finetune` with this file in the model's folder. Samples are given where the reader's own do not fit that model.
  case model(String, samples: [[UInt8]]? = nil)
  /// `launch --dry-run` on these hosts.
  case hostfile
  /// `launch config explain` of this file.
  case configuration
  /// `launch --dry-run` with these variables, a line each.
  case slurm

  /// The inputs to change.
  func samples(of reader: Reader) -> [[UInt8]] {
    if case .model(_, let samples?) = self { return samples }
    return reader.samples
  }

  /// The arguments and variables with which a program reads `input`.
  func command(_ input: [UInt8], _ workspace: Workspace) throws -> (arguments: [String], variables: [String: String]) {
    let finetune = [try Program.built("finetune"), "--max-steps", "1", "--batch-size", "2", "--eval-batch-size", "64"]
    let launch = try Program.built("launch")
    let dryRun = ["--num_processes", "2", "--dry_run", "finetune"]
    let (model, data) = ("\(Golden.folder)/tiny-bert", "\(Golden.folder)/mrpc")
    switch self {
    case .data(let name, let others):
      // A folder has one file for a split.
      var files = others.isEmpty ? [("dev.tsv", try readBytes("\(data)/dev.tsv"))] : others.map { ($0.name, $0.bytes) }
      files.removeAll { $0.0 == name }
      let folder = try workspace.folder("data", files: files.map { (name: $0.0, bytes: $0.1) }, changed: (name, input))
      return (finetune + ["--model", model, "--data", folder], [:])
    case .model(let name, _):
      let skipped = name == "model.safetensors.index.json" ? "model.safetensors" : ""
      var files: [(name: String, bytes: [UInt8])] = []
      for file in TemporaryFolder.entries(model) where file != skipped {
        files.append((file, try readBytes("\(model)/\(file)")))
      }
      let folder = try workspace.folder("model", files: files, changed: (name, input))
      return (finetune + ["--model", folder, "--data", data], [:])
    case .hostfile:
      return ([launch, "--hostfile", try workspace.write(input, "hosts")] + dryRun, [:])
    case .configuration:
      return ([launch, "config", "explain", "--config_file", try workspace.write(input, "config.yaml")], [:])
    case .slurm:
      let lines = String(decoding: input.map { $0 == 0 ? 1 : $0 }, as: UTF8.self).split(
        separator: "\n", omittingEmptySubsequences: false)
      let names = ["SLURM_JOB_NODELIST", "SLURM_TASKS_PER_NODE", "SLURM_CPUS_PER_TASK"]
      var variables = ["SLURM_JOB_ID": "1"]
      for (name, line) in zip(names, lines) { variables[name] = String(line.prefix(100_000)) }
      return ([launch, "--dry_run", "finetune"], variables)
    }
  }
}

extension Child {
  /// The most memory that a program may take: what training the smallest model does, and more than a file of these sizes
  /// needs.
  private static let programBytes = 600 << 20
  private static let programSeconds = 60.0

  /// Gives inputs to the real programs, one after the other.
  func runPrograms(_ numbers: Range<Int>) throws {
    guard let program = reader.program else { return }
    var reader = reader
    reader.samples = program.samples(of: reader)
    for index in numbers {
      progress.counts.number = index
      // Every tenth, so that there are large ones among few.
      let input = reader.input(10 * index + 9, seed: seed)
      let (arguments, variables) = try program.command(input, workspace)
      let outcome = try Program.run(arguments, variables: variables, seconds: Self.programSeconds)
      try check(outcome)
      if outcome.status == 0 { progress.counts.accepted += 1 } else { progress.counts.refused += 1 }
      if outcome.seconds > progress.counts.slowestSeconds {
        progress.counts.slowestSeconds = outcome.seconds
        progress.counts.slowestNumber = index
      }
      var usage = rusage()
      getrusage(__rusage_who_t(RUSAGE_CHILDREN.rawValue), &usage)
      guard usage.ru_maxrss << 10 <= Self.programBytes else { throw Wrong("\(usage.ru_maxrss << 10) bytes of memory") }
    }
  }

  private func check(_ outcome: Program.Outcome) throws {
    let status = ExitStatus(rawValue: outcome.status)
    let isKnown = ExitStatus.allCases.contains(status) && status != .internalError
    guard isKnown else { throw Wrong("status \(outcome.status): \(outcome.errors.suffix(300))") }
    guard outcome.seconds < Self.programSeconds else { throw Wrong("\(outcome.seconds) seconds") }
    guard outcome.left.isEmpty else { throw Wrong("processes \(outcome.left) are left") }
    guard outcome.status == 0 || !outcome.errors.isEmpty else { throw Wrong("status \(outcome.status) without a word") }
    let shown = (outcome.output + outcome.errors).unicodeScalars
    guard shown.allSatisfy({ $0 == "\n" || $0.properties.generalCategory != .control }) else {
      throw Wrong(
        "control characters on the terminal: \((outcome.output + outcome.errors).debugDescription.suffix(300))")
    }
  }
}
