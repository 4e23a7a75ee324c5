import System
import TestSupport

/// The commands in the fenced blocks of README.md and docs/.
enum DocumentedCommands {
  static let root = parent(of: parent(of: Golden.folder))

  static let pages =
    ["README.md"]
    + TemporaryFolder.entries("\(root)/docs").filter { $0.hasSuffix(".md") }.map { "docs/\($0)" }

  /// A command that is not run here, by how it begins, with the file of the tests that run such.
  static let elsewhere: [(start: String, tests: String)] = [
    ("Tests/run", "Tests/run"),
    ("./launch check --hostfile", "Tests/LauncherTests/CheckTests.swift"),
    ("./launch test --hostfile", "Tests/LauncherTests/CheckTests.swift"),
    ("./launch --hostfile", "Tests/LauncherTests/ClusterTests.swift"),
    ("./launch --config_file hostfiles/two-hosts.yaml --exclude", "Tests/LauncherTests/ClusterTests.swift"),
    ("sbatch hostfiles/slurm.sbatch", "Tests/LauncherTests/SlurmTests.swift"),
    ("LOCKSTEP_STARTER=srun sbatch", "Tests/LauncherTests/SlurmTests.swift"),
    ("./launch --num_processes 1 --debugger gdb", "Tests/LauncherTests/OutputTests.swift"),
    ("./launch --num_processes 2 --debugger gdb", "Tests/LauncherTests/OutputTests.swift"),
    ("swift build -c release -Xcc", "Tests/FinetuneTests/DependentTests.swift"),
    (".build/checkouts/lockstep/launch", "Tests/FinetuneTests/DependentTests.swift"),
    ("Tests/Cluster/with-hosts 2 bash", "Tests/FinetuneTests/BenchTests.swift"),
  ]

  /// Blocks that are no commands, by how they begin.
  static let texts = [
    "launch: error: rank 1", "programs ─▶ Lockstep", "flags, variables, file", "error   host node2", "{\"epoch\":",
    "finetune: error: the ranks",
  ]

  /// What stands for what: placeholders, and numbers that take a test too long.
  private static let replaced: [(String, String)] = [
    ("…", ""), ("[", ""), ("]", ""), ("NAME", "acme/tiny"), ("/shared/lockstep", "shared/lockstep"),
    ("--output-dir /tmp", "--output-dir . --steps 2 --rounds 1"), ("--steps 20", "--steps 2"),
    ("--checkpointing-steps 50", "--checkpointing-steps 1"),
    // More threads than many machines have cores.
    ("--num_cpu_threads_per_process 4", "--num_cpu_threads_per_process 1"),
    ("bench gemm", "bench gemm --repetitions 2"),
    ("bench kernels", "bench kernels --tokens 24 --hidden-size 32 --repetitions 2 --parameters 1000 --length 9"),
    ("bench predict", "bench predict --rounds 1"),
  ]

  /// The command with small numbers: trainings take two steps.
  static func shortened(_ command: String) -> String {
    var text = command == "./launch" ? "./launch finetune" : command
    for (from, to) in replaced { text = text.replacing(from, with: to) }
    let isTraining = text.contains(" finetune") || text.contains("/finetune")
    let isOther = ["verify-equivalence", "--dry-run", " check "].contains { text.contains($0) }
    return isTraining && !isOther ? "\(text) --max-steps 2" : text
  }

  /// A fenced block without its fences.
  struct Block {
    var page: String
    var lines: [String]

    /// Its commands: behind `$ ` where there is one, all lines where one begins as a command; empty for a text.
    var commands: [String] {
      let shown = lines.filter { $0.hasPrefix("$ ") }
      if !shown.isEmpty { return DocumentedCommands.joined(shown.map { String($0.dropFirst(2)) }) }
      return lines.contains(where: DocumentedCommands.isCommand) ? DocumentedCommands.joined(lines) : []
    }
  }

  /// The blocks of a page that are in no language, or in the shell's.
  static func blocks(_ page: String) throws -> [Block] {
    let text = try String(decoding: readBytes("\(root)/\(page)"), as: UTF8.self)
    var blocks: [Block] = []
    var open: Block?
    var language = Substring()
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      guard line.hasPrefix("```") else {
        open?.lines.append(String(line))
        continue
      }
      if let block = open {
        if language.isEmpty || language == "sh" { blocks.append(block) }
        open = nil
      } else {
        language = line.dropFirst(3)
        open = Block(page: page, lines: [])
      }
    }
    return blocks
  }

  private static let starts = ["./", "Tests/", "Benchmarks/", ".build/", "LOCKSTEP_"]
  private static let programs = ["mpirun", "sbatch", "srun", "source", "swift", "printf", "git", "apt-get", "python3"]

  private static func isCommand(_ line: String) -> Bool {
    starts.contains { line.hasPrefix($0) } || programs.contains { line.hasPrefix("\($0) ") }
  }

  /// Lines as one where they end with a backslash or inside quotes; without comments.
  private static func joined(_ lines: [String]) -> [String] {
    var commands: [String] = []
    var rest = ""
    for line in lines where !(line.isEmpty && rest.isEmpty) {
      let end = line.firstRange(of: " # ")?.lowerBound ?? line.endIndex
      rest += (rest.isEmpty ? "" : "\n") + String(line[..<end]).trimmedAtEnd
      if rest.hasSuffix("\\") || rest.utf8.count(where: { $0 == UInt8(ascii: "'") }) % 2 == 1 { continue }
      commands.append(rest)
      rest = ""
    }
    return rest.isEmpty ? commands : commands + [rest]
  }
}

extension String {
  fileprivate var trimmedAtEnd: String {
    var text = self
    while text.last == " " { text.removeLast() }
    return text
  }
}
