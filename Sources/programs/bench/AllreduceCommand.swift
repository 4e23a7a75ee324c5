import ArgumentParser
import Collectives
import DataParallel
import Glibc
import Kernels
import ProgramSupport
import System
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

  @Option(name: bothSpellings("bucket-kilobytes"), help: "What the exchange between hosts sums at once, on the wire.")
  var bucketKilobytes = 1000

  @OptionGroup var wire: WireOptions

  func run(_ communicator: any Communicator, _ settings: RankSettings) throws(Failure) {
    try check(maxMegabytes, "--max-megabytes", 1...100_000)
    try check(bucketKilobytes, "--bucket-kilobytes", 1...1_000_000)
    try check(repetitions, "--repetitions", 1...100_000)
    // Four times as large each, and the largest itself.
    var sizes: [Int] = []
    var bytes = 1000
    while bytes < maxMegabytes * 1_000_000 {
      sizes.append(bytes)
      bytes *= 4
    }
    sizes.append(maxMegabytes * 1_000_000)

    let count = maxMegabytes * 250_000
    let groups = try HostTopology(hostsOf: communicator)
    let memory = groups.count == 1 ? try communicator.makeHostMemory(count: count) : nil
    let own = memory == nil ? FloatBuffer(count: count) : nil
    guard let buffer = memory?.parts[communicator.localRank].baseAddress ?? own?.pointer else {
      throw Failure(.internalError, "no memory to sum")
    }
    var methods: [Method] = [.communicator]
    if memory != nil { methods.append(.sharedMemory) }
    // One rank a host: more of them add up in shared memory first, which is timed where there is one host.
    var exchange: Exchange?
    if groups.count > 1, groups.count == communicator.size {
      exchange = Exchange(
        try communicator.makeLink(), groups, wire.ddpCommHook, count, bucketBytes: 1000 * bucketKilobytes)
      methods.append(.exchange)
    }
    if communicator is MPICommunicator { methods.append(.mpi) }
    var results: [AllreduceResult.Entry] = []
    for size in sizes {
      for method in methods {
        let seconds = try measure(method, count: size / 4, buffer, memory, exchange, communicator)
        results.append(AllreduceResult.Entry(method, bytes: size / 4 * 4, seconds: seconds, ranks: communicator.size))
      }
    }
    let bandwidth = try communicator.sum(Bandwidth.measure(communicator, threads: settings.threads)) * 1e-9
    let machine = try Machine(communicator, settings)
    guard communicator.isMain else { return }
    try Output.write(
      json: AllreduceResult(results: results, memory_gigabytes_per_second_all_ranks: bandwidth, machine: machine))
  }

  /// A way to add up.
  enum Method: String, Encodable {
    /// `Communicator.sum`: MPI's, in pieces.
    case communicator
    /// Each rank adds up its slice in memory that all see: what ranks on one host use.
    case sharedMemory = "shared memory"
    /// What ranks on several hosts use, by `--ddp-comm-hook` in fewer bytes than the size says.
    case exchange
    /// One call of MPI_Allreduce.
    case mpi = "MPI_Allreduce"
  }

  /// The sum over hosts as training does it, one rank a host.
  private struct Exchange {
    let sum: InterHostAllReduce
    let bucket: Int
    let residual: FloatBuffer?

    init(_ link: any PointToPointChannel, _ groups: HostTopology, _ wire: WirePrecision, _ count: Int, bucketBytes: Int)
    {
      bucket = max(16, bucketBytes / wire.byteCount)
      sum = InterHostAllReduce(link, groups, wire: wire, mostFloats: bucket)
      residual = wire.rounds ? FloatBuffer(count: count) : nil
    }

    func callAsFunction(_ buffer: UnsafeMutablePointer<Float>, count: Int) throws(Failure) {
      try sum(buffer, residual: residual?.pointer, count: count, bucket: bucket)
    }
  }

  /// The median time until the slowest rank is through.
  private func measure(
    _ method: Method, count: Int, _ buffer: UnsafeMutablePointer<Float>, _ memory: HostMemory?,
    _ exchange: Exchange?, _ communicator: any Communicator
  ) throws(Failure) -> Double {
    let rank = communicator.rank
    var times: [Double] = []
    // Once more for what the first call sets up.
    for repetition in 0...repetitions {
      for index in 0..<count { buffer[index] = Float((index % 7 + 1) * (rank + 1)) }
      try communicator.barrier()
      var clock = LapClock()
      switch (method, memory, communicator as? MPICommunicator) {
      case (.exchange, _, _): try exchange?(buffer, count: count)
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
      // bf16 knows integers up to 256.
      let isExact = method != .exchange || !wire.ddpCommHook.rounds || 7 * triangle(communicator.size) <= 256
      try verify(
        isExact ? 0 : 0.01, method == .sharedMemory ? memory?.parts[0].baseAddress ?? buffer : buffer, count,
        communicator)
      let slowest = try communicator.allGather(seconds).max() ?? seconds
      if repetition > 0 { times.append(slowest) }
    }
    return Spread(times).median
  }

  /// Every element is (i mod 7 + 1) · (1 + … + ranks), exact in a float for up to 2,000 ranks.
  private func verify(
    _ tolerance: Float, _ sum: UnsafePointer<Float>, _ count: Int, _ communicator: any Communicator
  ) throws(Failure) {
    let factor = triangle(communicator.size)
    try communicator.agree { () throws(Failure) in
      for index in 0..<count {
        let expected = Float((index % 7 + 1) * factor)
        guard abs(sum[index] - expected) <= tolerance * expected else {
          throw Failure(.internalError, "element \(index) of \(count) is \(sum[index]), expected \(expected)")
        }
      }
    }
  }

  private func triangle(_ ranks: Int) -> Int { ranks * (ranks + 1) / 2 }
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
