import Checkpoints
import Glibc
import System
import TestSupport
import Testing

/// Checkpoints that cannot be read or removed, and things that stand in their place.
struct ReachTests {
  private let folder: TemporaryFolder
  private let store: CheckpointStore

  init() throws {
    folder = try TemporaryFolder()
    store = CheckpointStore("\(folder.path)/checkpoints")
  }

  private func save(_ step: Int, keeping limit: Int? = nil) throws(Failure) {
    try store.save(sampleManifest(step: step), keeping: limit) { (folder) throws(Failure) in
      try writeAtomically(Array("abc".utf8), to: "\(folder)/model.safetensors")
      return []
    }
  }

  private func path(_ step: Int) -> String { "\(store.path)/\(CheckpointStore.name(step: step))" }

  private var steps: [Int] { store.entries.map(\.step) }

  /// Makes the checkpoint one of the next version of the program.
  private func makeNewer(_ step: Int) throws {
    let file = "\(path(step))/checkpoint.json"
    let text = String(decoding: try readBytes(file), as: UTF8.self)
    let newer = text.replacing("\"version\": 2", with: "\"version\": 3")
    try #require(newer != text)
    try writeAtomically(CheckpointManifest.signed(Array(newer.utf8)), to: file)
  }

  @Test("a checkpoint of a newer version is not passed over, does not count and is never removed")
  func newer() throws {
    for step in [10, 20, 30] { try save(step) }
    try makeNewer(20)
    var leftOut: [Failure] = []
    let removed = try store.prune(keeping: 1) { leftOut.append($0) }
    #expect(removed == ["step-000010"] && steps == [20, 30] && leftOut.count == 1)
    try save(40, keeping: 1)
    #expect(steps == [20, 40])
    try makeNewer(40)
    let problem = failure { () throws(Failure) in try store.latest { _ in Issue.record("it is passed over") } }
    #expect(problem?.status == .badData && problem?.cause == .checkpointOutOfReach, "\(problem as Any)")
    for words in ["step-000040/checkpoint.json", "is 3, expected 2", "a newer version of the program"] {
      #expect(problem?.description.contains(words) == true, "\(words): \(problem as Any)")
    }
  }

  @Test("where no checkpoint is complete none is removed")
  func noneComplete() throws {
    for step in [10, 20] {
      try save(step)
      try TemporaryFolder.removeFile("\(path(step))/model.safetensors")
    }
    #expect(try store.prune(keeping: 1) == [])
    #expect(steps == [10, 20])
  }

  @Test("what a user may not read is not passed over and not removed", .enabled(if: geteuid() != 0, "root reads all"))
  func unreadable() throws {
    for step in [10, 20, 30] { try save(step) }
    chmod("\(path(20))/model.safetensors", 0)
    #expect(try store.prune(keeping: 1) == ["step-000010"])
    #expect(steps == [20, 30])
    chmod(path(30), 0)
    let problems = [
      failure { () throws(Failure) in try store.latest { _ in Issue.record("it is passed over") } },
      failure { () throws(Failure) in try Checkpoint(path(30)) },
    ]
    for problem in problems {
      #expect(problem?.status == .permission, "\(problem as Any)")
      #expect(problem?.description.contains("Permission denied") == true, "\(problem as Any)")
    }
    chmod(store.path, 0)
    #expect(failure { () throws(Failure) in try store.readEntries() }?.status == .permission)
    #expect(failure { () throws(Failure) in try store.latest { _ in } }?.status == .permission)
    chmod(store.path, 0o700)
  }

  @Test("those that are to stay are read first where that is asked for: a damaged one does not count and is named")
  func verifying() throws {
    for step in [10, 20, 30] { try save(step) }
    try writeAtomically(Array("abd".utf8), to: "\(path(30))/model.safetensors")
    var leftOut: [Failure] = []
    let removed = try store.prune(keeping: 1, verifying: true) { leftOut.append($0) }
    #expect(removed == ["step-000010"] && steps == [20, 30])
    #expect(leftOut.count == 1 && leftOut.first?.description.contains("step-000030/model.safetensors") == true)
    try writeAtomically(Array("abd".utf8), to: "\(path(20))/model.safetensors")
    #expect(try store.prune(keeping: 1, verifying: true) == [])
    #expect(steps == [20, 30])
  }

  @Test("a file or a link to nothing in the folder's place stays and is named; a link to a folder is one")
  func otherThanFolder() throws {
    try folder.write("mine", "checkpoints")
    let file = failure { () throws(Failure) in try save(1) }
    #expect(file?.status == .cannotCreate && file?.place == store.path, "\(file as Any)")
    #expect(file?.description.contains("is a file, expected a folder") == true, "\(file as Any)")
    #expect(try readBytes(store.path) == Array("mine".utf8))
    try TemporaryFolder.removeFile(store.path)
    let elsewhere = "\(folder.path)/elsewhere"
    #expect(symlink(elsewhere, store.path) == 0)
    let link = failure { () throws(Failure) in try save(1) }
    #expect(link?.status == .cannotCreate && link?.description.contains("is a link") == true, "\(link as Any)")
    #expect(TemporaryFolder.entries(folder.path) == ["checkpoints"])
    try makeDirectory(elsewhere)
    try save(1)
    #expect(TemporaryFolder.entries(elsewhere) == ["step-000001"])
  }

  @Test("an old checkpoint that cannot be removed does not fail a save; the next save tries again, and prune names it")
  func removalFails() throws {
    for step in [10, 20] { try save(step) }
    let grave = "\(store.path)/.step-000010.removed"
    store.mayGoOn = { operation in
      guard operation == "rename old" else { return true }
      // Nothing can be renamed to a folder that holds something.
      _ = mkdir(grave, 0o700)
      close(open("\(grave)/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600))
      return true
    }
    try save(30, keeping: 2)
    #expect(steps == [10, 20, 30])
    let problem = failure { () throws(Failure) in try store.prune(keeping: 2) }
    #expect(problem?.status == .ioError && problem?.place == path(10), "\(problem as Any)")
    #expect(problem?.message.hasPrefix("cannot be removed: ") == true, "\(problem as Any)")
    store.mayGoOn = nil
    try save(40, keeping: 2)
    #expect(TemporaryFolder.entries(store.path) == ["step-000030", "step-000040"])
  }

  @Test("a folder that is called as another step's checkpoint is damaged; any other name may be given to a copy")
  func otherStep() throws {
    for step in [1, 3] { try save(step) }
    #expect(rename(path(3), path(99)) == 0)
    let problem = failure { () throws(Failure) in try Checkpoint(path(99)) }
    #expect(problem?.status == .badData, "\(problem as Any)")
    for words in ["says step 3", "step-000099"] {
      #expect(problem?.description.contains(words) == true, "\(words): \(problem as Any)")
    }
    var skipped: [Failure] = []
    let found = try store.latest { skipped.append($0) }
    #expect(found?.manifest.step == 1 && skipped == [problem].compactMap { $0 })
    #expect(rename(path(99), "\(folder.path)/mine") == 0)
    #expect(try Checkpoint("\(folder.path)/mine").manifest.step == 3)
  }
}
