import ArgumentParser
import Collectives
import Glibc
import Kernels
import Reporting
import System
import Training

/// `selftest network`: how long all-reduces take.
struct NetworkCommand: RankCommand {
  static let configuration = CommandConfiguration(
    commandName: "network", abstract: "Measures an all-reduce of 1 kB and one of 64 MB over all ranks.")

  func run(_ communicator: any Communicator, _ settings: RankSettings, _ reporter: Reporter) throws(Failure) {
    let hosts = Set(try communicator.allGather(Array(communicator.host.utf8))).count
    let over = "\(communicator.size) rank\(communicator.size == 1 ? "" : "s") on \(hosts) host\(hosts == 1 ? "" : "s")"
    for (name, bytes, times) in [("1 kB", 1 << 10, 21), ("64 MB", 64 << 20, 3)] {
      let seconds = try medianSeconds(communicator, count: bytes / MemoryLayout<Float>.size, times: times)
      let rate = bytes > 1 << 20 ? ", \(formatted(Double(bytes) / seconds / 1e9, digits: 2)) GB/s" : ""
      try reporter.line("all-reduce of \(name) over \(over): \(formatted(seconds * 1e3, digits: 3)) ms\(rate)")
    }
  }

  /// The median of `times`, of the slowest rank each; the sums are verified first.
  private func medianSeconds(_ communicator: any Communicator, count: Int, times: Int) throws(Failure) -> Double {
    let memory = FloatBuffer(count: count)
    memory.buffer.update(repeating: Float(communicator.rank + 1))
    try communicator.sum(memory.buffer)
    let wanted = Float(communicator.size * (communicator.size + 1) / 2)
    let wrong = memory.buffer.firstIndex { $0 != wanted }
    try communicator.agree { () throws(Failure) in
      if let wrong {
        throw Failure(
          .disagreement, at: "all-reduce", "element \(wrong) is \(memory.buffer[wrong]), expected \(wanted)")
      }
    }
    var seconds: [Double] = []
    for _ in 0..<times {
      memory.buffer.update(repeating: 1)
      try communicator.barrier()
      let start = ContinuousClock.now
      try communicator.sum(memory.buffer)
      let own = (ContinuousClock.now - start) / .seconds(1)
      seconds.append(try communicator.allGather(own).max() ?? own)
    }
    return seconds.sorted()[times / 2]
  }
}
