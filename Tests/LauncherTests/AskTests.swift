import Glibc
import Launcher
import System
import TestSupport
import Testing

/// The questions of `config`, answered through a pipe and on a terminal.
@Suite struct AskTests {
  /// Runs `config` with `answers`, and returns what it printed with the file that it wrote.
  func ask(_ answers: String, present: String? = nil, hosts: String = "node1 slots=2\nnode2\n") throws -> (
    result: RunResult, file: ConfigFile?, folder: String
  ) {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    try writeAtomically(Array(hosts.utf8), to: "\(folder)/hosts")
    try writeAtomically(Array(answers.replacing("FOLDER", with: folder).utf8), to: "\(folder)/answers")
    if let present { try writeAtomically(Array(present.utf8), to: "\(folder)/c.yaml") }
    let result = try run(
      "/bin/sh", ["-c", "exec \(binaries)/launch config --config_file \(folder)/c.yaml <\(folder)/answers"])
    let file = exists("\(folder)/c.yaml") ? try ConfigFile(path: "\(folder)/c.yaml") : nil
    return (result, file, folder)
  }

  @Test func thisMachine() throws {
    let (result, file, folder) = try ask("\n3\n\nbf16\n")
    #expect(result.status == 0, "\(result.stderr)")
    #expect(result.text.hasSuffix("configuration saved at \(folder)/c.yaml\n"))
    #expect(
      file?.plainValues == [
        "num_machines": .integer(1), "num_processes": .integer(3), "mixed_precision": .text("bf16"),
      ])
  }

  @Test func enterTakesWhatStandsInBrackets() throws {
    let (result, file, _) = try ask("\n\n\n\n")
    #expect(result.status == 0)
    let ranks = LaunchPlan.defaultRanks(cores: Cores.ofThisProcess().usable)
    #expect(result.text.contains("Ranks on this machine [\(ranks)]: "))
    #expect(file?.plainValues["num_processes"] == .integer(ranks))
    #expect(file?.plainValues["mixed_precision"] == .text("no"))
  }

  @Test func severalMachines() throws {
    let (result, file, folder) = try ask("FOLDER/hosts\n4\n10.0.0.0/24\n\n2222\n\n2\n\n")
    #expect(result.status == 0, "\(result.text) \(result.stderr)")
    #expect(
      file?.plainValues == [
        "mpirun_hostfile": .text("\(folder)/hosts"), "ranks_per_host": .integer(4), "network": .list(["10.0.0.0/24"]),
        "ssh_port": .integer(2222), "num_cpu_threads_per_process": .integer(2), "mixed_precision": .text("no"),
      ])
  }

  @Test func mistakesAreAskedAgain() throws {
    let (result, file, _) = try ask("/nonexistent/h\n\r\n0\n-3\ntwo\n 2 \r\n\nfp16\nno\n")
    #expect(result.status == 0, "\(result.stderr)")
    #expect(result.text.contains("  /nonexistent/h: the hostfile cannot be opened"))
    #expect(result.text.contains("num_processes: \"0\", expected a whole number from 1"))
    #expect(result.text.contains("num_processes: \"two\", expected"))
    #expect(result.text.contains("fp16 needs a GPU; CPUs have bf16"))
    #expect(file?.plainValues["num_processes"] == .integer(2))
  }

  @Test func aPresentFileIsTheAnswerToEnter() throws {
    let present = "num_processes: 7\nmixed_precision: bf16\nlockstep:\n  threads_per_rank: 5\n  log_dir: /tmp/l\n"
    let (_, kept, _) = try ask("\n\n\n\n", present: present)
    #expect(
      kept?.plainValues == [
        "num_machines": .integer(1), "num_processes": .integer(7), "mixed_precision": .text("bf16"),
        "num_cpu_threads_per_process": .integer(5), "log_dir": .text("/tmp/l"),
      ])
    let (_, changed, _) = try ask("\n\n-\n\n", present: present)
    #expect(changed?.plainValues["num_cpu_threads_per_process"] == nil)
  }

  @Test func answersThatEnd() throws {
    let (result, file, _) = try ask("\n2")
    #expect(result.status == 64)
    #expect(
      result.stderr == "launch: error: the answers ended early, expected one a line (config default asks nothing)\n")
    #expect(file == nil)
  }

  /// On a terminal, each answer typed after its question.
  @Test(.needs(.terminal, .program("python3"))) func onATerminal() throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    let script = """
      import os, pty, sys
      answers = [b"\\n", b"2\\n", b"\\n", b"no\\n"]
      pid, terminal = pty.fork()
      if pid == 0: os.execv(sys.argv[1], ["launch", "config", "--config_file", sys.argv[2]])
      text = b""
      while True:
        try: piece = os.read(terminal, 4096)
        except OSError: break
        if not piece: break
        text += piece
        if text.endswith(b": ") and answers: os.write(terminal, answers.pop(0))
      sys.stdout.buffer.write(text)
      sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
      """
    let result = try run("/usr/bin/env", ["python3", "-c", script, "\(binaries)/launch", "\(folder)/c.yaml"])
    #expect(result.status == 0, "\(result.text) \(result.stderr)")
    #expect(result.text.contains("configuration saved at \(folder)/c.yaml"))
    #expect(try ConfigFile(path: "\(folder)/c.yaml").plainValues["num_processes"] == .integer(2))
  }
}
