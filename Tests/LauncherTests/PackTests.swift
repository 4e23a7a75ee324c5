import Glibc
import Launcher
import System
import Testing

@Suite(.serialized) struct PackTests {
  /// An environment in which nothing is found but the system's own programs.
  static let clean = [
    "-i", "PATH=/usr/bin:/bin", "HOME=/nonexistent", "OMPI_ALLOW_RUN_AS_ROOT=1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
  ]

  @Test func runsWithoutSwift() throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    let packed = "\(folder)/a b"
    let result = try launch("pack", packed)
    #expect(result.status == 0, "\(result.stderr)")
    for name in [
      "launch", "finetune", "inspect", "selftest", "hostfiles/two-hosts", "hostfiles/slurm.sbatch", "README",
    ] {
      #expect(exists("\(packed)/\(name)"), "\(name)")
    }
    #expect(!exists("\(packed)/manual-loop"), "examples are for reading")
    if try run("/usr/bin/env", ["which", "strip"]).status == 0 {
      #expect(result.text.contains("the programs have ") && !result.stderr.contains("symbols"), "\(result.stderr)")
      for name in ["launch", "finetune"] {
        let (built, stripped) = (try InputFile("\(binaries)/\(name)"), try InputFile("\(packed)/\(name)"))
        #expect(stripped.byteCount < built.byteCount * 9 / 10, "\(name)")
      }
    }
    // No library of Swift's is asked for.
    for name in ["launch", "finetune", "inspect", "selftest"] {
      let libraries = try run("/usr/bin/env", ["ldd", "\(packed)/\(name)"])
      #expect(libraries.status == 0 && !libraries.text.contains("swift"), "\(name): \(libraries.text)")
    }
    func clean(_ words: String...) throws -> RunResult {
      try run("/usr/bin/env", Self.clean + words)
    }
    let plain = try clean("mpirun", "-np", "2", "--bind-to", "none", "--oversubscribe", "\(packed)/selftest")
    #expect(plain.lines.last == SelftestTests.success, "\(plain.stderr)")
    let own = try clean("\(packed)/launch", "test", "-n", "2")
    #expect(own.lines.last == SelftestTests.success, "\(own.stderr)")
    // From the package itself, another can be made; both may not fit in a small /tmp.
    let again = "\(packageFolder)/.build/packed-again-\(getpid())"
    defer { _ = try? run("/bin/rm", ["-rf", again]) }
    let second = try clean("\(packed)/launch", "pack", again)
    #expect(second.status == 0, "\(second.stderr)")
  }

  @Test("without strip the programs are packed as they are, and that is said") func withoutStrip() throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    let result = try launch("pack", "\(folder)/p", environment: ["PATH": "/nonexistent"])
    #expect(result.status == 0)
    #expect(
      result.stderr
        == "launch: note: neither strip nor objcopy is on the PATH, so the programs keep their symbols (apt-get install binutils)\n"
    )
    #expect(try readBytes("\(folder)/p/inspect") == readBytes("\(binaries)/inspect"))
  }

  @Test func aFolderThatIsNotEmpty() throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    try writeAtomically([], to: "\(folder)/x")
    let result = try launch("pack", folder)
    #expect(result.status == 73)
    #expect(
      result.stderr == "launch: error: \(folder): is not empty, expected a new folder (remove it, or name another)\n")
    #expect(names(in: folder) == ["x"])
    #expect(try launch("pack", "/proc/x").status == 73)
  }
}

@Suite struct CompletionsTests {
  @Test func bash() throws {
    // What bash offers after `./launch co` and the like.
    let script = """
      source <(\(binaries)/launch completions bash)
      complete -p launch
      offer() {
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMPREPLY=()
        COMP_POINT=${#COMP_LINE}
        _launch launch "${!#}" ""
        printf '%s ' "${COMPREPLY[@]}"
        echo
      }
      offer launch co
      offer launch --num_p
      offer launch config explain --bind
      """
    let result = try run("/bin/bash", ["-c", script])
    try #require(result.lines.count == 4, "\(result.text) \(result.stderr)")
    #expect(result.lines[1].contains("config ") && result.lines[1].contains("completions "))
    #expect(result.lines[2].contains("--num_processes "))
    #expect(result.lines[3].contains("--binding "))
  }

  @Test func otherShells() throws {
    #expect(try launch("completions", "zsh").text.hasPrefix("#compdef launch\n"))
    #expect(try launch("completions", "fish").text.contains("complete -c 'launch' "))
    let bad = try launch("completions", "csh")
    #expect(bad.status == 64)
    #expect(bad.stderr == "launch: error: completions: \"csh\", expected bash, zsh or fish\n")
  }
}
