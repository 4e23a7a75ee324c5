import Glibc
import Launcher
import System
import TestSupport
import Testing

/// `launch ckpt`, and what `launch verify-equivalence` says before it runs anything.
@Suite struct CheckpointCommandTests {
  private let folder: TemporaryFolder
  private let output: String

  init() throws {
    folder = try TemporaryFolder()
    output = "\(folder.path)/home/out"
    try makeDirectory("\(folder.path)/home")
  }

  /// A complete checkpoint of one file.
  private func makeCheckpoint(_ step: Int, in store: String) throws {
    let digits = "\(step)"
    let path = "\(store)/step-\(String(repeating: "0", count: 6 - digits.utf8.count))\(digits)"
    try makeDirectory(path)
    let model = Array("abc".utf8)
    func text(_ digest: String) -> [UInt8] {
      let text = """
        {"format": "lockstep checkpoint", "version": 2, "step": \(step), "epoch": 0, "rows": 0, "window_position": 0,
        "evaluated": true, "seed": 0, "ranks": 1, "options": {}, "fingerprints": {}, "versions": {}, "evaluations": [],
        "state": {}, "files": [{"name": "model", "bytes": 3, "sha256": ["\(SHA256.hexDigest(model))"]}],
        "sha256": "\(digest)"}
        """
      return Array(text.utf8)
    }
    try writeAtomically(model, to: "\(path)/model")
    let digest = SHA256.hexDigest(text(String(repeating: "0", count: 64)))
    try writeAtomically(text(digest), to: "\(path)/checkpoint.json")
  }

  private func makeRun(_ steps: [Int] = [1, 2, 3]) throws {
    for step in steps { try makeCheckpoint(step, in: "\(output)/checkpoints") }
  }

  private var left: [String] { TemporaryFolder.entries("\(output)/checkpoints") }

  @Test(
    "prune works where the user stands and lives: it replaces no folder", arguments: [".", "out", "out/checkpoints"])
  func pruneInUse(place: String) throws {
    try makeRun()
    let script = "cd \"$1\" && exec \"$2\" ckpt prune \"$3\" --keep 1"
    let home = "\(folder.path)/home"
    let words = ["-c", script, "sh", place == "." ? output : home, "\(binaries)/launch", place]
    let result = try run("/bin/sh", words, environment: ["HOME": output])
    #expect(result.status == 0 && result.text == "removed step-000001, step-000002\n", "\(result.stderr)")
    #expect(left == ["step-000003"])
    #expect(TemporaryFolder.entries(home) == ["out"] && TemporaryFolder.entries(output) == ["checkpoints"])
  }

  @Test("prune is refused while a run is at work, also where the checkpoints lie elsewhere", arguments: [false, true])
  func pruneBesideRun(isLinked: Bool) throws {
    try makeRun()
    if isLinked {
      try #require(rename("\(output)/checkpoints", "\(folder.path)/elsewhere") == 0)
      try #require(symlink("\(folder.path)/elsewhere", "\(output)/checkpoints") == 0)
    }
    let staging = "\(folder.path)/home/.out.lockstep"
    try makeDirectory(staging)
    let owner = open("\(staging)/owner", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    try #require(owner >= 0 && flock(owner, LOCK_EX | LOCK_NB) == 0)
    for place in [output, "\(output)/checkpoints", "\(output)/checkpoints/"] {
      let result = try launch("ckpt", "prune", place, "--keep", "1")
      #expect(result.status == 73 && result.error.contains("another run saves here"), "\(place): \(result.stderr)")
    }
    #expect(left.count == 3)
    close(owner)
    #expect(try launch("ckpt", "prune", output, "--keep", "1").status == 0)
    #expect(left == ["step-000003"])
  }

  @Test("prune reads what it keeps: a damaged one is named and does not count")
  func pruneReads() throws {
    try makeRun()
    try writeAtomically(Array("abd".utf8), to: "\(output)/checkpoints/step-000003/model")
    let result = try launch("ckpt", "prune", output, "--keep", "1")
    #expect(result.status == 0 && result.text == "removed step-000001\n", "\(result.stderr)")
    #expect(result.stderr.contains("warning: ") && result.stderr.contains("step-000003/model"), "\(result.stderr)")
    #expect(left == ["step-000002", "step-000003"])
  }

  @Test("without checkpoints there is no input", arguments: ["list", "verify", "show", "prune"])
  func none(command: String) throws {
    try makeDirectory(output)
    let result = try launchCheckpoints(command, output)
    #expect(result.status == 66 && result.error.contains("holds no checkpoints"), "\(result.stderr)")
  }

  @Test("a folder of checkpoints that may not be read is no empty one", .needs(.ordinaryUser))
  func unreadable() throws {
    try makeRun()
    chmod("\(output)/checkpoints", 0)
    defer { chmod("\(output)/checkpoints", 0o700) }
    for command in ["list", "verify", "prune"] {
      let result = try launchCheckpoints(command, output, unprivileged: true)
      #expect(result.status == 77 && result.error.contains("Permission denied"), "\(command): \(result.stderr)")
    }
  }

  @Test("a checkpoint that may not be read is not called damaged and not removed", .needs(.ordinaryUser))
  func unreadableCheckpoint() throws {
    try makeRun()
    chmod("\(output)/checkpoints/step-000001/model", 0)
    let list = try launchCheckpoints("list", output, unprivileged: true)
    #expect(list.status == 0 && list.text.contains("out of reach: "), "\(list.text)")
    #expect(list.text.contains("Permission denied") && !list.text.contains("damaged"), "\(list.text)")
    let prune = try launchCheckpoints("prune", output, unprivileged: true)
    #expect(prune.status == 0 && prune.text == "removed step-000002\n", "\(prune.stderr)")
    #expect(left == ["step-000001", "step-000003"])
  }

  @Test("what prune may not remove is named as the user knows it, with the system's reason", .needs(.ordinaryUser))
  func unremovable() throws {
    try makeRun()
    chmod("\(output)/checkpoints", 0o500)
    defer { chmod("\(output)/checkpoints", 0o700) }
    let result = try launchCheckpoints("prune", output, unprivileged: true)
    #expect(result.status == 77, "\(result.stderr)")
    #expect(
      result.error.contains("/checkpoints/step-000001: cannot be removed: Permission denied"), "\(result.stderr)")
    #expect(left.count == 3)
  }

  /// - Parameter unprivileged: whether root, too, may only do what a file's mode allows.
  private func launchCheckpoints(
    _ command: String, _ place: String, unprivileged: Bool = false
  ) throws -> RunResult {
    let words = ["ckpt", command, place] + (command == "prune" ? ["--keep", "1"] : [])
    if !unprivileged || geteuid() != 0 { return try run("\(binaries)/launch", words) }
    return try run(
      "/usr/bin/env", ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "\(binaries)/launch"] + words)
  }

  @Test("verify-equivalence shows its help", arguments: ["--help", "-h"])
  func help(flag: String) throws {
    let result = try launch("verify-equivalence", flag)
    #expect(result.status == 0 && result.stderr.isEmpty, "\(result.stderr)")
    #expect(result.text.contains("USAGE:") && result.text.contains("--num_processes"), "\(result.text)")
    let other = try launch("help", "verify-equivalence")
    #expect(result.lines == other.lines)
  }

  @Test(
    "verify-equivalence says what is wrong with numbers of processes",
    arguments: [
      ("0,2", "0 is no number of processes"), ("2,2", "2 is there twice"), ("1,", "\"\" is no whole number"),
      ("1,two", "\"two\" is no whole number"), ("1", "two or more"), ("1,1025", "1025 is no number of processes"),
    ])
  func numbers(text: String, says: String) throws {
    let result = try launch("verify-equivalence", "--num_processes", text, "finetune")
    #expect(result.status == 64 && result.error.contains(says), "\(result.stderr)")
    #expect(result.stderr.utf8.filter { $0 == 10 }.count == 1, "\(result.stderr)")
  }
}
