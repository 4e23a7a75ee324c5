import Collectives
import Glibc
import System
import Testing

/// Memory that the ranks of a host share belongs to whoever holds it.
struct HostMemoryTests {
  @Test("what one rank wrote is there for the others after it has ended and its communicator is gone")
  func outlives() throws {
    let count = 1 << 20
    let memories = try ThreadCommunicator.run(ranks: 3) { (communicator) throws(Failure) -> Kept in
      let memory = try communicator.makeHostMemory(count: count)
      guard let memory else { throw Failure(.unavailable, "no memory") }
      memory.parts[communicator.rank].update(repeating: Float(communicator.rank + 1))
      try communicator.barrier()
      // Rank 0 lets go of it; the others still read its part, and nobody waits.
      return Kept(communicator.rank == 0 ? nil : memory)
    }
    for kept in memories.dropFirst() {
      let parts = try #require(kept.memory).parts
      for (rank, part) in parts.enumerated() {
        #expect(part.count == count && part.first == Float(rank + 1) && part.last == Float(rank + 1))
      }
    }
  }

  @Test("memory that nobody holds is given back") func givesBack() throws {
    let communicator = SoloCommunicator()
    func resident() throws -> Int {
      let file = try #require(fopen("/proc/self/statm", "re"))
      defer { fclose(file) }
      var line = [CChar](repeating: 0, count: 256)
      fgets(&line, Int32(line.count), file)
      let text = String(decoding: line.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      let fields = text.split(separator: " ")
      try #require(fields.count > 2)
      return try #require(Int(fields[1])) * 4096
    }
    let before = try resident()
    for _ in 0..<20 {
      let memory = try #require(try communicator.makeHostMemory(count: 1 << 24))
      memory.parts[0].update(repeating: 1)
    }
    #expect(try resident() - before < 400 << 20, "20 times 64 MB, one at a time")
  }

  /// Unchecked: read after all ranks have ended.
  private struct Kept: @unchecked Sendable {
    var memory: HostMemory?
    init(_ memory: HostMemory?) { self.memory = memory }
  }
}
