import Glibc
import Launcher
import System
import TestSupport
import Testing

/// Bad hostfiles and configuration files once more, through the launcher itself: the table's status, one line that names
/// file and line, nothing started, nothing left.
@Suite struct BadInputTests {
  /// Launches a program that leaves a mark, and says what is wrong with how it was refused; nil where all is well.
  func problem(
    _ options: [String], status: Int32 = 78, places: [String], says: String, in folder: String,
    environment: [String: String?] = [:]
  ) throws -> String? {
    let result = try run(
      "\(binaries)/launch", options + ["/usr/bin/touch", "\(folder)/mark"], environment: environment)
    if exists("\(folder)/mark") { return "started the program" }
    if result.status != status { return "status \(result.status): \(result.stderr)" }
    if !result.stdout.isEmpty { return "wrote \(result.text)" }
    if result.stderr.utf8.count(where: { $0 == 10 }) != 1 { return "not one line: \(result.stderr)" }
    for place in places where !result.stderr.contains(place) { return "\(place) is not in \(result.stderr)" }
    return result.stderr.contains(says) ? nil : "\(says) is not in \(result.stderr)"
  }

  func withFile<T>(_ name: String, _ bytes: [UInt8], _ body: (String, String) throws -> T) throws -> T {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    try writeAtomically(bytes, to: "\(folder)/\(name)")
    return try body(folder, "\(folder)/\(name)")
  }

  @Test("bad hostfiles are refused, with line and column", arguments: HostfileTests.bad)
  func hostfile(_ bad: HostfileTests.Bad) throws {
    let bytes = bad.row.hasSuffix("this machine") ? Array("localhost slots=1\n\(hostName) slots=1\n".utf8) : bad.bytes
    let found = try withFile("h", bytes) { folder, path in
      try problem(
        ["--hostfile", path], places: ["launch: error: \(path)\(bad.place.dropFirst())"], says: bad.says, in: folder)
    }
    #expect(found == nil)
  }

  @Test("bad configuration files are refused, with line and column", arguments: ConfigFileTests.bad)
  func configuration(_ bad: ConfigFileTests.Bad) throws {
    let found = try withFile("c.yaml", bad.bytes) { folder, path in
      try problem(
        ["--config_file", path], places: ["launch: error: \(path)\(bad.place)"], says: bad.says, in: folder)
    }
    #expect(found == nil)
  }

  @Test("files of settings that are missing, a folder, a device or a FIFO without a writer are refused")
  func unreadable() throws {
    try withFile("x", []) { folder, _ in
      mkfifo("\(folder)/fifo", 0o600)
      for flag in ["--hostfile", "--config_file"] {
        for (path, says) in [
          ("/nonexistent/f", "No such file"), (folder, "is a directory"), ("/dev/zero", "expected a file"),
          ("\(folder)/fifo", "expected a file"),
        ] {
          let found = try problem([flag, path], places: [path], says: says, in: folder)
          #expect(found == nil, "\(flag) \(path)")
        }
      }
    }
  }

  @Test(
    "a file of settings that may not be read is refused",
    .needs(.ordinaryUser))
  func unreadableMode() throws {
    try withFile("h", Array("a slots=1\n".utf8)) { folder, path in
      chmod(folder, 0o755)
      chmod(path, 0)
      for (flag, what) in [("--hostfile", "hostfile"), ("--config_file", "configuration file")] {
        let words = [flag, path, "/usr/bin/touch", "\(folder)/mark"]
        // Where the user may not reach the binaries, they cannot be run as nobody.
        let result =
          geteuid() != 0
          ? try run("\(binaries)/launch", words)
          : try run(
            "/usr/bin/env", ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "\(binaries)/launch"] + words)
        #expect(result.status == 78)
        #expect(
          result.stderr == "launch: error: \(path): the \(what) cannot be opened: Permission denied\n",
          "\(result.stderr)")
        #expect(!exists("\(folder)/mark"))
      }
    }
  }

  @Test("what is legal in a hostfile is taken, what is unwise is said") func legal() throws {
    try withFile("h", Array("localhost slots=2".utf8)) { folder, path in
      chmod(path, 0o666)
      let result = try launch("--hostfile", path, "sh", "-c", "echo $OMPI_COMM_WORLD_SIZE")
      #expect(result.text == "2\n2\n", "\(result.stderr)")
      #expect(
        result.stderr
          == "launch: note: \(path): everybody may write to it, and so decide where the job runs (chmod o-w)\n")
      try writeAtomically(Array("root@127.0.0.1 port=22 slots=1 max_slots=3\n".utf8), to: path)
      let dry = try launch("--dry_run", "--hostfile", path, "true")
      #expect(dry.text.contains("#   127.0.0.1 slots=1 username=root port=22\n"), "\(dry.text) \(dry.stderr)")
    }
  }

  @Test("ten megabytes, a line of one megabyte") func large() throws {
    let long = "lockstep:\n  log_dir: '" + String(repeating: "a", count: 1_000_000) + "'\nnum_proceses: 1\n"
    let found = try withFile("c", Array(long.utf8)) { folder, path in
      try problem(["--config_file", path], places: [path + ":3:1"], says: "did you mean num_processes?", in: folder)
    }
    #expect(found == nil)
    let huge = try withFile("c", [UInt8](repeating: UInt8(ascii: "#"), count: 10 << 20)) { folder, path in
      try problem(["--config_file", path], places: [path], says: "expected at most", in: folder)
    }
    #expect(huge == nil)
  }

  @Test(
    "characters of shells and options in hosts, paths and names run nothing",
    arguments: [
      ("mpirun_config:\n  mpirun_hostfile: 'a;b'\n", "a;b: the hostfile"),
      ("mpirun_config:\n  mpirun_hostfile: '$(touch x)'\n", "$(touch x): the hostfile"),
      ("lockstep:\n  log_dir: \"a\\nb\"\n", ":2:12: log_dir: \"a\\u{a}b\", expected no control characters"),
      ("lockstep:\n  network: ['-x']\n", ":2:13: network: \"-x\", expected a network"),
      ("lockstep:\n  network: eth0;id\n", ":2:12: network: \"eth0;id\", expected a network"),
      ("lockstep:\n  export: ['A=1']\n", ":2:12: export: \"A=1\", expected the name of a variable"),
      ("lockstep:\n  export: [--x]\n", ":2:12: export: \"--x\", expected the name"),
      ("lockstep:\n  exclude: [-oProxyCommand=x]\n", "starts with a dash"),
    ]) func oddCharacters(_ text: String, _ says: String) throws
  {
    let found = try withFile("c.yaml", Array(text.utf8)) { folder, path in
      try problem(["--config_file", path], places: [], says: says, in: folder)
    }
    #expect(found == nil)
  }

  @Test("more ranks than slots, said by flag, variable and file") func tooManyRanks() throws {
    try withFile("h", Array("localhost slots=2\n".utf8)) { folder, path in
      let says = "3 ranks, but \(path) has 2 slots on 1 host"
      let found = try problem(
        ["-n", "3", "--hostfile", path], status: 64, places: ["raise slots="], says: says, in: folder)
      #expect(found == nil)
      let variable = try problem(
        ["--hostfile", path], status: 64, places: ["raise slots="], says: says, in: folder,
        environment: ["LOCKSTEP_NUM_PROCESSES": "3"])
      #expect(variable == nil)
    }
  }

  @Test("processes that are not the slots are refused; a flag is stronger than the file") func disagreements() throws {
    try withFile("h", Array("localhost slots=2\n".utf8)) { folder, path in
      try writeAtomically(
        Array("num_processes: 3\nmpirun_config:\n  mpirun_hostfile: \(path)\n".utf8), to: "\(folder)/c")
      let found = try problem(
        ["--config_file", "\(folder)/c"], places: ["\(folder)/c:1: "],
        says: "num_processes is 3, but \(path) has 2 slots",
        in: folder)
      #expect(found == nil)
      let flag = try launch("--config_file", "\(folder)/c", "-n", "1", "sh", "-c", "echo $OMPI_COMM_WORLD_SIZE")
      #expect(flag.text == "1\n")
      #expect(
        flag.stderr.contains("note: num_processes is 1 (flag --num_processes); \(folder)/c:1 says 3"), "\(flag.stderr)")
    }
  }
}

/// What surrounds the launcher.
@Suite(.serialized) struct HostRequirementsTests {
  func withMPIRun<T>(_ script: String, _ body: (String) throws -> T) throws -> T {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    try writeAtomically(Array("#!/bin/sh\n\(script)\n".utf8), to: "\(folder)/mpirun")
    chmod("\(folder)/mpirun", 0o755)
    return try body("\(folder)/mpirun")
  }

  @Test("MPICH's mpirun is refused for programs of Open MPI") func otherMPI() throws {
    try withMPIRun("echo 'HYDRA build details:'; echo 'Version: 4.0.2'") { path in
      let own = try launch("-n", "2", "--mpirun", path, "finetune")
      #expect(own.status == 69)
      #expect(
        own.stderr
          == "launch: error: \(path): is MPICH's, but finetune is built with Open MPI (name Open MPI's with --mpirun PATH)\n"
      )
      let other = try launch("--dry_run", "-n", "2", "sh", environment: ["LOCKSTEP_MPIRUN": path])
      #expect(other.text.contains("  -n 2 ") && other.text.contains("# MPICH\n"), "\(other.text)")
    }
  }

  @Test("an mpirun of another kind, that does not answer or cannot be started is refused") func unknownMPI() throws {
    try withMPIRun("") { path in
      try writeAtomically(Array("no program\n".utf8), to: path)
      chmod(path, 0o755)
      let result = try launch("-n", "2", "--mpirun", path, "true")
      #expect(result.status == 69)
      #expect(result.stderr == "launch: error: \(path): cannot be started: Exec format error\n")
    }
    try withMPIRun("echo LAM 7.1") { path in
      let result = try launch("-n", "2", "--mpirun", path, "true")
      #expect(result.status == 69)
      #expect(
        result.stderr
          == "launch: error: \(path): says \"LAM 7.1\", expected Open MPI, MPICH or Intel MPI (name another with --mpirun PATH)\n"
      )
    }
    try withMPIRun("exec sleep 600") { path in
      let result = try launch("-n", "2", "--mpirun", path, "true")
      #expect(result.status == 69)
      #expect(result.stderr.contains("does not say its version within 10 s"))
    }
    #expect(try launch("-n", "2", "--mpirun", "/nonexistent/mpirun", "true").status == 66)
  }

  @Test(
    "ranks that another MPI started say so",
    .enabled(if: PlanRunTests.has(.mpich), "no mpirun of MPICH; LOCKSTEP_MPIRUNS may name one"))
  func singletons() throws {
    let result = try run(#require(RealMPI.found[.mpich]), ["-n", "2", "\(binaries)/selftest"])
    #expect(result.status != 0)
    #expect(result.stderr.contains("MPI found 1 rank, the launcher started 2"), "\(result.stderr)")
  }

  /// A stand-in, for one version is here: an mpirun whose ranks do not find one another, as those of another version do.
  @Test("mpirun and MPI's library are of different versions") func otherVersion() throws {
    let script = """
      [ "$1" = --version ] && echo 'mpirun (Open MPI) 5.0.3' && exit
      while [ "${1##*/}" != launch ]; do shift; done
      for rank in 0 1; do OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=$rank "$@" & done; wait $!
      """
    try withMPIRun(script) { path in
      let result = try launch("-n", "2", "--mpirun", path, "selftest")
      result.expect(69, says: "ended with status 69")
      #expect(
        result.stderr.contains(
          "MPI found 1 rank, the launcher started 2 (the launcher must belong to this Open MPI;"), "\(result.stderr)")
    }
  }

  @Test("variables of Open MPI that would change what a job means") func foreignVariables() throws {
    let abort = try launch(
      "-n", "2", "sh", "-c", "exit 5", environment: ["OMPI_MCA_orte_abort_on_non_zero_status": "0"])
    #expect(abort.status == 5)
    #expect(
      abort.stderr.contains(
        "note: OMPI_MCA_orte_abort_on_non_zero_status=0 (variable) is not in force: the launcher sets 1"))
    let timeout = try launch("-n", "2", "sleep", "1.5", environment: ["MPIEXEC_TIMEOUT": "1"])
    #expect(timeout.status == 0)
    #expect(timeout.stderr.contains("note: MPIEXEC_TIMEOUT=1 (variable) is not passed on"))
    let wrong = try launch("-n", "2", "selftest", environment: ["OMPI_MCA_btl": "nosuch", "OMPI_MCA_pml": "ob1"])
    #expect(wrong.status != 0)
    #expect(wrong.stderr.contains("note: OMPI_MCA_btl=nosuch (variable) is in force"))
  }

  @Test("as root it is asked for by name; Open MPI alone would refuse", .needs(.root))
  func root() throws {
    let dry = try launch("--dry_run", "-n", "2", "true")
    #expect(dry.text.contains("--allow-run-as-root"))
    let result = try launch(
      "-n", "2", "true", environment: ["OMPI_ALLOW_RUN_AS_ROOT": nil, "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": nil])
    #expect(result.status == 0, "\(result.stderr)")
  }

  @Test("paths with odd characters; TMPDIR of 120 characters, and missing") func oddPaths() throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    let odd = "\(folder)/it's a \"$(x)\" ä; -x"
    try makeDirectory(odd)
    try writeAtomically(Array("#!/bin/sh\npwd\nprintf '%s\\n' \"$V\" \"$@\"\n".utf8), to: "\(odd)/-p *")
    chmod("\(odd)/-p *", 0o755)
    let result = try launch(
      "-n", "2", "--working_folder", odd, "--export", "V", "\(odd)/-p *", "a b", "$(y)", environment: ["V": "it's; $z"])
    #expect(result.status == 0, "\(result.stderr)")
    #expect(result.lines.sorted() == [odd, odd, "it's; $z", "it's; $z", "a b", "a b", "$(y)", "$(y)"].sorted())
    let long = "\(folder)/" + String(repeating: "t", count: 120)
    try makeDirectory(long)
    for temporary in [long, "\(folder)/missing/tmp"] {
      let result = try launch("-n", "2", "selftest", "network", environment: ["TMPDIR": temporary])
      #expect(result.status == 0, "\(temporary): \(result.stderr)")
    }
  }
}
