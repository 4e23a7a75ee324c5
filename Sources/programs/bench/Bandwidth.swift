import Collectives
import Glibc
import Kernels
import System
import Training

/// The memory's speed for y += x, which reads both and writes y: every byte that moves is counted, as in an optimizer's
/// pass, which too writes only what it has read.
enum Bandwidth {
  static let bytesPerElement = 12.0

  /// This rank's share of the memory's bytes a second, all ranks at once; called by all ranks.
  ///
  /// - Parameter megabytes: of each of the two arrays of a rank; all together must not fit into the caches.
  static func measure(
    _ communicator: any Communicator, threads: Int, megabytes: Int = 128, repetitions: Int = 5
  ) throws(Failure) -> Double {
    let count = megabytes * 1_000_000 / MemoryLayout<Float>.stride / threads
    var best = Double.infinity
    // The threads keep their memory from one repetition to the next.
    let pairs = (0..<threads).map { _ in Arrays(count: count) }
    for _ in 0..<repetitions {
      try communicator.barrier()
      var clock = LapClock()
      if threads == 1 {
        pairs[0].addOnce()
      } else {
        _ = try ThreadCommunicator.run(ranks: threads) { (thread) throws(Failure) in pairs[thread.rank].addOnce() }
      }
      best = min(best, clock.lap())
    }
    for pair in pairs { try pair.verify(times: repetitions) }
    return bytesPerElement * Double(count * threads) / best
  }

  /// Memory of one thread. Unchecked, because nobody else touches it between start and end of a run.
  private final class Arrays: @unchecked Sendable {
    let count: Int
    let x: UnsafeMutablePointer<Float>
    let y: UnsafeMutablePointer<Float>

    init(count: Int) {
      self.count = count
      x = allocateFloats(count)
      y = allocateFloats(count)
      for index in 0..<count {
        x[index] = Float(index % 7)
        y[index] = 1
      }
    }

    deinit {
      free(x)
      free(y)
    }

    func addOnce() { add(count: count, x, to: y) }

    func verify(times: Int) throws(Failure) {
      for index in stride(from: 0, to: count, by: 997) where y[index] != Float(1 + times * (index % 7)) {
        throw Failure(
          .internalError, "y[\(index)] is \(y[index]) after \(times) additions, expected \(1 + times * (index % 7))")
      }
    }
  }
}
