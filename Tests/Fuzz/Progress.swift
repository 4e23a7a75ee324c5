import Glibc
import System

/// Where a child of the fuzzer notes how far it is, in memory that it shares with its parent: a trap leaves it there.
///
/// Unchecked: the child writes, and the parent reads after its end.
final class Progress: @unchecked Sendable {
  struct Counts {
    /// The input that is being read.
    var number = 0
    var accepted = 0
    var refused = 0
    /// The most memory that a large input took, for each of its bytes.
    var largestMultiple = 0.0
    var slowestSeconds = 0.0
    var slowestNumber = 0
  }

  private let memory: UnsafeMutableRawPointer

  init(_ path: String) throws {
    let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard file >= 0, ftruncate(file, 4096) == 0,
      let memory = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), memory != MAP_FAILED
    else { throw Failure(.cannotCreate, at: path, lastSystemError()) }
    close(file)
    self.memory = memory
  }

  deinit { munmap(memory, 4096) }

  var counts: Counts {
    get { memory.load(as: Counts.self) }
    set { memory.storeBytes(of: newValue, as: Counts.self) }
  }
}
