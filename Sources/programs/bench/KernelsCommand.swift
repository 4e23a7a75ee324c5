import ArgumentParser
import Collectives
import Kernels
import ProgramSupport
import System
import Training

/// `bench kernels`: everything in a layer that is no matrix product, and the optimizer.
struct KernelsCommand: Measurement {
  static let configuration = CommandConfiguration(
    commandName: "kernels",
    abstract: "Times GELU, LayerNorm, softmax, dropout and AdamW, forward and backward, on all ranks at once.")

  @Option(help: "Tokens of a batch.")
  var tokens = 300

  @Option(name: bothSpellings("hidden-size"), help: "Width of the model.")
  var hiddenSize = 768

  @Option(name: bothSpellings("intermediate-size"), help: "Width of the feed-forward layer.")
  var intermediateSize = 3072

  @Option(help: "Tokens of a sequence, for softmax.")
  var length = 40

  @Option(help: "Parameters, for AdamW; the default does not fit into a cache.")
  var parameters = 20_000_000

  @Option(help: "How often each kernel is timed; the median counts.")
  var repetitions = 9

  func run(_ communicator: any Communicator, _ settings: RankSettings) throws(Failure) {
    try check(tokens, "--tokens", 1...100_000)
    try check(hiddenSize, "--hidden-size", 1...100_000)
    try check(intermediateSize, "--intermediate-size", 1...100_000)
    try check(length, "--length", 1...10_000)
    try check(parameters, "--parameters", 1...1_000_000_000)
    try check(repetitions, "--repetitions", 1...100_000)
    var results: [KernelsResult.Entry] = []
    let kernels =
      KernelBench.gelu(rows: tokens, columns: intermediateSize)
      + KernelBench.layerNorm(rows: tokens, columns: hiddenSize)
      + KernelBench.softmax(rows: tokens, columns: length)
      + KernelBench.dropout(rows: tokens, columns: hiddenSize) + KernelBench.adamW(count: parameters)
    for kernel in kernels {
      try communicator.agree { () throws(Failure) in try kernel.verify() }
      try communicator.barrier()
      var times: [Double] = []
      for _ in 0..<repetitions {
        kernel.prepare()
        var clock = LapClock()
        kernel.run()
        times.append(clock.lap())
      }
      let slowest = try communicator.allGather(Spread(times).median).max() ?? 0
      results.append(KernelsResult.Entry(kernel, seconds: slowest))
    }
    let machine = try Machine(communicator, settings)
    guard communicator.isMain else { return }
    try Output.write(json: KernelsResult(kernels: results, machine: machine))
  }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
private struct KernelsResult: Encodable {
  // swift-format-ignore: AlwaysUseLowerCamelCase
  struct Entry: Encodable {
    var name: String
    var elements: Int
    /// Of the slowest rank.
    var microseconds: Double
    var gigaelements_per_second: Double
    /// Of what the kernel must read and write, were nothing in a cache.
    var gigabytes_per_second: Double
    /// From the same in double precision.
    var largest_error: Double

    init(_ kernel: KernelBench, seconds: Double) {
      name = kernel.name
      elements = kernel.elements
      microseconds = seconds * 1e6
      gigaelements_per_second = Double(kernel.elements) / seconds * 1e-9
      gigabytes_per_second = Double(kernel.elements * kernel.bytesPerElement) / seconds * 1e-9
      largest_error = kernel.largestError
    }
  }
  var kernels: [Entry]
  var machine: Machine
}
