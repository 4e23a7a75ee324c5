import Glibc
import Safetensors
import System
import Testing

import struct System.ExitStatus  // Testing has one too.

@Suite("Bad files")
struct BadFileTests {
  @Test(
    "are refused with the file, the place and what was expected",
    arguments: BadFile.lengths + BadFile.texts + BadFile.members + BadFile.numbers + BadFile.ranges)
  func refused(file: BadFile) throws {
    try expectRefused(file)
  }

  @Test("of 99 MB are refused without reading them by entries", arguments: BadFile.large)
  func refusedQuickly(file: BadFile) throws {
    try expectRefused(file)
  }

  private func expectRefused(_ file: BadFile) throws {
    let folder = try TemporaryFolder()
    let path = try folder.write(file.bytes())
    let start = threadSeconds()
    let failure = #expect(throws: Failure.self) { try SafetensorsFile(path) }
    // Tests/checked builds slower code, a sanitizer's in particular.
    #expect(threadSeconds() - start < (getenv("LOCKSTEP_CHECKED") == nil ? 1 : 5))
    #expect(failure?.status == .badData && failure?.place == path)
    #expect(failure?.description.contains(file.text) == true, "\(failure as Any)")
    #expect((failure?.description.utf8.count ?? 0) < 1000)
  }

  /// Of this thread alone: other tests run meanwhile.
  private func threadSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  @Test("that are no files, or sparse, are refused at once")
  func specialFiles() throws {
    let folder = try TemporaryFolder()
    let pipe = "\(folder.path)/pipe"
    #expect(mkfifo(pipe, 0o600) == 0)
    for path in [folder.path, pipe, "/dev/zero", "\(folder.path)/none"] {
      let failure = #expect(throws: Failure.self) { try SafetensorsFile(path) }
      #expect(failure?.status == .missingInput && failure?.place == path)
    }
    let sparse = try folder.write([], as: "sparse")
    #expect(truncate(sparse, 1 << 40) == 0)
    let failure = #expect(throws: Failure.self) { try SafetensorsFile(sparse) }
    #expect(failure?.status == .badData, "\(failure as Any)")
  }

  @Test("that somebody cuts while they are read throw, naming the tensor")
  func cutWhileReading() throws {
    let folder = try TemporaryFolder()
    let bytes = fileBytes("{\(member("a", "F32", "[2]", "[0,8]"))}", dataBytes: 8)
    let path = try folder.write(bytes)
    let file = try SafetensorsFile(path)
    #expect(truncate(path, bytes.count - 2) == 0)
    let failure = #expect(throws: Failure.self) { try file.floats("a") }
    let message = "tensor a: ends at byte \(bytes.count - 2), expected at least \(bytes.count) bytes"
    #expect(failure == Failure(.badData, at: path, message))
  }

  @Test("control characters in a name do not reach the terminal")
  func controlCharacters() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write(fileBytes(#"{"\u001b[31m":1}"#))
    let failure = #expect(throws: Failure.self) { try SafetensorsFile(path) }
    #expect(failure?.description.utf8.contains(0x1b) == false)
  }
}
