import Checkpoints
import Glibc
import System
import TestSupport
import Testing

extension Programs {
  /// Disks that fill up, that cannot be written, and folders that are taken away while a run saves checkpoints.
  struct DiskFaults {
    private let runs: SmallRuns
    private static let saving = ["--checkpointing-steps", "2"]
    /// Of a run that goes on for some seconds.
    private static let long = ["--max-steps", "900", "--checkpointing-steps", "50"]

    init() throws { runs = try SmallRuns([]) }

    /// Runs `finetune` with its output in the folder `part` of a small file system, and copies that folder to one of the
    /// same name that stays.
    private func onDisk(_ options: String, ranks: Int, _ more: [String]) throws -> Program.Outcome {
      let script = """
        cd \(runs.folder.path); mkdir disk; mount -t tmpfs -o \(options) disk disk
        "$@"; S=$?; mkdir part; cp -r disk/part/. part; ls -A disk part/checkpoints; exit $S
        """
      let command = try Program.command("finetune", ranks: ranks, runs.arguments("disk/part", more))
      return try Program.run(["unshare", "--mount", "bash", "-c", script, "bash"] + command)
    }

    /// The steps of all checkpoints, each of which is complete.
    private func steps(_ name: String) throws -> [Int] {
      let store = CheckpointStore(runs.checkpoints(name))
      for entry in store.entries { try entry.checkpoint.get().verify() }
      return store.entries.map(\.step)
    }

    @Test(
      "a disk fills up while a checkpoint is saved: the run says path, needed and free bytes, and stops or goes on",
      .needs(.mounts), arguments: [1, 2], ["stop", "continue"])
    func full(ranks: Int, way: String) throws {
      let options = ["--max-steps", "10", "--batch-size", "4", "--split-batches"]
      try runs.run("whole", ranks: ranks, options)
      // Room for three checkpoints and a model.
      let outcome = try onDisk(
        "size=1200k", ranks: ranks, options + Self.saving + ["--on-failed-save", way])
      #expect(outcome.left == [])
      #expect(try steps("part") == [2, 4, 6], "\(outcome.output)")
      #expect(
        !outcome.output.contains(".unfinished") && !outcome.output.contains(".part.lockstep"), "\(outcome.output)")
      // mpirun says much of its own, and rank 1 what rank 0 met, where mpirun has not ended it before.
      let said =
        way == "stop"
        ? outcome.errorLines.filter { $0.hasPrefix("finetune: error: rank 0 ") || $0.hasPrefix("finetune: error: /") }
        : outcome.outputLines.filter { $0.hasPrefix("warning: a checkpoint is not saved") }
      #expect(said.count == (way == "stop" ? 1 : 2), "\(outcome.errors) \(outcome.output)")
      for words in ["/disk/part/checkpoints/step-000008", "No space left", "needs about 287,256 bytes", " bytes"] {
        #expect(said.first?.contains(words) == true, "\(words): \(said)")
      }
      if way == "continue" {
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(try runs.weights("part") == runs.weights("whole"))
      } else {
        #expect(outcome.status == 74, "\(outcome.errors)")
        try runs.expectGoesOn("part", ranks: ranks, options + Self.saving, as: "whole", "after a full disk")
      }
    }

    @Test("a disk that has no room for more files ends a run as a full one does", .needs(.mounts))
    func inodes() throws {
      let outcome = try onDisk("size=8m,nr_inodes=30", ranks: 1, ["--max-steps", "10"] + Self.saving)
      #expect(outcome.status == 74 && outcome.errorLines.count == 1, "\(outcome.errors)")
      #expect(
        outcome.errors.contains("No space left") && outcome.errors.contains(" files are free there"),
        "\(outcome.errors)")
      #expect(try steps("part") == [2, 4, 6])
    }

    /// A run that goes on; it has saved the checkpoint of step 100.
    private func running(_ name: String, _ more: [String] = []) throws -> Program {
      let program = try Program(Program.command("finetune", ranks: 1, runs.arguments(name, Self.long + more)))
      while !exists("\(runs.checkpoints(name))/\(CheckpointStore.name(step: 100))/checkpoint.json") {
        try #require(program.seconds < 40, "no checkpoint was saved")
        usleep(3000)
      }
      return program
    }

    @Test("a folder that can no longer be written ends a run; the newest checkpoint stays good", .needs(.mounts))
    func readOnly() throws {
      try runs.run("whole", Self.long)
      let checkpoints = runs.checkpoints("part")
      let script = """
        "$@" & P=$!
        until [ -e \(checkpoints)/step-000100/checkpoint.json ]; do sleep 0.01; kill -0 $P || exit 1; done
        mount --bind \(checkpoints) \(checkpoints) && mount -o remount,ro,bind \(checkpoints); wait $P
        """
      let command = try Program.command("finetune", ranks: 1, runs.arguments("part", Self.long))
      let outcome = try Program.run(["unshare", "--mount", "bash", "-c", script, "bash"] + command)
      #expect(outcome.status == 73 && outcome.errorLines.count == 1, "\(outcome.status) \(outcome.errors)")
      #expect(
        outcome.errors.contains("Read-only file system") && outcome.errors.contains("/step-"), "\(outcome.errors)")
      #expect(try steps("part").contains(100))
      try runs.expectGoesOn("part", Self.long, as: "whole", "after a read-only folder")
    }

    @Test("an output folder that is removed midway is made again, and the run ends well")
    func removed() throws {
      try runs.run("whole", Self.long)
      let program = try running("part")
      Self.remove(runs.path("part"))
      let outcome = program.wait(seconds: 60)
      #expect(outcome.status == 0, "\(outcome.errors)")
      #expect(try runs.weights("part") == runs.weights("whole"))
      #expect(try steps("part").last == 900)
    }

    @Test("where all above the output folder is removed too, the run ends with one line, and the status of an output")
    func removedAbove() throws {
      let program = try running("above/part")
      Self.remove(runs.path("above"))
      let outcome = program.wait(seconds: 60)
      #expect(
        [0, 73, 74].contains(outcome.status) && outcome.errorLines.count <= 1, "\(outcome.status) \(outcome.errors)")
      if outcome.status == 0 { #expect(exists("\(runs.path("above/part"))/model.safetensors")) }
    }

    @Test("a second run on an output folder is refused and told who is at work there; the first one notices nothing")
    func two() throws {
      try runs.run("whole", Self.long)
      let program = try running("part")
      for more in [[], ["--resume-from-checkpoint", "latest"], ["--overwrite-output-dir"]] {
        let second = try finetune(runs.arguments("part", Self.long + more))
        #expect(second.status == 73 && second.errorLines.count == 1, "\(second.errors)")
        #expect(second.errors.contains("another run saves here: process "), "\(second.errors)")
      }
      let outcome = program.wait(seconds: 60)
      #expect(outcome.status == 0, "\(outcome.errors)")
      #expect(try runs.weights("part") == runs.weights("whole"))
      #expect(try steps("part").count == 18)
    }

    @Test("--on-failed-save without checkpoints, and with another word")
    func options() throws {
      let alone = try finetune(runs.arguments("part", ["--on-failed-save", "continue"]))
      #expect(alone.status == 64 && alone.errors.contains("needs --checkpointing-steps"), "\(alone.errors)")
      #expect(try finetune(runs.arguments("part", Self.saving + ["--on-failed-save", "maybe"])).status == 64)
    }

    private static func remove(_ path: String) {
      // A save may be at work in it.
      for _ in 0..<100 where exists(path) { PrivateFolder.remove(path) }
    }
  }
}
