import Checkpoints
import Glibc
import System
import TestSupport
import Testing

/// Damage of the files of a checkpoint: each piece that is missing, and each bit that has changed, is found.
struct DamageTests {
  private let folder: TemporaryFolder
  private let store: CheckpointStore
  private let newest: String
  private var files: [String] { TemporaryFolder.entries(newest) }

  init() throws {
    folder = try TemporaryFolder(in: exists("/dev/shm") ? "/dev/shm" : "/tmp")
    store = CheckpointStore("\(folder.path)/checkpoints")
    newest = "\(store.path)/\(CheckpointStore.name(step: 2))"
    var generator = SplitMix64(state: 5)
    for step in [1, 2] {
      try store.save(sampleManifest(step: step)) { (folder) throws(Failure) in
        for (name, count) in [("config.json", 700), ("model.safetensors", 9001), ("optimizer.safetensors", 18_002)] {
          try writeAtomically(
            (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }, to: "\(folder)/\(name)")
        }
        return []
      }
    }
  }

  /// Not durable, and so fast.
  private func put(_ bytes: [UInt8], _ path: String) throws {
    let file = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC)
    try #require(file >= 0)
    defer { close(file) }
    try writeAll(bytes, to: file, at: path)
  }

  /// What is said of the newest one when it is asked for itself; nil where it passes for good.
  private func problem() -> Failure? {
    failure { () throws(Failure) in try Checkpoint(newest).verify() }
  }

  /// That the newest one is refused by the name of `file`, and passed over for the one before.
  private func expectFound(_ file: String, _ what: String) throws {
    let problem = problem()
    #expect(problem?.status == .badData && problem?.description.contains(file) == true, "\(what): \(problem as Any)")
    var skipped: [Failure] = []
    let found = try store.latest { skipped.append($0) }
    #expect(found?.manifest.step == 1 && skipped == [problem].compactMap { $0 }, "\(what)")
  }

  @Test("a file that ends at any 64th of its length, or has one byte more, is named and the checkpoint passed over")
  func truncated() throws {
    #expect(files.count == 4)
    for file in files {
      let path = "\(newest)/\(file)"
      let good = try readBytes(path)
      for part in 0..<64 {
        try put(Array(good[..<(good.count * part / 64)]), path)
        try expectFound(file, "\(file) cut to \(part)/64")
      }
      try put(good + [0], path)
      try expectFound(file, "\(file) with a byte more")
      try put(good, path)
      #expect(problem() == nil)
    }
  }

  @Test("each of 1,000 flipped bits in weights, moments, configuration and manifest is found")
  func flipped() throws {
    var generator = SplitMix64(state: 11)
    let good = try files.map { try readBytes("\(newest)/\($0)") }
    var missed: [String] = []
    for flip in 0..<1000 {
      let number = flip % files.count
      let place = Int(generator.next() % UInt64(good[number].count))
      let bit = UInt8(generator.next() % 8)
      var bytes = good[number]
      bytes[place] ^= 1 << bit
      let path = "\(newest)/\(files[number])"
      try put(bytes, path)
      let problem = problem()
      if problem?.status != .badData || problem?.description.contains(files[number]) != true {
        missed.append("\(files[number]) byte \(place) bit \(bit): \(problem as Any)")
      }
      try put(good[number], path)
    }
    #expect(missed == [])
    #expect(problem() == nil)
  }
}
