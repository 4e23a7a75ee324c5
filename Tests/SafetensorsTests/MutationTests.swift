import Glibc
import Safetensors
import System
import TestSupport
import Testing

/// Small random changes to a good file: each is refused as bad data, or is a good file again. Never a trap.
///
/// With LOCKSTEP_SLOW there are 100,000. With LOCKSTEP_MUTATIONS=FILE the files and the verdicts are written there, for
/// `differential.py`, which asks the format's reference implementation about them.
@Suite("Mutations")
struct MutationTests {
  @Test("of a good file are refused, or are sound")
  func mutations() throws {
    let folder = try TemporaryFolder()
    let rounds = getenv("LOCKSTEP_SLOW") == nil ? 20_000 : 100_000
    let record = try getenv("LOCKSTEP_MUTATIONS").map { try AtomicFile(String(cString: $0)) }
    var accepted = 0
    for round in 0..<rounds {
      var mutator = Mutator(seed: UInt64(round), dictionary: SafetensorsSample.dictionary)
      let bytes = SafetensorsSample.mutated(SafetensorsSample.file, &mutator)
      let path = try folder.write(bytes)
      var isAccepted = false
      do {
        let file = try SafetensorsFile(path)
        isAccepted = true
        let start = 8 + (0..<8).reduce(0) { $0 | Int(bytes[$1]) << (8 * $1) }
        var end = start
        for tensor in file.tensors {
          let elements = tensor.shape.reduce(1, *)
          #expect(start + tensor.byteRange.lowerBound == end)
          end += tensor.dtype.map { elements * $0.byteCount } ?? tensor.byteRange.count
          #expect(try file.rawBytes(tensor) == Array(bytes[start + tensor.byteRange.lowerBound..<end]))
        }
        #expect(end == bytes.count)
        accepted += 1
      } catch {
        let failure = error as? Failure
        #expect(failure?.status == .badData && failure?.place == path, "round \(round): \(error)")
      }
      try record?.write(
        (0..<4).map { UInt8(truncatingIfNeeded: bytes.count >> (8 * $0)) } + [isAccepted ? 1 : 0] + bytes)
    }
    try record?.commit()
    #expect(accepted > rounds / 100 && accepted < rounds / 2, "\(accepted) of \(rounds) accepted")
  }
}
