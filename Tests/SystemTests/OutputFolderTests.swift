import Glibc
import System
import TestSupport
import Testing

/// A folder that is replaced as a whole or not at all.
struct OutputFolderTests {
  private func folder(_ path: String) throws(Failure) -> OutputFolder { try OutputFolder(path, home: nil) { _, _ in } }

  /// Replaces `path` by a folder with these files.
  private func save(_ path: String, _ files: [String: String]) throws(Failure) {
    _ = try folder(path).replace(files: Array(files.keys)) { (folder) throws(Failure) in
      for (name, text) in files { try writeAtomically(Array(text.utf8), to: "\(folder)/\(name)") }
    }
  }

  private func text(_ path: String) throws -> String { String(decoding: try readBytes(path), as: UTF8.self) }

  @Test("a new folder and an old one become what was written, with nothing of the old and nothing beside it")
  func replaces() throws {
    let temporary = try TemporaryFolder()
    let path = "\(temporary.path)/a/out"
    try save("\(path)/", ["config.json": "1", "vocab.txt": "v", "old": "x"])
    #expect(TemporaryFolder.entries(path) == ["config.json", "old", "vocab.txt"])
    #expect(chmod(path, 0o750) == 0)
    try save(path, ["config.json": "2", "new": "n"])
    #expect(TemporaryFolder.entries(path) == ["config.json", "new"])
    #expect(try text("\(path)/config.json") == "2")
    var info = stat()
    #expect(stat(path, &info) == 0 && info.st_mode & 0o7777 == 0o750, "permissions stay")
    #expect(TemporaryFolder.entries("\(temporary.path)/a") == ["out"])
  }

  @Test("a link stays a link, and the folder that it leads to is replaced")
  func link() throws {
    let temporary = try TemporaryFolder()
    try makeDirectory("\(temporary.path)/real")
    #expect(symlink("real", "\(temporary.path)/link") == 0)
    try save("\(temporary.path)/link", ["config.json": "1"])
    #expect(try text("\(temporary.path)/real/config.json") == "1")
    #expect(TemporaryFolder.entries(temporary.path) == ["link", "real"])
    #expect(symlink("nowhere", "\(temporary.path)/dangling") == 0)
    let problem = failure { () throws(Failure) in try save("\(temporary.path)/dangling", [:]) }
    #expect(problem?.status == .cannotCreate && problem?.message.contains("link to \"nowhere\"") == true)
  }

  @Test("what fails while it is written leaves the old folder as it was, and is named as the user knows it")
  func failing() throws {
    let temporary = try TemporaryFolder()
    let path = "\(temporary.path)/out"
    try save(path, ["config.json": "old"])
    let problem = failure { () throws(Failure) in
      try folder(path).replace(files: ["config.json"]) { (folder) throws(Failure) in
        try writeAtomically(Array("new".utf8), to: "\(folder)/config.json")
        throw Failure(.ioError, at: "\(folder)/vocab.txt", "writing failed")
      }
    }
    #expect(problem?.place == "\(path)/vocab.txt")
    #expect(try text("\(path)/config.json") == "old")
    #expect(TemporaryFolder.entries(temporary.path) == ["out"])
  }

  @Test("a second run is refused, and told who holds the folder and since when")
  func secondRun() throws {
    let temporary = try TemporaryFolder()
    let path = "\(temporary.path)/out"
    let first = try folder(path)
    let problem = failure { () throws(Failure) in try folder(path) }
    #expect(problem?.status == .cannotCreate)
    for word in ["another run saves here: process \(getpid()) on host ", ", since 20", " UTC"] {
      #expect(problem?.description.contains(word) == true, "\(String(describing: problem))")
    }
    _ = try first.replace(files: []) { _ in }
    #expect(isDirectory(path))
  }

  @Test("what a dead run left is removed, and does not stand in the way")
  func deadRun() throws {
    let temporary = try TemporaryFolder()
    let path = "\(temporary.path)/out"
    try save(path, ["config.json": "old"])
    let left = "\(temporary.path)/.out.lockstep"
    try makeDirectory("\(left)/new")
    #expect(chmod(left, 0o700) == 0)
    try temporary.write("process 1 on host x, since ever", ".out.lockstep/owner")
    try temporary.write("half", ".out.lockstep/new/model.safetensors")
    try temporary.write("mine", ".out.other")
    _ = try folder(path)
    #expect(TemporaryFolder.entries(temporary.path) == [".out.other", "out"])
    #expect(try text("\(path)/config.json") == "old")
  }

  @Test(
    "where files are exchanged one by one, an interrupted exchange is taken back or completed",
    arguments: [
      // What is in the output folder, among the new files, among the old, and what comes of it.
      (["vocab.txt"], ["config.json", "vocab.txt"], "old", ["config.json"], "old"),
      ([], ["config.json", "vocab.txt"], "replaced", ["config.json", "vocab.txt"], "new"),
      (["vocab.txt"], ["config.json"], "replaced", ["config.json", "vocab.txt"], "new"),
    ])
  func interrupted(visible: [String], staged: [String], stage: String, moved: [String], outcome: String) throws {
    let temporary = try TemporaryFolder()
    let path = "\(temporary.path)/out"
    let inside = "\(path)/.lockstep"
    for folder in [path, inside, "\(inside)/new", "\(inside)/\(stage)"] { try makeDirectory(folder) }
    #expect(chmod(inside, 0o700) == 0)
    for name in visible { try temporary.write(outcome, "out/\(name)") }
    for name in staged { try temporary.write("new", "out/.lockstep/new/\(name)") }
    for name in moved { try temporary.write("old", "out/.lockstep/\(stage)/\(name)") }
    _ = try folder(path)
    #expect(TemporaryFolder.entries(path) == ["config.json", "vocab.txt"])
    #expect(try text("\(path)/config.json") == outcome)
    #expect(try text("\(path)/vocab.txt") == outcome)
  }

  @Test("files that came meanwhile are kept, and the new content goes beside them")
  func meanwhile() throws {
    let temporary = try TemporaryFolder()
    let path = "\(temporary.path)/out"
    let output = try OutputFolder(path, home: nil) { (folder, names) throws(Failure) in
      if names.contains("notes") { throw Failure(.cannotCreate, at: folder, "holds notes") }
    }
    try makeDirectory(path)
    try temporary.write("precious", "out/notes")
    let saved = try output.replace(files: ["config.json"]) { (folder) throws(Failure) in
      try writeAtomically([1], to: "\(folder)/config.json")
    }
    #expect(saved == "\(path)-\(getpid())" && exists("\(saved)/config.json"))
    #expect(TemporaryFolder.entries(path) == ["notes"])
  }

  @Test("the working folder, what holds it, and the root are not replaced", arguments: [".", "..", "/", "./"])
  func workingFolder(path: String) throws {
    let problem = failure { () throws(Failure) in try folder(path) }
    #expect(problem?.status == .cannotCreate && problem?.message.contains("the working folder") == true)
  }

  @Test("somebody else's folder under the staging name is not used")
  func foreignStaging() throws {
    let temporary = try TemporaryFolder()
    #expect(symlink("/tmp", "\(temporary.path)/.out.lockstep") == 0)
    let problem = failure { () throws(Failure) in try folder("\(temporary.path)/out") }
    #expect(problem?.status == .cannotCreate && problem?.message.contains("no folder of this user's alone") == true)
  }

  @Test("a folder lies in another by whatever way, also before it exists")
  func inside() throws {
    let temporary = try TemporaryFolder()
    let path = temporary.path
    try makeDirectory("\(path)/a/b")
    #expect(symlink("a", "\(path)/link") == 0)
    #expect(isInside("\(path)/link/b", "\(path)/a") && isInside("\(path)/link/x/y", "\(path)/a/"))
    #expect(isInside("\(path)/x/../a/b", "\(path)/link/b") && isInside("\(path)/none/x", "\(path)/none"))
    #expect(!isInside("\(path)/ab", "\(path)/a") && !isInside("\(path)/a", "\(path)/a/b") && isInside(path, "/"))
  }

  @Test("a killed writer's temporary file is removed by the next writer of the same path, and no other file")
  func remains() throws {
    let temporary = try TemporaryFolder()
    for name in ["file.tmp-1-2", "file.tmp-1-x", "file.tmp-", "other.tmp-1-2"] { try temporary.write("x", name) }
    let living = try AtomicFile("\(temporary.path)/file")
    try temporary.write("new", "file")
    try living.commit()
    #expect(TemporaryFolder.entries(temporary.path) == ["file", "file.tmp-", "file.tmp-1-x", "other.tmp-1-2"])
  }

  @Test("reports are not written over anything else", arguments: ["a FIFO", "a folder", "a device"])
  func reportFile(kind: String) throws {
    let temporary = try TemporaryFolder()
    let path = kind == "a device" ? "/dev/zero" : "\(temporary.path)/\(kind)"
    if kind == "a FIFO" { #expect(mkfifo(path, 0o600) == 0) }
    if kind == "a folder" { try makeDirectory(path) }
    let problem = failure { () throws(Failure) in try ReportFile.check(path, option: "--metrics") { _ in true } }
    #expect(problem?.status == .cannotCreate && problem?.description.contains("is \(kind)") == true)
    let opened = failure { () throws(Failure) in try ReportFile.open(path, option: "--metrics") }
    #expect(opened?.status == .cannotCreate, "without waiting for a reader")
  }
}
