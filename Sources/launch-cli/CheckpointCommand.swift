import ArgumentParser
import Checkpoints
import JSON
import Launcher
import System

/// Looks at the checkpoints of a run.
struct CheckpointCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ckpt",
    abstract: "List, verify, show or prune the checkpoints of a run.",
    discussion: "DIR is the run's output folder, its folder checkpoints, or one checkpoint.",
    subcommands: [ListCommand.self, VerifyCommand.self, ShowCommand.self, PruneCommand.self])

  /// What each of the commands takes.
  struct Options: ParsableArguments {
    @Argument(help: "The output folder of a run, its folder checkpoints, or one checkpoint.") var dir: String

    @Flag(help: "Print JSON.") var json = false

    /// The folder with the checkpoints, and the one that was named if it was one.
    func store() throws(Failure) -> (store: CheckpointStore, only: String?) {
      let kind = try Reach.kind(of: dir)
      guard kind == .folder else {
        throw Failure(.missingInput, at: dir, kind == .nothing ? "there is no such folder" : "is no folder")
      }
      let real = realPath(dir)
      let name = lastComponent(of: real)
      if CheckpointStore.step(ofName: name) != nil { return (CheckpointStore(parent(of: real)), name) }
      let inside = "\(real)/checkpoints"
      return (CheckpointStore(try Reach.kind(of: inside) == .folder ? inside : real), nil)
    }

    /// The output folders whose runs write there. A run holds its folder as the user names it: where `checkpoints` in it is a
    /// link, that is not the folder above the checkpoints.
    func outputs() throws(Failure) -> [String] {
      if try Reach.kind(of: "\(dir)/checkpoints") == .folder { return [dir] }
      var named = dir
      while named.utf8.count > 1 && named.utf8.last == UInt8(ascii: "/") { named.removeLast() }
      return [named, realPath(dir)].filter { lastComponent(of: $0) == "checkpoints" }.map { parent(of: $0) }
    }

    func entries() throws(Failure) -> [CheckpointStore.Entry] {
      let (store, only) = try store()
      var entries: [CheckpointStore.Entry] = []
      if let only {
        if let entry = store.entry(named: only) { entries = [entry] }
      } else {
        entries = try store.readEntries()
      }
      guard !entries.isEmpty else {
        throw Failure(
          .missingInput, at: dir, "holds no checkpoints",
          hint: "expected an output folder of finetune, its folder checkpoints, or one checkpoint")
      }
      return entries
    }
  }

  struct ListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List checkpoints, oldest first.")
    @OptionGroup var options: Options

    func run() throws { try report(options, deep: false) }
  }

  struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "verify", abstract: "Read all files of each checkpoint and compare them with their SHA-256.",
      discussion: "Ends with 65 where one is damaged.")
    @OptionGroup var options: Options

    func run() throws { try report(options, deep: true) }
  }

  struct ShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "show", abstract: "Show what a checkpoint says of itself; of several, the newest complete one.")
    @OptionGroup var options: Options

    func run() throws {
      let entries = try options.entries()
      guard let newest = entries.last(where: { (try? $0.checkpoint.get()) != nil }) ?? entries.last else { return }
      let manifest = try newest.checkpoint.get().manifest
      if options.json { return try put(String(decoding: manifest.bytes, as: UTF8.self), terminator: "") }
      for (name, value) in Self.facts(manifest) {
        try put(name + String(repeating: " ", count: max(1, 44 - name.count)) + value)
      }
    }

    private static func facts(_ manifest: CheckpointManifest) -> [(String, String)] {
      var facts = [
        ("step", "\(manifest.step)"), ("epochs done", "\(manifest.epoch)"),
        ("rows used of the next epoch", "\(manifest.rows)"), ("saved on ranks", "\(manifest.ranks)"),
      ]
      if let best = manifest.best { facts.append(("best \(best.name)", "\(best.value) at step \(best.step)")) }
      facts += (manifest.options + manifest.fingerprints + manifest.versions + manifest.state).map {
        ($0.name, $0.value)
      }
      return facts
        + manifest.files.map { file in
          let digests = file.sha256.count == 1 ? "SHA-256 \(file.sha256[0])" : "SHA-256 of \(file.sha256.count) pieces"
          return (file.name, "\(file.bytes) bytes, \(digests)")
        }
    }
  }

  struct PruneCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "prune", abstract: "Remove all but the newest complete checkpoints, and what killed runs left.",
      discussion: """
        Not while the run is at work. Those that are to stay are read first: a damaged one is named and does not count. One \
        that cannot be read, or that another version of the program has written, stays and does not count.
        """)
    @OptionGroup var options: Options

    @Option(help: "Complete checkpoints that stay.") var keep: Int

    func run() throws {
      guard keep >= 1 else { throw Failure(.usage, at: "--keep", "\(keep), expected at least 1") }
      let (store, only) = try options.store()
      guard only == nil else {
        throw Failure(.usage, at: options.dir, "is one checkpoint, expected the folder that holds it")
      }
      _ = try options.entries()
      // The run that is at work on the output folder holds it.
      for output in try options.outputs() { try OutputFolder.refuseRuns(on: output) }
      store.removeRemains()
      let removed = try store.prune(keeping: keep, verifying: true) { failure in
        say("warning: a checkpoint does not count as one that stays: \(failure)")
      }
      if options.json {
        return try put(
          String(decoding: JSONText.object([("removed", .array(removed.map(JSONText.string)))]).bytes, as: UTF8.self),
          terminator: "")
      }
      try put(removed.isEmpty ? "nothing to remove" : "removed \(removed.joined(separator: ", "))")
    }
  }

  /// Prints a line for each checkpoint. Throws where one is damaged and was looked at closely.
  private static func report(_ options: Options, deep: Bool) throws(Failure) {
    let entries = try options.entries()
    var rows: [JSONText] = []
    var worst: Failure?
    if !options.json { try put("NAME               STEP  EPOCHS  RANKS     MEGABYTES  STATE") }
    for entry in entries {
      var state = deep ? "good" : "complete"
      var manifest: CheckpointManifest?
      var megabytes = ""
      do throws(Failure) {
        let checkpoint = try entry.checkpoint.get()
        manifest = checkpoint.manifest
        let tenths = (checkpoint.byteCount + 50_000) / 100_000
        megabytes = "\(tenths / 10).\(tenths % 10)"
        if deep { try checkpoint.verify() }
      } catch {
        state = "\(error.cause == .checkpointOutOfReach ? "out of reach" : "damaged"): \(error)"
        worst = worst ?? error
      }
      if options.json {
        rows.append(
          .object([
            ("name", .string(entry.name)), ("step", .int(entry.step)),
            ("epoch", manifest.map { .int($0.epoch) } ?? .null), ("ranks", manifest.map { .int($0.ranks) } ?? .null),
            ("state", .string(state)),
          ]))
      } else {
        let columns = [
          entry.name.padded(13, left: false), "\(entry.step)".padded(9),
          (manifest.map { "\($0.epoch)" } ?? "").padded(7), (manifest.map { "\($0.ranks)" } ?? "").padded(6),
          megabytes.padded(13),
        ]
        try put("\(columns.joined(separator: " "))  \(state)")
      }
    }
    if options.json { try put(String(decoding: JSONText.array(rows).bytes, as: UTF8.self), terminator: "") }
    if deep, let worst { throw worst }
  }
}

extension String {
  /// With blanks in front, or behind, up to `count` characters.
  fileprivate func padded(_ count: Int, left: Bool = true) -> String {
    let blanks = String(repeating: " ", count: max(0, count - self.count))
    return left ? blanks + self : self + blanks
  }
}
