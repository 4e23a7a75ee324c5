import Checkpoints
import Glibc
import System
import TestSupport
import Testing

extension Programs {
  /// Jobs of the launcher, on the embedded default, that are killed at random instants; seeded.
  struct RandomKills {
    private let folder: TemporaryFolder
    private static let options = ["--max-steps", "60", "--checkpointing-steps", "5", "--checkpoint-total-limit", "2"]

    init() throws { folder = try TemporaryFolder() }

    private func path(_ name: String) -> String { "\(folder.path)/\(name)" }

    private func command(_ name: String, restarts: Int) throws -> [String] {
      [try Program.built("launch"), "--num_processes", "2", "--max_restarts", "\(restarts)", "finetune"] + Self.options
        + ["--output-dir", path(name), "--metrics", path("\(name).jsonl"), "--resume-from-checkpoint", "latest"]
    }

    /// Which of a job's processes is killed.
    private enum Victim: String, CaseIterable { case rank, agent, mpirun, launcher, all }

    private func processes(_ victim: Victim, of program: Program, rank: Int) -> [pid_t] {
      func words(_ id: pid_t) -> [String] {
        (systemFile("/proc/\(id)/cmdline") ?? []).split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
      }
      return switch victim {
      case .all: program.marked.map(\.id)
      case .launcher: [program.process]
      case .mpirun: program.marked.map(\.id).filter { words($0).first?.hasSuffix("mpirun") ?? false }
      case .agent, .rank:
        program.marked.filter { process in
          process.rank == rank && words(process.id).contains("--rank-agent") == (victim == .agent)
        }.map(\.id)
      }
    }

    /// Kills one after another until `kills` have hit something; then lets the job run to its end.
    private func run(seed: UInt64, kills: Int, counts: inout [String: Int]) throws {
      var generator = SplitMix64(state: seed)
      let (name, mpi) = ("part-\(seed)", try TemporaryFolder())
      let variables = ["TMPDIR": mpi.path, "OMPI_MCA_btl_vader_backing_directory": mpi.path]
      var hits = 0
      while hits < kills {
        let program = try Program(command(name, restarts: 2), variables: variables)
        // Several may hit one job: the launcher starts it again.
        while hits < kills {
          usleep(UInt32(50_000 + generator.next() % 1_200_000))
          let victim = Victim.allCases[Int(generator.next() % UInt64(Victim.allCases.count))]
          let found = processes(victim, of: program, rank: Int(generator.next() % 2))
          guard !found.isEmpty, !program.hasEnded else { break }
          for process in found { kill(process, SIGKILL) }
          hits += 1
          counts[victim.rawValue, default: 0] += 1
          if victim == .launcher || victim == .all { break }
        }
        // Of a launcher that is killed, the ranks notice it, and JobReaper removes what is left.
        let outcome = program.wait(seconds: 180, remainsSeconds: 10)
        #expect(outcome.left == [], "seed \(seed), \(outcome.left) are left: \(outcome.errors)")
        try #require([0, 75, 70, 128 + SIGKILL].contains(outcome.status), "seed \(seed): \(outcome.errors)")
        // Done before all kills: the rest goes to a new run.
        if outcome.status == 0 {
          try expectEnd(name, "seed \(seed)")
          for file in TemporaryFolder.entries(folder.path) where file.hasPrefix(name) {
            PrivateFolder.remove(path(file))
          }
        }
      }
      let last = try Program.run(command(name, restarts: 0), variables: variables, seconds: 180)
      #expect(last.status == 0 && last.left == [], "seed \(seed): \(last.errors)")
      try expectEnd(name, "seed \(seed)")
      #expect(
        TemporaryFolder.entries(folder.path).allSatisfy { !$0.hasPrefix(".") }, "seed \(seed): files of a run are left")
    }

    private func expectEnd(_ name: String, _ what: String) throws {
      for file in ["/model.safetensors", ".jsonl"] {
        #expect(try readBytes(path(name + file)) == readBytes(path("whole\(file)")), "\(what): \(file) differs")
      }
      let left = TemporaryFolder.entries("\(path(name))/checkpoints")
      #expect(left.allSatisfy { CheckpointStore.step(ofName: $0) != nil } && left.count <= 2, "\(what): \(left)")
    }

    @Test("killed ranks, agents, mpiruns and launchers: the job goes on to the same bits, and nothing is left")
    func some() throws { try search(jobs: 2, kills: 5) }

    @Test("200 kills of the same", .needs(.patience))
    func many() throws { try search(jobs: 40, kills: 5) }

    private func search(jobs: Int, kills: Int) throws {
      let whole = try Program.run(command("whole", restarts: 0), seconds: 180)
      try #require(whole.status == 0, "\(whole.errors)")
      var counts: [String: Int] = [:]
      for seed in 0..<jobs { try run(seed: UInt64(seed), kills: kills, counts: &counts) }
      print("\(counts.values.reduce(0, +)) kills of \(jobs) jobs: \(counts.sorted { $0.key < $1.key })")
    }
  }
}
