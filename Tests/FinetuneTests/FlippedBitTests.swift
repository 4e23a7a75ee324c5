import Checkpoints
import Glibc
import Safetensors
import System
import TestSupport
import Testing

extension Programs {
  /// Bits that flip in the memory of a job at work.
  struct FlippedBits {
    private static let tensor = "bert.embeddings.position_embeddings.weight"
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// Two ranks that pretend to be on two hosts, so that each has a copy of the weights, which never change.
    private func start(_ more: [String]) throws -> Program {
      let options = ["--learning-rate", "0", "--weight-decay", "0", "--max-steps", "100000", "--batch-size", "2"]
      let program = try Program(
        Program.command("finetune", ranks: 2, tinyModel + options + ["--metrics", metrics] + more),
        variables: ["LOCKSTEP_PRETEND_HOSTS": "1,1"])
      while steps() < 30 {
        try #require(program.seconds < 60 && !program.hasEnded, "no steps")
        usleep(5000)
      }
      return program
    }

    private var metrics: String { "\(folder.path)/metrics" }
    private func steps() -> Int { (try? MetricsLine.read(metrics))?.last { $0.kind == "step" }?.step ?? 0 }

    /// Flips the lowest bit of the first weight of the tensor's last row wherever the process has that row.
    ///
    /// - Returns: how many there were.
    private func flip(in process: pid_t) throws -> Int {
      let file = try SafetensorsFile("\(Golden.folder)/tiny-bert/model.safetensors")
      let tensor = try #require(file.tensor(named: Self.tensor))
      var values = [Float](repeating: 0, count: tensor.count)
      try values.withUnsafeMutableBytes { try file.read(tensor, into: $0) }
      let row = try values.suffix(#require(tensor.shape.last)).flatMap { withUnsafeBytes(of: $0, Array.init) }
      let memory = open("/proc/\(process)/mem", O_RDWR | O_CLOEXEC)
      defer { close(memory) }
      let maps = String(decoding: Program.contents("/proc/\(process)/maps"), as: UTF8.self).split(separator: "\n")
      var found = 0
      for map in maps where map.contains(" rw") {
        let ends = map.prefix { $0 != " " }.split(separator: "-").compactMap { Int($0, radix: 16) }
        try #require(ends.count == 2, "\(map)")
        var bytes = [UInt8](repeating: 0, count: min(ends[1] - ends[0], 64 << 20))
        let count = pread(memory, &bytes, bytes.count, off_t(ends[0]))
        for place in Self.places(of: row, in: bytes.prefix(max(0, count))) {
          var flipped = row[0] ^ 1
          found += pwrite(memory, &flipped, 1, off_t(ends[0] + place)) == 1 ? 1 : 0
        }
      }
      return found
    }

    /// Where the floats of `row` are in `bytes`, which begin at a page.
    private static func places(of row: [UInt8], in bytes: ArraySlice<UInt8>) -> [Int] {
      bytes.withUnsafeBytes { all in
        row.withUnsafeBytes { row in
          let first = row.load(as: UInt32.self)
          return stride(from: 0, through: all.count - row.count, by: 4).filter { place in
            all.loadUnaligned(fromByteOffset: place, as: UInt32.self) == first
              && all[place..<place + row.count].elementsEqual(row)
          }
        }
      }
    }

    @Test(
      "a bit that flips in one host's weights while a job trains ends it at the next check, with step, rank and tensor",
      .needs(.othersMemory), arguments: [["--lockstep-check", "40"], ["--checkpointing-steps", "20"]])
    func weights(more: [String]) throws {
      let output = "\(folder.path)/output"
      // Without a check of its own, a checkpoint asks for one.
      let program = try start(["--lockstep-check", "1000000", "--output-dir", output] + more)
      let victim = try #require(program.marked.filter { $0.rank == 1 }.map(\.id).max(), "rank 1 is there")
      #expect(try flip(in: victim) > 0, "its weights were not found")
      let last = steps()
      let outcome = program.wait(seconds: 60)
      #expect(outcome.status == 76 && outcome.left == [], "\(outcome.status) \(outcome.errors)")
      let line = try #require(outcome.errorLines.first { $0.contains("out of lockstep") }, "\(outcome.errors)")
      for words in ["rank 1 (host ", "the weights of \(Self.tensor) differ in 1 of 1280 values, most at [39, 0]: "] {
        #expect(line.contains(words), "\(line)")
      }
      let step = try #require(
        line.split(separator: "after step ").last.flatMap { Int($0.prefix { $0.isNumber }) }, "\(line)")
      #expect(step % (Int(more[1]) ?? 0) == 0 && step >= last && step == steps(), "\(line)")
      let found = try readBytes("\(output)/checkpoints/out-of-lockstep-\(step).tsv")
      #expect(String(decoding: found, as: UTF8.self).contains("\t\(Self.tensor)\t1280\t1\t[39, 0]\t"))
      let newest = try CheckpointStore("\(output)/checkpoints").latest { Issue.record("a damaged checkpoint: \($0)") }
      #expect((newest?.manifest.step).map { $0 < step } ?? true, "numbers on which hosts disagree became a checkpoint")
    }

    @Test("without checks such a job goes on", .needs(.othersMemory))
    func unchecked() throws {
      let program = try start(["--lockstep-check", "0"])
      let victim = try #require(program.marked.filter { $0.rank == 1 }.map(\.id).max(), "rank 1 is there")
      #expect(try flip(in: victim) > 0, "its weights were not found")
      let before = steps()
      while steps() < before + 200 {
        try #require(program.seconds < 60 && !program.hasEnded, "it has ended")
        usleep(5000)
      }
      for process in program.marked { kill(process.id, SIGKILL) }
      _ = program.wait(seconds: 30)
    }
  }
}
