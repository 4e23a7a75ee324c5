import ArgumentParser
import Collectives
import Glibc
import Kernels
import ProgramSupport
import System
import Training

/// `bench gemm`: the products of a BERT's linear layers, by every way that this machine has.
struct GEMMCommand: Measurement {
  static let configuration = CommandConfiguration(
    commandName: "gemm",
    abstract: "Times the matrix products of a layer, forward and backward, in BLAS and in the CPU's bf16 units.")

  @Option(help: "Tokens of a batch.")
  var tokens = 300

  @Option(name: bothSpellings("hidden-size"), help: "Width of the model.")
  var hiddenSize = 768

  @Option(name: bothSpellings("intermediate-size"), help: "Width of the feed-forward layer.")
  var intermediateSize = 3072

  @Option(help: "How often each product is timed; the best counts.")
  var repetitions = 5

  func run(_ communicator: any Communicator, _ settings: RankSettings) throws(Failure) {
    try check(tokens, "--tokens", 1...100_000)
    try check(hiddenSize, "--hidden-size", 1...100_000)
    try check(intermediateSize, "--intermediate-size", 1...100_000)
    try check(repetitions, "--repetitions", 1...100_000)
    let products = LayerProducts(tokens: tokens, hidden: hiddenSize, intermediate: intermediateSize)
    let bench = ProductBench(products, settings)
    // All ranks at once, as in training.
    var results: [ProductResult] = []
    for method in ProductMethod.available {
      try communicator.barrier()
      results.append(try bench.measure(method, repetitions: repetitions))
    }
    let slowest = try communicator.allGather(results.map(\.gflops_per_second))
    if communicator.isMain {
      try Output.write(
        json: GEMMResult(
          tokens: tokens, ranks: communicator.size, blas: Hardware.blas,
          slowest_rank_gflops_per_second: Dictionary(
            uniqueKeysWithValues: results.enumerated().map { index, result in
              (result.method, slowest.map { $0[index] }.min() ?? 0)
            }), methods: results))
    }
  }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
private struct GEMMResult: Encodable {
  var tokens: Int
  var ranks: Int
  var blas: String
  var slowest_rank_gflops_per_second: [String: Double]
  /// Of rank 0.
  var methods: [ProductResult]
}
