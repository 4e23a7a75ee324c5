import FileSystem
import Glibc
import Launcher
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
    for name in programs where !name.hasPrefix("apt-get") { symlink("/usr/bin/\(name)", "\(folder)/\(name)") }
    if programs.contains("apt-get") {
      try writeAtomically(Array("#!/usr/bin/bash\necho apt-get ran: \"$@\"\n".utf8), to: "\(folder)/apt-get")
      chmod("\(folder)/apt-get", 0o755)
    }
    let text = "cd \(packageFolder); source tools/set-up; PATH=\(folder); \(script)"
    return try LauncherTests.run("/usr/bin/bash", ["-c", text])
  }

  @Test func whatIsMissingIsListed() throws {
    let none = try run("missing_packages", programs: [])
    #expect(none.lines == ["g++ binutils", "pkg-config", "libopenmpi-dev", "libopenblas-dev", "openmpi-bin"])
    let some = try run("missing_packages", programs: ["g++", "ld.gold", "pkg-config", "mpirun"])
    #expect(some.lines.isEmpty, "\(some.lines)")
    let tests = try run("missing_test_packages", programs: ["ip", "pgrep", "unshare"])
    let expected = [
      "iproute2", "openssh-client", "python3", "strace", "gdb-minimal", "bsdutils", "util-linux", "mount", "hostname",
    ]
    #expect(tests.lines == expected)
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

  @Test func stampFollowsSourcesAndTarget() throws {
    let folder = try temporaryFolder()
    defer { _ = try? LauncherTests.run("/bin/rm", ["-rf", folder]) }
    let script = """
      source \(packageFolder)/tools/set-up; cd \(folder); mkdir -p Sources/a .build/release; touch Package.swift Sources/a/b
      printf '#!/bin/sh\\n' >.build/release/launch; chmod +x .build/release/launch
      say_built() { if is_built; then echo yes; else echo no; fi; }
      compute_fingerprint; say_built; sleep 0.02
      echo "$fingerprint" >$stamp; say_built
      LOCKSTEP_MARCH=x86-64-v3 compute_fingerprint; say_built; compute_fingerprint; say_built
      sleep 0.02; touch Sources/a/b; say_built; echo "$fingerprint" >$stamp; say_built
      sleep 0.02; rm Sources/a/b; say_built
      """
    let result = try LauncherTests.run("/usr/bin/bash", ["-c", script])
    #expect(result.lines == ["no", "yes", "no", "yes", "no", "yes", "no"], "\(result.stderr)")
  }
}
