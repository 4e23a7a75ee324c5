import Glibc
import Launcher
import System
import Testing

/// Jobs by every kind of mpirun that this machine has: their ends are told alike. Of programs without MPI, since the
/// package's own are built with one kind.
@Suite(.serialized) struct FlavourJobTests {
  /// Rank 1 does what follows, rank 0 sleeps.
  static let one = "[ ${OMPI_COMM_WORLD_RANK-$PMI_RANK} = 1 ] || exec sleep 600; "
  static let found = MPIFlavour.allCases.filter { RealMPI.found[$0] != nil }

  func start(_ flavour: MPIFlavour, _ words: [String]) throws -> Running {
    let mpirun = try #require(RealMPI.found[flavour])
    return try Running("\(binaries)/launch", (["--mpirun", mpirun, "-n", "2"] + words).map { Array($0.utf8) })
  }

  @Test("a rank's own status, and its signals", arguments: found) func failures(flavour: MPIFlavour) throws {
    let ends: [(how: String, status: Int32, said: String)] = [
      ("exit 65", 65, "ended with status 65; "), ("kill -9 $$", 75, "ended by signal 9 (SIGKILL)"),
      ("kill -SEGV $$", 70, "ended by signal 11 (SIGSEGV)"),
    ]
    for end in ends {
      let running = try start(flavour, ["sh", "-c", Self.one + end.how])
      let result = running.finish()
      #expect(result.status == end.status, "\(flavour) \(end.how): \(result.stderr)")
      #expect(result.seconds < 40, "\(flavour) \(end.how)")
      // That line alone: what mpirun says of it is left out.
      #expect(result.stderr.hasPrefix("launch: error: rank 1 (host \(hostName), pid "), "\(flavour): \(result.stderr)")
      #expect(result.stderr.contains(end.said) && result.stderr.utf8.count { $0 == 10 } == 1, "\(result.stderr)")
      #expect(running.job.all.isEmpty)
    }
    #expect(try start(flavour, ["true"]).finish().status == 0)
  }

  @Test("what ranks write arrives as it is", arguments: found) func output(flavour: MPIFlavour) throws {
    // Slowly at first: lines of both ranks arrive in turn.
    let script = """
      i=0; while [ $i -lt 2000 ]; do echo line $i; echo; i=$((i + 1)); [ $i -gt 20 ] || sleep 0.05; done
      printf 'a\\0\\n\\001LS\\002\\012'
      """
    let running = try start(flavour, ["--tee", "sh", "-c", script])
    let result = running.finish()
    for rank in 0..<2 {
      let label = Array("[\(rank) \(hostName)] ".utf8)
      let lines = result.stdout.split(separator: 10, omittingEmptySubsequences: false).filter { $0.starts(with: label) }
      var expected: [[UInt8]] = []
      for index in 0..<2000 { expected += [Array("line \(index)".utf8), []] }
      expected += [[0x61, 0], [1, 0x4C, 0x53, 2]]
      #expect(lines.map { Array($0.dropFirst(label.count)) } == expected, "\(flavour)")
    }
    #expect(result.stdout.count { $0 == 10 } == 2 * 4002 && result.stderr.isEmpty, "\(flavour): \(result.stderr)")
  }

  @Test("signals, once and twice", arguments: found) func signals(flavour: MPIFlavour) throws {
    for times in [1, 2] {
      let trap = times == 1 ? "" : "trap '' TERM INT; "
      let running = try start(flavour, ["sh", "-c", trap + StopTests.stubborn + "; sleep 600"])
      try #require(running.wait { running.output().utf8.filter { $0 == 10 }.count == 2 })
      usleep(500_000)
      kill(running.child.pid, SIGINT)
      if times == 2 {
        usleep(300_000)
        kill(running.child.pid, SIGINT)
      }
      let result = running.finish()
      #expect(result.status == 130 && result.seconds < 40, "\(flavour): \(result.stderr)")
      #expect(running.job.all.isEmpty, "\(flavour)")
    }
  }

  @Test("kill -9 of the launcher or of mpirun leaves nothing", arguments: found, [true, false]) func killed(
    flavour: MPIFlavour, isLauncher: Bool
  ) throws {
    func sessions() -> [String] {
      names(in: "/tmp").filter { $0.hasPrefix("prte") || $0.hasPrefix("pmix") || $0.hasPrefix("ompi") }.flatMap {
        name in
        [name] + names(in: "/tmp/\(name)").map { "\(name)/\($0)" }
      }
    }
    let running = try start(flavour, ["sh", "-c", StopTests.stubborn])
    try #require(running.wait { running.output().utf8.filter { $0 == 10 }.count == 2 })
    usleep(500_000)
    // The session's folder has the number of mpirun's process in its name.
    let mpirun = try #require(
      running.job.all.first { pid in
        let name = running.commandLine(of: pid).first?.split(separator: "/").last ?? ""
        return ["mpirun", "prterun", "mpiexec.hydra"].contains(name)
      }, "\(running.job.all.map { running.commandLine(of: $0) })")
    kill(isLauncher ? running.child.pid : mpirun, SIGKILL)
    let result = running.finish()
    #expect(result.status == (isLauncher ? 137 : 75), "\(flavour): \(result.stderr)")
    #expect(running.wait { running.job.all.isEmpty }, "\(flavour): \(running.job.all)")
    #expect(
      running.wait { !sessions().contains { $0.contains("\(mpirun)") } },
      "\(flavour): \(sessions().filter { $0.contains("\(mpirun)") })")
  }
}
