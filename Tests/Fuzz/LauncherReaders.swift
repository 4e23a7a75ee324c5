import FlightRecorder
import Glibc
import Launcher
import System
import TestSupport

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func bytes(of value: some BitwiseCopyable) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }

extension Reader {
  private static let hostfile = """
    # a comment
    node1 slots=2 max_slots=4
    user@10.77.0.2 slots=4 port=2222 // another
    /* and one
    more */ localhost slots=1

    """

  private static let yaml = """
    compute_environment: LOCAL_MACHINE
    distributed_type: MULTI_CPU
    use_cpu: true
    num_machines: 1
    num_processes: 2
    machine_rank: 0
    mixed_precision: 'no'
    main_process_port: 29500
    mpirun_config:
      mpirun_ccl: "1"
      mpirun_hostfile: hostfiles/this-machine
    lockstep:
      threads_per_rank: 1
      network: [10.77.0.0/24, eth0]
      export: [HF_HOME]
      log_dir: null

    """

  /// What a user writes for the launcher, and what Slurm tells it.
  static var launcher: [Reader] {
    [
      Reader(
        "hostfile", samples: [bytes(hostfile)],
        words: [
          "slots=", "max_slots=", "port=", "username=", "user@", "localhost", "\n", "/*", "*/", "//",
          "-oProxyCommand=x",
        ],
        memoryMultiple: 64, program: .hostfile
      ) { input, _ in
        for own in [nil, "node1"] as [LocalHostNames?] { _ = try Hostfile(input, path: "hosts", ownName: own) }
      },
      Reader(
        "config-yaml", samples: [bytes(yaml), bytes("num_processes: 2\nlockstep: {binding: core, network: [a]}\n")],
        words: [
          "&a ", "*a", "<<: *a", "? ", "- ", ": ", "|\n", ">-\n", "!!str ", "!!binary ", "%YAML 1.2\n---\n", "...\n",
          "'", "~",
          "num_processes: ", "lockstep:\n  ", "binding: core", "[[[[", "{{{{", "\"\\x41\"",
        ], memoryMultiple: 256, program: .configuration
      ) { input, _ in
        let file = try ConfigFile(input, path: "config.yaml")
        // What is written from it can be read again.
        let again = try ConfigFile(bytes(ConfigFile.text(file.plainValues)), path: "again.yaml")
        guard again.plainValues == file.plainValues else { throw Wrong("written otherwise") }
      },
      Reader(
        "slurm", samples: [bytes("gpu[1-3,07],login,n[0-1]c[2,4]\n4(x3),2,2(x4)\n2"), bytes("a\n1\n1")],
        words: ["[", "]", "[0-9]", "[1-65536]", ",", "(x", ")", "[00000001-3]", "[1-2][1-2][1-2]"], memoryMultiple: 512,
        program: .slurm
      ) { input, _ in
        let lines = String(decoding: input, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        let names = ["SLURM_JOB_NODELIST", "SLURM_TASKS_PER_NODE", "SLURM_CPUS_PER_TASK"]
        var variables = ["SLURM_JOB_ID": "1"]
        for (name, line) in zip(names, lines) { variables[name] = String(line) }
        _ = try SlurmAllocation(Environment(variables))
      },
    ]
  }

  private static let answer = """
    Welcome to node1!
    lockstep-preflight:mpi mpirun (Open MPI) 4.1.4
    lockstep-preflight:program 3404587246 181 /opt/lockstep/finetune
    lockstep-preflight:no-program /opt/lockstep/inspect
    lockstep-preflight:clock 1795812345
    lockstep-preflight:cores 8
    lockstep-preflight:memory 16384000
    lockstep-preflight:temporary 1000000
    lockstep-preflight:shared 1000000
    lockstep-preflight:address eth0 10.77.0.1/24
    lockstep-preflight:data 1234 5678 data/train.tsv
    lockstep-preflight:end

    """

  private static let mpirun = """
    --------------------------------------------------------------------------
    mpirun noticed that process rank 1 with PID 0 on node node1 exited on signal 9 (Killed).
    --------------------------------------------------------------------------
    MPI_ABORT was invoked on rank 2 in communicator MPI_COMM_WORLD
    with errorcode 65.
    hello

    """

  /// About what a frame holds.
  private static let frameBytes = 480

  /// What comes from other processes and hosts.
  static var remote: [Reader] {
    [
      Reader(
        "host-report", samples: [bytes(answer)],
        words: ["lockstep-preflight:", "memory ", "address lo ", "/33", "data ", "clock -", "\r\n", "program 1 2 "],
        memoryMultiple: 96
      ) { input, _ in
        guard let report = HostReport(String(decoding: input, as: UTF8.self)) else {
          throw Failure(.unavailable, "no answer")
        }
        for address in report.addresses { _ = (address.network, address.isIn("10.0.0.0/8"), address.isIn("eth0")) }
      },
      Reader(
        "mpi-messages", samples: [bytes(mpirun)], words: ["rank ", "signal ", "errorcode ", "on node "],
        memoryMultiple: 96
      ) {
        input, _ in
        var messages = MPIMessages()
        _ = messages.read(input) + messages.finish()
      },
      Reader(
        "rank-frames", samples: frames, memoryMultiple: 96,
        mutate: { sample, mutator in
          var input = sample
          mutator.change(&input)
          // Mostly whole frames around what was changed, as a hostile rank would send them.
          guard mutator.below(4) > 0 else { return input }
          var result: [UInt8] = []
          for start in stride(from: 0, to: input.count, by: frameBytes) {
            let body = Array(input[start..<min(input.count, start + frameBytes)])
            result +=
              RankFrame(
                mutator.pick((1...7).compactMap { RankFrame.Kind(rawValue: $0) }),
                rank: mutator.pick([0, 1, 2, 3, -1]), body
              ).bytes
          }
          return result
        }
      ) { input, _ in
        var reader = RankFrameReader()
        var table = RankTable(count: 3, hosts: ["a", "b", "c"])
        for piece in reader.read(input[...]) {
          if case .frame(let frame) = piece { table.take(frame, at: .now) }
        }
        _ = reader.finish()
        look(at: table)
      },
      Reader("record-page", samples: [page(steps: 0), page(steps: 100)], memoryMultiple: 16) { input, workspace in
        var page = input.prefix(FlightRecorder.byteCount)
        page += repeatElement(0, count: FlightRecorder.byteCount - page.count)
        let file = open(try workspace.write(Array(page), "record"), O_RDWR | O_CLOEXEC)
        defer { close(file) }
        guard let record = FlightRecorder(descriptor: file, isNew: false) else {
          throw Failure(.badData, "no record")
        }
        var report = RankReport()
        report.state = record.state
        _ = record.last(of: report.state)?.text
        var table = RankTable(count: 1)
        table.take(RankFrame(.report, rank: 0, bytes(of: report)), at: .now)
        for entry in record.entries {
          table.take(RankFrame(.entry, rank: 0, bytes(of: entry)), at: .now)
        }
        table.take(RankFrame(.end, rank: 0, bytes(of: report)), at: .now)
        look(at: table)
      },
    ]
  }

  /// What the launcher makes of its ranks when a job ends.
  private static func look(at table: RankTable) {
    _ = table.rings()
    _ = table.ranks.map(\.label)
    for end in [ChildProcess.End.status(0), .status(1), .signal(9)] {
      _ = Verdict(end: end, fault: nil, ranks: table)
    }
  }

  private static var frames: [[UInt8]] {
    let report = bytes(of: RankReport())
    let entry = bytes(of: FlightRecorder.Entry())
    return [
      RankFrame(.start, rank: 0, bytes("node1 17 /tmp/ompi.node1.0/pid.1")).bytes
        + RankFrame(.report, rank: 0, report).bytes + RankFrame(.output, rank: 1, bytes("loss 0.5\n")).bytes,
      report, entry, bytes("node1 17 /tmp/ompi.node1.0/pid.1"),
    ]
  }

  /// The page of a rank after some steps.
  private static func page(steps: Int) -> [UInt8] {
    var template = Array("/dev/shm/lockstep-fuzz-page.XXXXXX\0".utf8CString)
    let file = mkstemp(&template)
    defer {
      close(file)
      unlink(template)
    }
    guard let record = FlightRecorder(descriptor: file, isNew: true) else { return [] }
    record.join(rank: 0, size: 2)
    for step in 0..<steps {
      record.enter(Call(.sumOfFloats, count: 4, root: 0), at: CallSite(file: "Loop.swift", line: 12))
      record.leave()
      record.finish(step: step)
    }
    var bytes = [UInt8](repeating: 0, count: FlightRecorder.byteCount)
    let count = pread(file, &bytes, bytes.count, 0)
    return count == bytes.count ? bytes : []
  }
}
