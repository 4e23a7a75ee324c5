import Glibc
import System
import TestSupport
import Testing

/// Files in and out, and failures in words.
struct FileTests {
  private func fails(_ status: System.ExitStatus, _ text: String, _ body: () throws(Failure) -> Void) {
    let problem = failure(body)
    #expect(problem?.status == status && problem?.description.contains(text) == true, "\(String(describing: problem))")
  }

  @Test("a file appears whole under its name, replacing what was there, and nothing else stays")
  func atomic() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/file"
    for text in ["first", "second, longer", ""] {
      try writeAtomically(Array(text.utf8), to: path)
      #expect(try readBytes(path) == Array(text.utf8))
      #expect(TemporaryFolder.entries(folder.path) == ["file"])
    }
    #expect(exists(path) && !isDirectory(path) && isDirectory(folder.path))
  }

  @Test("until it is committed the old file stays; given up, it leaves nothing")
  func givenUp() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write("old", "file")
    do {
      let file = try AtomicFile(path)
      try file.write(Array("new".utf8))
      #expect(try readBytes(path) == Array("old".utf8))
      #expect(TemporaryFolder.entries(folder.path).count == 2)
    }
    #expect(TemporaryFolder.entries(folder.path) == ["file"])
    #expect(try readBytes(path) == Array("old".utf8))
  }

  @Test("two writers of one name: the last to commit wins, whole")
  func twoWriters() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/file"
    let first = try AtomicFile(path)
    let second = try AtomicFile(path)
    try first.write([UInt8](repeating: 1, count: 1000))
    try second.write([UInt8](repeating: 2, count: 10))
    try second.commit()
    try first.commit()
    #expect(try readBytes(path) == [UInt8](repeating: 1, count: 1000))
    #expect(TemporaryFolder.entries(folder.path) == ["file"])
  }

  @Test("many writers of one name at once take nothing from one another")
  func manyWriters() async throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/file"
    let failures = await withTaskGroup(of: [String].self) { group in
      for writer in 0..<8 {
        group.addTask {
          (0..<100).compactMap { _ in
            failure { () throws(Failure) in try writeAtomically([UInt8](repeating: UInt8(writer), count: 9), to: path)
            }?
            .description
          }
        }
      }
      return await group.reduce(into: []) { $0 += $1 }
    }
    #expect(failures == [])
    #expect(Set(try readBytes(path)).count == 1 && TemporaryFolder.entries(folder.path) == ["file"])
  }

  @Test("where nothing can be written, it is told before anything is lost")
  func unwritable() throws {
    let folder = try TemporaryFolder()
    let file = try folder.write("text", "file")
    fails(.cannotCreate, "\(file)/below") { () throws(Failure) in try writeAtomically([1], to: "\(file)/below") }
    fails(.cannotCreate, "none/file") { () throws(Failure) in try writeAtomically([1], to: "\(folder.path)/none/file") }
    fails(.cannotCreate, "is a file") { () throws(Failure) in try checkWritable(file) }
    fails(.cannotCreate, "folder cannot be made") { () throws(Failure) in try makeDirectory("\(file)/a/b") }
    try makeDirectory("\(folder.path)/taken")
    fails(.cannotCreate, "renamed") { () throws(Failure) in try writeAtomically([1], to: "\(folder.path)/taken") }
    #expect(TemporaryFolder.entries(folder.path) == ["file", "taken"], "no temporary file is left")
    #expect(try readBytes(file) == Array("text".utf8))
  }

  @Test("folders are made with their parents; checking for writing leaves nothing in them")
  func folders() throws {
    let folder = try TemporaryFolder()
    try makeDirectory("\(folder.path)/a/b/c")
    try makeDirectory("\(folder.path)/a/b/c")
    try checkWritable("\(folder.path)/a/d")
    #expect(TemporaryFolder.entries("\(folder.path)/a") == ["b", "d"])
    #expect(TemporaryFolder.entries("\(folder.path)/a/d") == [])
  }

  @Test("what is no file is refused without waiting")
  func noFile() throws {
    let folder = try TemporaryFolder()
    fails(.missingInput, "No such file") { () throws(Failure) in _ = try readBytes("\(folder.path)/none") }
    fails(.missingInput, "is a directory") { () throws(Failure) in _ = try readBytes(folder.path) }
    fails(.missingInput, "not a regular file") { () throws(Failure) in _ = try readBytes("/dev/zero") }
    #expect(mkfifo("\(folder.path)/pipe", 0o600) == 0)
    fails(.missingInput, "not a regular file") { () throws(Failure) in _ = try readBytes("\(folder.path)/pipe") }
  }

  @Test("a file larger than the limit is refused before it is read, a sparse terabyte too")
  func limit() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write([1, 2, 3], "file")
    #expect(try readBytes(path, limitBytes: 3) == [1, 2, 3])
    fails(.badData, "has 3 bytes, expected at most 2") { () throws(Failure) in _ = try readBytes(path, limitBytes: 2) }
    #expect(truncate(path, 1 << 40) == 0)
    fails(.badData, "has 1099511627776 bytes") { () throws(Failure) in _ = try readBytes(path) }
  }

  @Test("positions inside a file, and a file that was cut meanwhile")
  func positions() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write((0..<100).map { UInt8($0) }, "file")
    let file = try InputFile(path)
    #expect(file.byteCount == 100 && file.path == path)
    #expect(try read(file, 10, at: 90) == Array(90..<100))
    #expect(truncate(path, 95) == 0)
    fails(.badData, "ends at byte 95, expected at least 100 bytes") { () throws(Failure) in
      _ = try read(file, 10, at: 90)
    }
  }

  private func read(_ file: InputFile, _ count: Int, at offset: Int) throws(Failure) -> [UInt8] {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
    defer { memory.deallocate() }
    try file.read(into: memory, at: offset)
    return Array(memory)
  }

  @Test("the folder of a path, byte by byte")
  func parents() {
    for (path, expected) in [
      ("a", "."), ("/a", "/"), ("/", "/"), ("a/b", "a"), ("/a/b/c.txt", "/a/b"), ("a/é\u{301}/b", "a/é\u{301}"),
    ] { #expect(Array(parent(of: path).utf8) == Array(expected.utf8), "\(path)") }
  }

  @Test("links and dots are resolved, what is not there stays as it is")
  func realPaths() throws {
    let folder = try TemporaryFolder()
    try makeDirectory("\(folder.path)/a")
    #expect(symlink("\(folder.path)/a", "\(folder.path)/link") == 0)
    #expect(realPath("\(folder.path)/link/../a/.") == realPath("\(folder.path)/a"))
    #expect(realPath("\(folder.path)/none") == "\(folder.path)/none")
  }

  @Test("a failure is one line: place, message, hint; control characters are escaped")
  func failures() {
    #expect(Failure(.badData, at: "train.tsv:17:3", "label is 7").description == "train.tsv:17:3: label is 7")
    #expect(Failure(.usage, "no", hint: "try yes").description == "no (try yes)")
    let nasty = Failure(.badData, at: "a\nb", "\u{1B}[31mred\r\u{7F}\u{85}\0", hint: "\t")
    #expect(nasty.description == "a\\u{a}b: \\u{1b}[31mred\\u{d}\\u{7f}\\u{85}\\u{0} (\\u{9})")
    #expect(Failure(.badData, "é 中 🤗").description == "é 中 🤗")
    #expect("a\r\nb".escapingControlCharacters == "a\\u{d}\\u{a}b", "CRLF is one Character")
  }

  @Test("no exit status collides with a signal's, mpirun's or another")
  func statuses() {
    let values = System.ExitStatus.allCases.map(\.rawValue)
    #expect(Set(values).count == values.count)
    #expect(values.allSatisfy { $0 < 100 })
  }
}
