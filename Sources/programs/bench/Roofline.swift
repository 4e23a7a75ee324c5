import BERT
import Collectives
import Datasets
import Kernels
import System
import Training

/// The least time that a step can take by the machine's own figures:
///
/// (6 × encoder and head weights × real tokens + the attention products, forward and backward) ÷ the product rate of all
/// cores + 28 bytes × parameters ÷ the memory's bandwidth.
///
/// Six: two operations for each weight and token in forward, the gradient of the input and that of the weight. 28 bytes:
/// AdamW reads weight, gradient and both moments and writes all but the gradient. Padding counts for nothing.
struct Roofline {
  let weights: Int
  let parameters: Int
  private let attentionWidth: Int

  init(_ configuration: BertConfiguration) {
    let hidden = configuration.hiddenSize
    let layer = 4 * hidden * hidden + 2 * hidden * configuration.intermediateSize
    weights = configuration.layers * layer + hidden * hidden + configuration.labels * hidden
    parameters = ParameterLayout(configuration).count
    attentionWidth = configuration.layers * hidden
  }

  /// Operations of forward and backward of these rows.
  func operations(_ rows: [Int], of dataset: TokenizedDataset) -> Double {
    rows.reduce(0) { sum, row in
      let length = Double(dataset.tokens(row).count)
      // Scores and context are 2 · length² · H operations each; backward has two products for each of them.
      return sum + 6 * Double(weights) * length + 12 * length * length * Double(attentionWidth)
    }
  }

  /// - Parameters:
  ///   - productRate: operations a second of all ranks together.
  ///   - bandwidth: bytes a second of the slowest host.
  func seconds(operations: Double, productRate: Double, bandwidth: Double) -> Double {
    operations / productRate + 28 * Double(parameters) / bandwidth
  }
}

extension MachineFigures {
  /// Called by all ranks.
  ///
  /// - Parameter tokens: of a rank's batch.
  init(
    _ configuration: BertConfiguration, precision: ProductPrecision, tokens: Int, _ communicator: any Communicator,
    _ settings: RankSettings
  ) throws(Failure) {
    let bench = ProductBench(
      LayerProducts(tokens: tokens, hidden: configuration.hiddenSize, intermediate: configuration.intermediateSize),
      settings)
    func rate(_ method: ProductMethod) throws(Failure) -> Double {
      try communicator.barrier()
      return try communicator.sum(bench.measure(method, repetitions: 5).gflops_per_second)
    }
    library_gflops_per_second = precision == .bf16 ? nil : try rate(.blas)
    own_gflops_per_second = try rate(.training(precision))
    // The ranks of a host share its memory; every host's weights are updated, so the slowest counts.
    let shares = try communicator.allGather(Bandwidth.measure(communicator, threads: settings.threads))
    let names = try communicator.allGather(Array(communicator.host.utf8))
    let hosts = Set(names).map { host in zip(names, shares).reduce(0) { $0 + ($1.0 == host ? $1.1 : 0) } }
    memory_gigabytes_per_second = (hosts.min() ?? 0) * 1e-9
  }
}

extension RooflineResult {
  /// - Parameters:
  ///   - operations: of each step, all ranks together.
  ///   - seconds: of each step.
  init(_ roofline: Roofline, _ figures: MachineFigures, operations: [Double], seconds: [Double]) {
    func limits(_ gigaflops: Double) -> [Double] {
      operations.map {
        roofline.seconds(
          operations: $0, productRate: gigaflops * 1e9, bandwidth: figures.memory_gigabytes_per_second * 1e9)
      }
    }
    func share(_ gigaflops: Double) -> Double { Spread(zip(limits(gigaflops), seconds).map { $0 / $1 }).median }
    let best = max(figures.own_gflops_per_second, figures.library_gflops_per_second ?? 0)
    milliseconds = Spread(limits(best).map { 1e3 * $0 }).median
    fraction = share(best)
    fraction_with_library_rate = figures.library_gflops_per_second.map(share)
    fraction_with_own_rate = share(figures.own_gflops_per_second)
  }
}
