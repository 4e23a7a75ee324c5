import Glibc
import Launcher
import System
import TestSupport
import Testing

/// Programs that the kernel cannot start, and files of settings that are not files.
@Suite struct ScriptTests {
  static let scripts: [(String, String)] = [
    ("#!/bin/sh\r\necho hi\r\n", "carriage return, and so names the interpreter \"/bin/sh\r\""),
    ("#!/usr/bin/env python3\r\n", "carriage return"),
    ("#!/nonexistent/sh\n", "interpreter /nonexistent/sh cannot be run"),
    ("#!/usr/bin/env -S LC_ALL=C nosuchprogram -u\n", "interpreter nosuchprogram is not on the PATH"),
    ("echo hi\n", "has no #! line"), ("", "is empty"), ("#! \n", "names no interpreter"),
  ]

  @Test("a script without an interpreter is refused with 66, which names it", arguments: scripts, ["1", "2"])
  func bad(_ script: (text: String, says: String), ranks: String) throws {
    let folder = try temporaryFolder()
    defer { unlink("\(folder)/s"); rmdir(folder) }
    try writeAtomically(Array(script.text.utf8), to: "\(folder)/s")
    chmod("\(folder)/s", 0o755)
    let result = try launch("-n", ranks, "\(folder)/s")
    #expect(result.status == 66)
    let says = script.says.escapingControlCharacters
    #expect(result.error.hasPrefix("launch: error: \(folder)/s: ") && result.error.contains(says), "\(result.stderr)")
  }

  @Test("scripts that can be run are") func good() throws {
    let folder = try temporaryFolder()
    defer { unlink("\(folder)/s"); rmdir(folder) }
    for line in ["#!/bin/sh", "#! /usr/bin/env sh", "#!/usr/bin/env -S A=b sh -e"] {
      try writeAtomically(Array("\(line)\necho hi\n".utf8), to: "\(folder)/s")
      chmod("\(folder)/s", 0o755)
      #expect(try launch("-n", "1", "\(folder)/s").text == "hi\n")
    }
  }

  static let ways = [
    "--hostfile <(echo localhost slots=3)", "--hostfile /dev/stdin <<<'localhost slots=3'",
    "--hostfile=~/hosts", "--config_file=~/c.yaml",
    "--config_file <(printf 'mpirun_config: {mpirun_hostfile: ~/hosts}\\n')",
  ]

  @Test("a hostfile and a configuration file by a pipe, by standard input and by ~", arguments: ways)
  func streams(way: String) throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    try writeAtomically(Array("localhost slots=3\n".utf8), to: "\(folder)/hosts")
    try writeAtomically(Array("num_processes: 3\n".utf8), to: "\(folder)/c.yaml")
    let result = try run(
      "/bin/bash", ["-c", "\(binaries)/launch --dry_run \(way) true"], environment: ["HOME": folder])
    #expect(result.status == 0 && result.text.contains("--np 3 "), "\(result.text) \(result.stderr)")
  }
}
