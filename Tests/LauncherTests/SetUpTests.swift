import Glibc
import Launcher
import System
import TestSupport
import Testing

/// The scripts around the build, with a PATH on which packages are missing.
@Suite struct SetUpTests {
  /// Runs `script` after sourcing `tools/set-up`, with nothing on the PATH but `programs`, as a user who is not root.
  func run(_ script: String, programs: [String]) throws -> RunResult {
    let folder = try temporaryFolder()
    defer {
      for name in names(in: folder) { unlink("\(folder)/\(name)") }
      rmdir(folder)
    }
    chmod(folder, 0o755)
    for name in programs where !name.hasPrefix("apt-get") {
      // What this machine has not got is only looked for.
      let path = exists("/usr/bin/\(name)") ? "/usr/bin/\(name)" : "/usr/bin/true"
      symlink(path, "\(folder)/\(name)")
    }
    if programs.contains("apt-get") {
      try writeAtomically(Array("#!/usr/bin/bash\necho apt-get ran: \"$@\"\n".utf8), to: "\(folder)/apt-get")
      chmod("\(folder)/apt-get", 0o755)
    }
    let text = "cd \(packageFolder); source tools/set-up; PATH=\(folder); \(script)"
    return try LauncherTests.run("/usr/bin/bash", ["-c", text])
  }

  @Test func whatIsMissingIsListed() throws {
    let none = try run("missing_packages", programs: [])
    let expected = [
      "g++ binutils", "pkg-config", "libopenmpi-dev", "libopenblas-dev", "libyaml-dev", "zlib1g-dev", "openmpi-bin",
    ]
    #expect(none.lines == expected)
    let some = try run("missing_packages", programs: ["g++", "ld.gold", "pkg-config", "mpirun"])
    #expect(some.lines.isEmpty, "\(some.lines)")
    let tests = try run("missing_test_packages", programs: ["ip", "pgrep", "unshare"])
    let expectedForTests = [
      "iproute2", "openssh-client", "python3", "strace", "gdb-minimal", "bsdutils", "util-linux", "mount", "hostname",
    ]
    // A library, which every system finds in its own way.
    #expect(tests.lines.filter { $0 != "libcurl4" } == expectedForTests)
  }

  @Test func whatOnlyTestsNeedMayBeMissing() throws {
    let result = try run("install_missing_for_tests; echo went on", programs: [])
    #expect(result.text == "went on\n")
    #expect(result.stderr.contains("what Debian calls iproute2 ") && result.stderr.contains("are skipped"))
  }

  @Test func elsewhereTheNamesAreTold() throws {
    let result = try run("install_missing; echo went on", programs: ["g++", "ld.gold", "pkg-config"])
    #expect(result.status == 69)
    #expect(result.stderr.contains("what Debian calls openmpi-bin"))
    #expect(result.stdout.isEmpty)
  }

  @Test(.needs(.root)) func rootInstallsAndSaysSo() throws {
    let result = try run(
      "install_missing && echo went on",
      programs: ["g++", "ld.gold", "pkg-config", "env", "bash", "apt-get"])
    #expect(result.text == "went on\n")
    #expect(result.stderr.contains("+ apt-get install -y --no-install-recommends openmpi-bin"), "\(result.stderr)")
    #expect(result.stderr.contains("apt-get ran: install -y --no-install-recommends openmpi-bin"))
  }

  /// Runs `script` in a folder with sources and a launcher; `built` prints whether that is the one of the sources, and
  /// `note` says so.
  func stamps(_ script: String) throws -> RunResult {
    let folder = try temporaryFolder()
    defer { _ = try? LauncherTests.run("/bin/rm", ["-rf", folder]) }
    let begin = """
      source \(packageFolder)/tools/set-up; cd \(folder); mkdir -p Sources/a .build/release
      touch -d '-1 minute' Package.swift Sources/a/b
      printf '#!/bin/sh\\n' >.build/release/launch; chmod +x .build/release/launch
      built() { if is_built; then echo yes; else echo no; fi; }
      note() { { echo "swift=$(type -P swift)"; fingerprint; } >$stamp; }

      """
    return try LauncherTests.run("/usr/bin/bash", ["-c", begin + script])
  }

  @Test func stampFollowsSourcesAndTarget() throws {
    let result = try stamps(
      """
      built; note; built
      LOCKSTEP_MARCH=x86-64-v3 built; built
      sleep 0.02; touch Sources/a/b; built; sleep 0.02; note; built
      sleep 0.02; rm Sources/a/b; built
      """)
    #expect(result.lines == ["no", "yes", "no", "yes", "no", "yes", "no"], "\(result.stderr)")
  }

  @Test("a source that is dated in the future is built once, and again when it changes") func future() throws {
    let result = try stamps(
      """
      touch -d '+1 hour' Sources/a/b; note; built; built
      touch -d '+2 hours' Sources/a/b; built; note; built; touch Sources/a/c; built
      """)
    #expect(result.lines == ["yes", "yes", "no", "yes", "no"], "\(result.stderr)")
  }

  @Test("a named target is the same on another CPU") func namedTarget() throws {
    let result = try stamps("LOCKSTEP_MARCH=x86-64-v3 fingerprint | head -1; fingerprint | head -1 | wc -w")
    #expect(result.lines.first == "march=x86-64-v3")
    #expect((result.lines.last.flatMap { Int($0) } ?? 0) > 10)
  }

  @Test("what is built is started without Swift, and with another one is built again") func noSwift() throws {
    let result = try stamps(
      """
      mkdir bin other; printf '#!/bin/sh\\n' >bin/swift; cp bin/swift other; chmod +x bin/swift other/swift
      mkdir tools; for name in find sort; do ln -s "$(type -P $name)" tools; done
      PATH=$PWD/bin:$PWD/tools; note; built
      PATH=$PWD/tools; built
      PATH=$PWD/other:$PWD/tools; built
      """)
    #expect(result.lines == ["yes", "yes", "no"], "\(result.stderr)")
  }

  /// The script `launch` beside a launcher that says how it was started.
  static let starts = [
    "CDPATH=/tmp PACKAGE/launch --dry-run",
    "mkdir -p PACKAGE/else/package && cd PACKAGE/.. && CDPATH=PACKAGE/else package/launch --dry-run",
    "sh PACKAGE/launch --dry-run", "bash PACKAGE/launch --dry-run", "bash --posix PACKAGE/launch --dry-run",
    "cd PACKAGE && sh launch --dry-run", "BASH_ENV=/dev/stdin PACKAGE/launch --dry-run <<<'echo noise'",
    "cd() { echo noise; }; export -f cd; PACKAGE/launch --dry-run",
    "env -i PACKAGE/launch --dry-run", "PATH= PACKAGE/launch --dry-run",
    "export SHELLOPTS; set -e -f; PACKAGE/launch --dry-run",
    "POSIXLY_CORRECT=1 IFS=/ PACKAGE/launch --dry-run",
  ]

  @Test("any shell and any environment of a shell starts the launcher", arguments: starts) func shells(start: String)
    throws
  {
    let folder = try temporaryFolder()
    defer { _ = try? LauncherTests.run("/bin/rm", ["-rf", folder]) }
    let script = """
      mkdir -p \(folder)/package/.build/release \(folder)/package/Sources
      cd \(folder)/package; cp -r \(packageFolder)/launch \(packageFolder)/tools .; touch -d '-1 minute' Package.swift
      printf '#!/bin/sh\\necho started "$@" in $PWD\\n' >.build/release/launch; chmod +x .build/release/launch
      (source tools/set-up; { echo "swift=$(type -P swift)"; fingerprint; } >$stamp)
      cd /; \(start.split(separator: "PACKAGE", omittingEmptySubsequences: false).joined(separator: "\(folder)/package"))
      """
    let result = try LauncherTests.run("/usr/bin/bash", ["-c", script])
    let place = start.contains("/..") ? folder : start.hasPrefix("cd PACKAGE ") ? "\(folder)/package" : "/"
    #expect(result.text == "started --dry-run in \(place)\n", "\(result.text) \(result.stderr)")
    #expect(result.status == 0)
  }
}
