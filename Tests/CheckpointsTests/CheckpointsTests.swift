import Checkpoints
import Glibc
import System
import TestSupport
import Testing

/// A manifest with something in every field.
func sampleManifest(step: Int = 7) -> CheckpointManifest {
  var manifest = CheckpointManifest(step: step)
  manifest.epoch = 1
  manifest.rows = 24
  manifest.seed = -3
  manifest.ranks = 2
  manifest.options = [.init("--seed", "-3"), .init("--learning-rate", "3e-05")]
  manifest.fingerprints = [.init("training rows", "abc")]
  manifest.versions = [.init("BLAS", "none \"x\"\n")]
  manifest.state = [.init("counter", "17")]
  manifest.evaluations = [
    .init(step: 3, epoch: 0.5, examples: 30, loss: 0.25, figures: [.init("accuracy", 0.875), .init("f1", nil)]),
    .init(step: 6, epoch: 1, examples: 30, loss: nil, figures: [.init("accuracy", 0.5), .init("f1", 0.25)]),
  ]
  return manifest
}

struct ManifestTests {
  @Test("what is written is read again, field by field; the best evaluation is found")
  func roundTrip() throws {
    var manifest = sampleManifest()
    manifest.files = [.init(name: "a.bin", bytes: 3, sha256: [String(repeating: "0a", count: 32)])]
    let again = try CheckpointManifest(manifest.bytes, path: "x")
    #expect(again == manifest)
    #expect(again.best?.value == 0.875 && again.best?.step == 3)
  }

  @Test("each changed bit and each missing end of a manifest is found")
  func damage() throws {
    let good = sampleManifest().bytes
    var missed: [Int] = []
    for place in good.indices {
      for bit in [0, 3, 5, 7] {
        var bytes = good
        bytes[place] ^= 1 << UInt8(bit)
        if failure({ () throws(Failure) in try CheckpointManifest(bytes, path: "x") })?.status != .badData {
          missed.append(place)
        }
      }
    }
    #expect(missed == [])
    for count in 0..<good.count - 1 {
      #expect(
        failure { () throws(Failure) in try CheckpointManifest(Array(good[..<count]), path: "x") }?.status == .badData)
    }
  }

  @Test(
    "a file's name leads out of no folder",
    arguments: ["../x", "/etc/passwd", "a/b", "..", ".", ".hidden", "", "a b", "é", "a\u{0}b", "checkpoint.json"])
  func names(name: String) throws {
    var manifest = sampleManifest()
    manifest.files = [.init(name: name, bytes: 3, sha256: [""])]
    let problem = try #require(
      failure { () throws(Failure) in try CheckpointManifest(manifest.bytes, path: "x/checkpoint.json") })
    #expect(problem.status == .badData && problem.description.contains("x/checkpoint.json"))
  }

  @Test("a newer format, and JSON of another kind, are refused by their values")
  func otherFormats() throws {
    let text = String(decoding: sampleManifest().bytes, as: UTF8.self)
    let newer = text.replacing("\"version\": 2", with: "\"version\": 3")
    #expect(newer != text)
    let problem = failure { () throws(Failure) in try CheckpointManifest(Array(newer.utf8), path: "x") }
    #expect(problem?.status == .badData && problem?.description.contains("expected 2") == true, "\(problem as Any)")
    let other = failure { () throws(Failure) in try CheckpointManifest(Array("{}".utf8), path: "x") }
    #expect(other?.description.contains("has no \"format\"") == true, "\(other as Any)")
  }
}

struct StoreTests {
  private let folder: TemporaryFolder
  private let store: CheckpointStore

  init() throws {
    folder = try TemporaryFolder()
    store = CheckpointStore("\(folder.path)/out/checkpoints")
  }

  private func save(_ step: Int, keeping limit: Int? = nil, text: String = "abc") throws {
    try store.save(sampleManifest(step: step), keeping: limit) { (folder) throws(Failure) in
      try writeAtomically(Array(text.utf8), to: "\(folder)/model.safetensors")
      try writeAtomically(Array("xyz".utf8), to: "\(folder)/optimizer.safetensors")
      return []
    }
  }

  private func latest() throws -> (step: Int?, skipped: [Failure]) {
    var skipped: [Failure] = []
    let found = try store.latest { skipped.append($0) }
    return (found?.manifest.step, skipped)
  }

  @Test("SHA-256 is that of the standard's examples and of any split into pieces")
  func hash() throws {
    #expect(SHA256.hexDigest([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    #expect(
      SHA256.hexDigest(Array("abc".utf8)) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    let million = [UInt8](repeating: UInt8(ascii: "a"), count: 1_000_000)
    #expect(SHA256.hexDigest(million) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
    for split in [1, 55, 56, 63, 64, 65, 119, 128, 500] {
      var pieces = SHA256()
      for start in stride(from: 0, to: 1000, by: split) {
        pieces.update(Array(million[start..<min(start + split, 1000)]))
      }
      #expect(pieces.hexDigest == SHA256.hexDigest(Array(million[..<1000])), "\(split)")
    }
    // With the CPU's own instructions and without.
    var random = SystemRandomNumberGenerator()
    for length in [0, 1, 63, 64, 65, 127, 128, 1000, 4096, 100_003] {
      let bytes = (0..<length).map { _ in UInt8.random(in: 0 ... .max, using: &random) }
      let digests = [false, SHA256.isAccelerated].map { usesInstructions in
        var hash = SHA256(usesInstructions: usesInstructions)
        hash.update(bytes)
        return hash.hexDigest
      }
      #expect(digests[0] == digests[1], "\(length)")
    }
  }

  @Test("files are the user's alone, and what is saved verifies")
  func saved() throws {
    try save(120)
    let path = "\(store.path)/step-000120"
    let checkpoint = try Checkpoint(path)
    try checkpoint.verify()
    #expect(checkpoint.manifest.files.map(\.name) == ["model.safetensors", "optimizer.safetensors"])
    for (place, mode) in [(path, 0o700), ("\(path)/model.safetensors", 0o600), ("\(path)/checkpoint.json", 0o600)] {
      var info = stat()
      #expect(stat(place, &info) == 0 && Int(info.st_mode & 0o777) == mode, "\(place)")
    }
  }

  @Test("the newest complete one is found; damage of each kind is named and passed over")
  func damaged() throws {
    try save(1)
    try save(2)
    let model = "\(store.path)/step-000002/model.safetensors"
    let kinds: [(String, () throws -> Void, String)] = [
      ("flipped", { try self.folder.overwrite(model, "abd") }, "SHA-256"),
      ("short", { try self.folder.overwrite(model, "ab") }, "has 2 bytes, expected 3"),
      ("long", { try self.folder.overwrite(model, "abcd") }, "has 4 bytes, expected 3"),
      ("gone", { unlink(model) }, "is missing"),
      ("a link", { symlink("/etc/hostname", model) }, "no regular file"),
    ]
    for (name, damage, words) in kinds {
      try damage()
      let (step, skipped) = try latest()
      #expect(step == 1 && skipped.count == 1, "\(name)")
      let problem = try #require(skipped.first)
      #expect(problem.status == .badData && problem.description.contains(words), "\(name): \(problem)")
      #expect(problem.description.contains(model) && !problem.description.contains("\n"))
    }
    unlink("\(store.path)/step-000002/checkpoint.json")
    #expect(try latest().skipped.first?.status == .missingInput)
  }

  @Test("old ones go after the new one is there, damaged ones do not count, the new one always stays")
  func retention() throws {
    for step in [10, 20, 30] { try save(step) }
    try folder.overwrite("\(store.path)/step-000020/model.safetensors", "a")
    try save(40, keeping: 2)
    #expect(store.entries.map(\.step) == [30, 40])
    try save(5, keeping: 2)
    #expect(store.entries.map(\.step) == [5, 40])
    #expect(try store.prune(keeping: 1) == ["step-000005"])
  }

  @Test("saving a step again replaces it whole")
  func again() throws {
    try save(3)
    try save(3, text: "other")
    let checkpoint = try Checkpoint("\(store.path)/step-000003")
    try checkpoint.verify()
    #expect(checkpoint.manifest.files.first?.bytes == 5 && TemporaryFolder.entries(store.path) == ["step-000003"])
  }

  @Test("where a save fails, nothing is left and the earlier one stays good")
  func failing() throws {
    try save(1)
    let problem = failure { () throws(Failure) in
      try store.save(sampleManifest(step: 2)) { (folder) throws(Failure) in
        try writeAtomically([1], to: "\(folder)/a")
        throw Failure(.ioError, at: "\(folder)/b", "writing failed: No space left on device")
      }
    }
    #expect(problem?.status == .ioError && problem?.place == "\(store.path)/step-000002/b")
    #expect(TemporaryFolder.entries(store.path) == ["step-000001"])
    #expect(try latest().step == 1)
  }

  @Test("a file that is removed before the manifest is written makes no checkpoint without it, but another try")
  func removedMidway() throws {
    let known = CheckpointManifest.File(name: "model.safetensors", bytes: 3, sha256: [])
    for removesFolder in [false, true] {
      let problem = failure { () throws(Failure) in
        try store.save(sampleManifest(step: 2)) { (folder) throws(Failure) in
          try writeAtomically([1, 2, 3], to: "\(folder)/model.safetensors")
          if removesFolder { PrivateFolder.remove(store.path) } else { unlink("\(folder)/model.safetensors") }
          return [known]
        }
      }
      #expect(problem?.cause == .folderTakenAway, "\(problem as Any)")
      #expect(problem?.status == .cannotCreate && problem?.place?.hasPrefix("\(store.path)/step-000002") == true)
      #expect(store.entries.isEmpty)
    }
  }

  @Test("pieces' digests are those of the parts of a file; a changed piece is named by its bytes")
  func pieces() throws {
    let text = [UInt8](repeating: 7, count: FilePieces.byteCount + 5)
    try store.save(sampleManifest(step: 1)) { (folder) throws(Failure) in
      try writeAtomically(text, to: "\(folder)/model.safetensors")
      try writeAtomically([], to: "\(folder)/empty")
      return []
    }
    let checkpoint = try Checkpoint("\(store.path)/step-000001")
    try checkpoint.verify()
    let parts = [Array(text[..<FilePieces.byteCount]), Array(text[FilePieces.byteCount...])]
    let digests = parts.map { SHA256.hexDigest($0) }
    #expect(checkpoint.manifest.files.map(\.sha256) == [[SHA256.hexDigest([])], digests])
    let path = "\(checkpoint.path)/model.safetensors"
    var bytes = text
    bytes[FilePieces.byteCount + 2] = 8
    unlink(path)
    try writeAtomically(bytes, to: path)
    let problem = failure { () throws(Failure) in try checkpoint.verify() }
    #expect(problem?.description.contains("bytes 4194304 to 4194308 have the SHA-256") == true, "\(problem as Any)")
    var manifest = checkpoint.manifest
    manifest.files[1].sha256.removeLast()
    let short = failure { () throws(Failure) in try CheckpointManifest(manifest.bytes, path: "x") }
    #expect(short?.description.contains("found 1, expected 2, one for each 4194304 bytes") == true, "\(short as Any)")
  }

  @Test("pieces that are read two at a time have the digests of each, whatever their number", arguments: [2, 3, 4])
  func pairs(count: Int) throws {
    let bytes = FilePieces.byteCount
    let text = (0..<count).flatMap { [UInt8](repeating: UInt8($0), count: $0 < count - 1 ? bytes : 70) }
    try store.save(sampleManifest(step: 1)) { (folder) throws(Failure) in
      try writeAtomically(text, to: "\(folder)/model.safetensors")
      return []
    }
    let digests = stride(from: 0, to: text.count, by: bytes).map {
      SHA256.hexDigest(Array(text[$0..<min($0 + bytes, text.count)]))
    }
    let checkpoint = try Checkpoint("\(store.path)/step-000001")
    #expect(Set(digests).count == count && checkpoint.manifest.files.map(\.sha256) == [digests])
    try checkpoint.verify()
  }

  @Test("stopped before any operation of a save, the newest is the old or the new one; the next run tidies up")
  func stoppedAnywhere() throws {
    var operations = 0
    store.mayGoOn = { _ in
      operations += 1
      return true
    }
    for step in [1, 2] { try save(step) }
    operations = 0
    try save(3, keeping: 2)
    let all = operations
    #expect(all >= 8, "the operations are counted")
    for stop in 1...all {
      let place = CheckpointStore("\(folder.path)/\(stop)/checkpoints")
      func save(_ step: Int) throws(Failure) {
        try place.save(sampleManifest(step: step), keeping: 2) { (folder) throws(Failure) in
          try writeAtomically([1, 2, 3], to: "\(folder)/model.safetensors")
          return []
        }
      }
      for step in [1, 2] { try save(step) }
      var count = 0
      place.mayGoOn = { _ in
        count += 1
        return count < stop
      }
      #expect(failure { () throws(Failure) in try save(3) } != nil, "\(stop)")
      place.mayGoOn = nil
      let newest = try #require(try place.latest { _ in Issue.record("a damaged one after stop \(stop)") })
      #expect([2, 3].contains(newest.manifest.step))
      place.removeRemains()
      #expect(TemporaryFolder.entries(place.path).allSatisfy { $0.hasPrefix("step-") }, "\(stop)")
      try save(4)
      #expect(place.entries.map(\.step) == [newest.manifest.step, 4])
    }
  }

  @Test("a link under the draft's name is not followed")
  func plantedLink() throws {
    try save(1)
    let victim = "\(folder.path)/victim"
    try makeDirectory(victim)
    try writeAtomically([1], to: "\(victim)/file")
    symlink(victim, "\(store.path)/.step-000002.unfinished")
    try save(2)
    #expect(TemporaryFolder.entries(victim) == ["file"])
    #expect(try latest().step == 2)
  }
}

extension TemporaryFolder {
  fileprivate func overwrite(_ path: String, _ text: String) throws {
    unlink(path)
    try writeAtomically(Array(text.utf8), to: path)
  }
}
