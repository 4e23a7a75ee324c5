import Glibc
import System
import TestSupport
import Testing

extension Programs {
  /// What becomes of the output folder and of other files, whatever happens.
  struct Saving {
    private let short = tinyModel + ["--max-steps", "1"]

    /// What a saved folder holds, sorted by bytes.
    static let savedFiles = [
      "README.md", "config.json", "model.safetensors", "report.html", "report.json", "tokenizer_config.json",
      "vocab.txt",
    ]

    private func text(_ path: String) throws -> String { String(decoding: try readBytes(path), as: UTF8.self) }

    @Test(
      "a folder with files of somebody else's is refused before training; --overwrite-output-dir replaces all of it")
    func foreignFolder() throws {
      let folder = try TemporaryFolder()
      let output = "\(folder.path)/out"
      try makeDirectory("\(output)/deep")
      try folder.write("{}", "out/tokenizer.json")
      try folder.write("x", "out/deep/file")
      let refused = try finetune(short + ["--output-dir", output])
      #expect(refused.status == 73 && refused.output == "" && refused.errorLines.count == 1, "\(refused.errors)")
      #expect(refused.errors.contains("--overwrite-output-dir"))
      #expect(TemporaryFolder.entries(folder.path) == ["out"])
      #expect(TemporaryFolder.entries(output) == ["deep", "tokenizer.json"])
      for option in ["--overwrite-output-dir", "--overwrite_output_dir"] {
        try folder.write("{}", "out/tokenizer.json")
        let outcome = try finetune(ranks: 2, short + ["--output-dir", output, option])
        #expect(outcome.status == 0, "\(outcome.errors)")
        let files = Self.savedFiles
        #expect(TemporaryFolder.entries(output) == files)
      }
      // What this program saved is its own.
      #expect(try finetune(short + ["--output-dir", output]).status == 0)
      try folder.write("{}", "out/added_tokens.json")
      #expect(try finetune(short + ["--output-dir", output]).status == 73)
      #expect(TemporaryFolder.entries(folder.path) == ["out"])
    }

    @Test("an output that is, holds or lies in an input is refused, by links too")
    func inputs() throws {
      let folder = try TemporaryFolder()
      let model = try folder.copy("\(Golden.folder)/tiny-bert", as: "inputs/model")
      let data = try folder.copy("\(Golden.folder)/mrpc", as: "inputs/data")
      #expect(symlink("inputs", "\(folder.path)/link") == 0)
      let source = ["--model", model, "--data", data, "--max-steps", "1"]
      for path in ["inputs", "inputs/model", "link/model/new/er", "link/data/", "."] {
        let outcome = try finetune(source + ["--output-dir", "\(folder.path)/\(path)", "--overwrite-output-dir"])
        #expect(outcome.status == 64 && outcome.errorLines.count == 1, "\(path): \(outcome.errors)")
      }
    }

    @Test("no report is written over an input, a model, another report or what is no file")
    func reports() throws {
      let folder = try TemporaryFolder()
      let model = try folder.copy("\(Golden.folder)/tiny-bert", as: "model")
      let data = try folder.copy("\(Golden.folder)/mrpc", as: "data")
      let output = "\(folder.path)/out"
      let source = ["--model", model, "--data", data]
      #expect(try finetune(source + ["--max-steps", "1", "--output-dir", output]).status == 0)
      #expect(mkfifo("\(folder.path)/fifo", 0o600) == 0)
      #expect(symlink("data/train.tsv", "\(folder.path)/link") == 0)
      try folder.write("mine", "notes")
      func snapshot() throws -> [[UInt8]] {
        try ["model", "data", "out"].flatMap { name in
          try TemporaryFolder.entries("\(folder.path)/\(name)").map { try readBytes("\(folder.path)/\(name)/\($0)") }
        } + [readBytes("\(folder.path)/notes")]
      }
      let before = try snapshot()
      let files = ["model/model.safetensors", "model/new", "data/train.tsv", "out/model.safetensors", "out/new"]
      for file in files + ["fifo", "link", "notes", "data"] {
        let path = "\(folder.path)/\(file)"
        for option in ["--metrics", "--profile"] {
          let outcome = try finetune(source + ["--max-steps", "1", "--output-dir", output, option, path])
          #expect(
            [64, 73].contains(outcome.status) && outcome.errorLines.count == 1, "\(option) \(file): \(outcome.errors)")
        }
        guard !file.hasPrefix("out/new") else { continue }
        let outcome = try inspect(["forward"] + source + ["--gradients", path])
        #expect(
          [64, 73].contains(outcome.status) && outcome.errorLines.count == 1, "--gradients \(file): \(outcome.errors)")
      }
      let both = ["--metrics", "\(folder.path)/a", "--profile", "\(folder.path)/./a"]
      #expect(try finetune(source + ["--max-steps", "1"] + both).status == 64)
      #expect(try snapshot() == before)
      #expect(try finetune(source + ["--max-steps", "1", "--metrics", "/dev/null"]).status == 0)
      for _ in 0..<2 {
        let own = ["--metrics", "\(folder.path)/m", "--profile", "\(folder.path)/p"]
        #expect(try finetune(source + ["--max-steps", "1"] + own).status == 0, "earlier reports are replaced")
        let forward = ["forward"] + source + ["--rows", "1", "--gradients", "\(folder.path)/g"]
        #expect(try inspect(forward).status == 0)
      }
    }

    @Test("two runs at once: the second is refused and told who holds the folder")
    func twoRuns() throws {
      let folder = try TemporaryFolder()
      let output = "\(folder.path)/out"
      let first = try Program(
        [try Program.built("finetune")] + tinyModel + ["--epochs", "1000000", "--output-dir", output])
      while first.seconds < 20, !first.outputSoFar.contains("step ") { usleep(20_000) }
      let second = try finetune(short + ["--output-dir", output])
      #expect(second.status == 73, "\(second.errors)")
      #expect(second.errors.contains("another run saves here: process \(first.process) on host "), "\(second.errors)")
      // SIGTERM would have it save a checkpoint.
      #expect(kill(first.process, SIGHUP) == 0)
      #expect(first.wait(seconds: 20).status == 128 + SIGHUP)
      #expect(TemporaryFolder.entries(folder.path) == [], "a signal removes what the run has made")
      #expect(try finetune(short + ["--output-dir", output]).status == 0)
    }

    /// Whether strace can trace here.
    static func canTrace() -> Bool {
      (try? Program.run(["strace", "-qq", "-o", "/dev/null", "true"]))?.status == 0
    }

    @Test(
      "whatever call of a save is the last or fails, the folder is the old one or the new one",
      .enabled("strace cannot trace here") { canTrace() },
      arguments: ["fsync", "rename", "renameat2", "mkdir", "unlinkat"])
    func interrupted(call: String) throws {
      let folder = try TemporaryFolder()
      let output = "\(folder.path)/out"
      let other = try folder.copy("\(Golden.folder)/tiny-bert", as: "other")
      let tokens = try text("\(other)/vocab.txt").split(separator: "\n")
      let turned = tokens[..<40] + tokens[40..<60].reversed() + tokens[60...]
      try folder.write(turned.joined(separator: "\n") + "\n", "other/vocab.txt")
      #expect(try finetune(short + ["--output-dir", output]).status == 0)
      let old = try readBytes("\(output)/model.safetensors")
      let new = ["--model", other, "--data", "\(Golden.folder)/mrpc", "--max-steps", "1", "--learning-rate", "1"]
      for what in ["signal=KILL", "error=ENOSPC"] + (call == "rename" ? ["signal=TERM"] : []) {
        for time in 1...12 {
          let trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=\(call)"]
          let inject = ["-e", "inject=\(call):\(what):when=\(time)", try Program.built("finetune")]
          let outcome = try Program.run(
            trace + inject + new + ["--output-dir", output], variables: ["OPENBLAS_NUM_THREADS": "1"])
          let names = TemporaryFolder.entries(output)
          #expect(names == Self.savedFiles)
          let isOld = try readBytes("\(output)/model.safetensors") == old
          let vocabulary = try readBytes("\(output)/vocab.txt")
          let source = isOld ? "\(Golden.folder)/tiny-bert" : other
          #expect(
            try vocabulary == readBytes("\(source)/vocab.txt"), "\(what) at \(time): weights and vocabulary differ")
          if what == "error=ENOSPC", outcome.status != 0 {
            #expect([73, 74].contains(outcome.status) && outcome.errors.contains("No space left"), "\(outcome.errors)")
          }
          let left = TemporaryFolder.entries(folder.path)
          if what == "signal=KILL" {
            #expect(left.allSatisfy { ["out", "other", ".out.lockstep"].contains($0) }, "\(left)")
          } else if !(call.hasPrefix("unlink") || call == "mkdir") {
            #expect(left == ["other", "out"], "\(what) at \(time)")
          }
          if !isOld {
            #expect(try finetune(short + ["--output-dir", output]).status == 0)
            #expect(try readBytes("\(output)/model.safetensors") == old)
          }
          if outcome.status == 0 { break }
        }
      }
      #expect(try finetune(short + ["--output-dir", output]).status == 0)
      #expect(TemporaryFolder.entries(folder.path) == ["other", "out"], "the next run removes what kill -9 left")
    }

    @Test(
      "a full disk is told, and what was there stays whole", .enabled("no tmpfs can be mounted here") { canMount() })
    func fullDisk() throws {
      let folder = try TemporaryFolder()
      let arguments = (tinyModel + ["--max-steps", "60"]).map { "'\($0)'" }.joined(separator: " ")
      let program = try Program.built("finetune")
      // There is room for half of a second model.
      let script = """
        mount -t tmpfs -o size=1m tmpfs '\(folder.path)' && cd '\(folder.path)' || exit 1
        '\(program)' \(arguments) --output-dir out >/dev/null || exit 2
        cksum out/* > /dev/shm/$$-before; head -c $(($(df --output=avail -B1 . | tail -n 1) - 65536)) /dev/zero > fill
        '\(program)' \(arguments) --learning-rate 1 --output-dir out >/dev/null; echo "status $?"
        cksum out/* | cmp - /dev/shm/$$-before && echo whole; rm /dev/shm/$$-before; ls -A
        '\(program)' \(arguments) --epochs 9 --max-steps 9000 --metrics m >/dev/null; echo "status $?"; tail -c 1 m | od -An -c
        """
      let outcome = try Program.run(["unshare", "-m", "sh", "-c", script])
      let lines = outcome.outputLines
      #expect(
        lines == ["status 74", "whole", "fill", "out", "status 74", "  \\n"], "\(outcome.output)\(outcome.errors)")
      #expect(outcome.errorLines.count == 2 && outcome.errorLines.allSatisfy { $0.contains("No space left on device") })
    }

    static func canMount() -> Bool {
      (try? Program.run(["unshare", "-m", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]))?.status == 0
    }

    @Test(
      "a mount point and a parent that takes nothing: files are exchanged one by one, with the same outcome",
      .enabled("no tmpfs can be mounted here") { canMount() })
    func mountPoint() throws {
      let folder = try TemporaryFolder()
      try makeDirectory("\(folder.path)/out")
      let arguments = short.map { "'\($0)'" }.joined(separator: " ")
      let script = """
        mount -t tmpfs tmpfs '\(folder.path)/out' || exit 1
        for i in 1 2; do '\(try Program.built("finetune"))' \(arguments) --output-dir '\(folder.path)/out' >/dev/null || exit 2; done
        ls -A '\(folder.path)' '\(folder.path)/out'
        """
      let outcome = try Program.run(["unshare", "-m", "sh", "-c", script])
      let files = Self.savedFiles
      #expect(outcome.outputLines == ["\(folder.path):", "out", "\(folder.path)/out:"] + files, "\(outcome.errors)")
    }

    @Test("a limit on the size of files is told in a line")
    func fileSizeLimit() throws {
      let folder = try TemporaryFolder()
      let arguments = (short + ["--output-dir", "\(folder.path)/out"]).map { "'\($0)'" }.joined(separator: " ")
      let outcome = try Program.run(["sh", "-c", "ulimit -f 40; exec '\(try Program.built("finetune"))' \(arguments)"])
      #expect(
        outcome.status == 74 && outcome.errorLines.count == 1 && outcome.errors.contains("File too large"),
        "\(outcome.errors)")
      #expect(TemporaryFolder.entries(folder.path) == [])
    }

    @Test("with little address space a run ends all the same")
    func addressSpace() throws {
      let arguments = short.map { "'\($0)'" }.joined(separator: " ")
      let outcome = try Program.run(
        ["sh", "-c", "ulimit -v 150000; exec '\(try Program.built("finetune"))' \(arguments)"], seconds: 30)
      #expect(outcome.status == 0, "\(outcome.errors)")
    }
  }
}
