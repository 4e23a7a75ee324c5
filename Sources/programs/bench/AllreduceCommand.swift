import ArgumentParser
import Collectives
import FileSystem
import Glibc
import Kernels
import ProgramSupport
import Training

/// `bench allreduce`: sums over all ranks, of many sizes, by every way that there is.
struct AllreduceCommand: Measurement {
  static let configuration = CommandConfiguration(
    commandName: "allreduce",
    abstract: "Times sums over all ranks from 1 kB on: as training computes them, beside MPI's own and the memory.")

  @Option(name: bothSpellings("max-megabytes"), help: "The largest size; bert-base has 440 MB of gradients.")
  var maxMegabytes = 64

  @Option(help: "How often each size is timed; the median counts.")
  var repetitions = 7

  func run(_ communicator: any Communicator) throws(Failure) {
    try check(maxMegabytes, "--max-megabytes", 1...100_000)
    try check(repetitions, "--repetitions", 1...100_000)
    // Four times as large each, and the largest itself.
    var sizes: [Int] = []
    var bytes = 1000
    while bytes < maxMegabytes * 1_000_000 {
      sizes.append(bytes)
      bytes *= 4
    }
    sizes.append(maxMegabytes * 1_000_000)

    let memory = try communicator.makeJobMemory(count: maxMegabytes * 250_000)
    let own = memory == nil ? FloatBuffer(count: maxMegabytes * 250_000) : nil
    guard let buffer = memory?.parts[communicator.localRank].baseAddress ?? own?.pointer else {
      throw Failure(.internalError, "no memory to sum")
    }
    var methods: [Method] = [.communicator]
    if memory != nil { methods.append(.sharedMemory) }
    if communicator is MPICommunicator { methods.append(.mpi) }
    var results: [AllreduceResult.Entry] = []
    for size in sizes {
      for method in methods {
        let seconds = try measure(method, count: size / 4, buffer, memory, communicator)
        results.append(AllreduceResult.Entry(method, bytes: size / 4 * 4, seconds: seconds, ranks: communicator.size))
      }
    }
    let bandwidth = try communicator.sum(Bandwidth.measure(communicator)) * 1e-9
    let machine = try Machine(communicator)
    guard communicator.isMain else { return }
    try Output.write(
      json: AllreduceResult(results: results, memory_gigabytes_per_second_all_ranks: bandwidth, machine: machine))
  }

  /// A way to add up.
  enum Method: String, Encodable {
    /// `Communicator.sum`, which is what ranks on several hosts use.
    case communicator
    /// Each rank adds up its slice in memory that all see: what ranks on one host use.
    case sharedMemory = "shared memory"
    /// One call of MPI_Allreduce.
    case mpi = "MPI_Allreduce"
  }

  /// The median time until the slowest rank is through.
  private func measure(
    _ method: Method, count: Int, _ buffer: UnsafeMutablePointer<Float>, _ memory: HostMemory?,
    _ communicator: any Communicator
  ) throws(Failure) -> Double {
    let rank = communicator.rank
    var times: [Double] = []
    // Once more for what the first call sets up.
    for repetition in 0...repetitions {
      for index in 0..<count { buffer[index] = Float((index % 7 + 1) * (rank + 1)) }
      try communicator.barrier()
      var clock = LapClock()
      switch (method, memory, communicator as? MPICommunicator) {
      case (.sharedMemory, let memory?, _):
        let sources = memory.parts.compactMap(\.baseAddress)
        let slice = count * rank / communicator.size..<count * (rank + 1) / communicator.size
        for source in sources.dropFirst() {
          add(count: slice.count, source + slice.lowerBound, to: sources[0] + slice.lowerBound)
        }
        try communicator.barrier()
      case (.mpi, _, let communicator?):
        try MPILibrary.allreduce(UnsafeMutableBufferPointer(start: buffer, count: count), communicator)
      default: try communicator.sum(UnsafeMutableBufferPointer(start: buffer, count: count))
      }
      let seconds = clock.lap()
      try verify(method == .sharedMemory ? memory?.parts[0].baseAddress ?? buffer : buffer, count, communicator)
      let slowest = try communicator.allGather(seconds).max() ?? seconds
      if repetition > 0 { times.append(slowest) }
    }
    return Spread(times).median
  }

  /// Every element is (i mod 7 + 1) · (1 + … + ranks), exact in a float for up to 2,000 ranks.
  private func verify(
    _ sum: UnsafePointer<Float>, _ count: Int, _ communicator: any Communicator
  ) throws(Failure) {
    let triangle = communicator.size * (communicator.size + 1) / 2
    try communicator.agree { () throws(Failure) in
      for index in 0..<count where sum[index] != Float((index % 7 + 1) * triangle) {
        throw Failure(
          .internalError, "element \(index) of \(count) is \(sum[index]), expected \((index % 7 + 1) * triangle)")
      }
    }
  }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
private struct AllreduceResult: Encodable {
  // swift-format-ignore: AlwaysUseLowerCamelCase
  struct Entry: Encodable {
    var method: AllreduceCommand.Method
    var bytes: Int
    var microseconds: Double
    /// bytes ÷ time × 2 (ranks - 1) ÷ ranks: what a link carries in the best algorithm, whatever the ranks.
    var bus_gigabytes_per_second: Double

    init(_ method: AllreduceCommand.Method, bytes: Int, seconds: Double, ranks: Int) {
      self.method = method
      self.bytes = bytes
      microseconds = seconds * 1e6
      bus_gigabytes_per_second = Double(bytes) / seconds * 1e-9 * 2 * Double(ranks - 1) / Double(ranks)
    }
  }
  var results: [Entry]
  var memory_gigabytes_per_second_all_ranks: Double
  var machine: Machine
}
