import Checkpoints
import Glibc
import System
import TestSupport
import Testing

extension Programs {
  /// Runs that end in the middle of a save, by `kill -9` and by a power cut.
  struct KilledSaves {
    private let runs: SmallRuns
    private let signals: SignalAtCall
    private static let saving = ["--checkpointing-steps", "2", "--checkpoint-total-limit", "1"]

    init() throws {
      runs = try SmallRuns(["--max-steps", "6"])
      signals = try SignalAtCall()
    }

    /// The calls of the second save, which removes the first checkpoint at its end.
    private func calls() throws -> [SignalAtCall.Call] {
      try SignalAtCall.save(of: 4, before: 6, in: signals.calls(runs.arguments("whole", Self.saving)))
    }

    @Test(
      "kill -9 before any call of a save: the newest checkpoint is the old or the new one, and goes on to the same bits",
      .needs(.program("clang")))
    func kills() throws {
      let calls = try calls()
      #expect(calls.count > 150 && calls.contains { $0.name.hasPrefix("pwrite") }, "the calls are counted")
      var found: [Int: Int] = [:]
      for call in SignalAtCall.chosen(calls, 16) {
        let (name, what) = ("part-\(call.number)", "killed before call \(call.number), \(call.name) \(call.path)")
        let outcome = try finetune(
          runs.arguments(name, Self.saving),
          variables: ["LD_PRELOAD": signals.library, "SIGNAL_AT_CALL": "\(call.number)"])
        #expect(outcome.status == 128 + SIGKILL, "\(what): \(outcome.status) \(outcome.errors)")
        let step = try runs.newest(name)
        #expect(step == 2 || step == 4, "\(what): \(step as Any)")
        found[step ?? 0, default: 0] += 1
        try runs.expectGoesOn(name, Self.saving, as: "whole", what)
      }
      print("killed before \(found.values.reduce(0, +)) of \(calls.count) calls of a save: newest checkpoint \(found)")
      #expect(found.count == 2, "both are met: \(found)")
    }

    /// Calls that change what a disk holds.
    private static let changing: Set = [
      "write", "pwrite", "pwrite64", "fsync", "ftruncate", "rename", "renameat", "mkdir", "rmdir", "unlink", "unlinkat",
      "chmod", "fchmodat",
    ]

    @Test(
      "the power is cut before any call of a save that changes the disk: the newest checkpoint is the old or the new one",
      .needs(.loopDevices, .program("clang")))
    func powerCuts() throws {
      let calls = try calls().filter { Self.changing.contains($0.name) || $0.name.hasPrefix("open") }
      let command = try Program.command("finetune", ranks: 1, runs.arguments("disk/out", Self.saving))
      var found: [Int: Int] = [:]
      for call in SignalAtCall.chosen(calls, 10) {
        let (name, what) = ("part-\(call.number)", "cut before call \(call.number), \(call.name) \(call.path)")
        // The image as it is while the run stands still: what the inner file system keeps in memory is not in it.
        let script = """
          set -e; cd \(runs.folder.path); mkdir -p disk cut
          truncate -s 24M image; mkfs.ext4 -q -F image; mount -o loop image disk
          LD_PRELOAD=\(signals.library) SIGNAL_AT_CALL=\(call.number) SIGNAL_NUMBER=\(SIGSTOP) "$@" >/dev/null & P=$!
          until grep -q '^State:.[Tt]' /proc/$P/status; do sleep 0.005; done
          cp image image-cut; kill -9 $P; wait $P || true; umount disk
          mount -o loop image-cut cut; cp -r cut/out \(name); umount cut; rm image image-cut
          """
        let outcome = try Program.run(["unshare", "--mount", "bash", "-c", script, "bash"] + command)
        #expect(outcome.status == 0 && outcome.left == [], "\(what): \(outcome.errors)")
        let step = try runs.newest(name)
        #expect(step == 2 || step == 4, "\(what): \(step as Any)")
        found[step ?? 0, default: 0] += 1
        try runs.expectGoesOn(name, Self.saving, as: "whole", what)
      }
      print("power cut before \(found.values.reduce(0, +)) of \(calls.count) calls: newest checkpoint \(found)")
      #expect(found.count == 2, "both are met: \(found)")
    }
  }
}
