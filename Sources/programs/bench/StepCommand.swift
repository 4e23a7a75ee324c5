import ArgumentParser
import BERT
import Collectives
import Datasets
import FileSystem
import Kernels
import ProgramSupport
import Training

/// `bench step`: training steps as `finetune` takes them.
struct StepCommand: Measurement {
  static let configuration = CommandConfiguration(
    commandName: "step", abstract: "Times training steps of a model on a task's rows, in shuffled order.")

  @Option(
    help: ArgumentHelp(
      "A checkpoint folder; its geometry and vocabulary are used, with random weights.", valueName: "dir"))
  var model: String

  @Option(help: "The task: \(GLUETask.all.map(\.name).joined(separator: ", ")).")
  var task = GLUETask.mrpc.name

  @Option(help: ArgumentHelp("The folder of the task's tables.", valueName: "dir"))
  var data: String

  @Option(name: bothSpellings("batch-size"), help: "Rows of a batch on each rank.")
  var batchSize = 8

  @Option(help: "Timed steps.")
  var steps = 20

  @Option(help: "Steps before the timed ones.")
  var warmup = 3

  @OptionGroup var precision: PrecisionOptions

  @Option(help: "Seed of order, weights and dropout.")
  var seed = 42

  func run(_ communicator: any Communicator) throws(Failure) {
    guard steps >= 1 else { throw Failure(.usage, at: "--steps", "\(steps), expected at least 1") }
    guard warmup >= 0 else { throw Failure(.usage, at: "--warmup", "\(warmup), expected at least 0") }
    let (products, folder, dataset) = try communicator.agree {
      () throws(Failure) -> (ProductPrecision, ModelFolder, TokenizedDataset) in
      let precision = try precision.precision()
      let task = try GLUETask.named(task)
      let folder = try ModelFolder(model, labels: task.labelCount)
      let pairs = try loadSplit(task, folder: data, split: .train)
      let length = min(512, folder.configuration.maximumPositions)
      return (precision, folder, try TokenizedDataset(pairs, tokenizer: folder.tokenizer, maxLength: length))
    }
    let plan = try ShardPlan(datasetSize: dataset.count, batchSize: batchSize, ranks: communicator.size)
    let loader = try DataLoader(dataset, plan: plan, rank: communicator.rank, order: .shuffled(seed: seed))
    let network = try Model(folder.configuration, communicator)
    _ = try network.load(.random, from: folder, seed: seed, communicator)
    let accelerator = try Accelerator(
      communicator, model: network, optimizer: AdamW.Options(weightDecay: 0.01), limits: loader.limits,
      precision: products, seed: UInt64(bitPattern: Int64(seed)))

    var seconds: [StepSeconds] = []
    var tokens = 0
    var examples = 0
    var clock = LapClock()
    var wall = 0.0
    var losses: [Double] = []
    shares: for epoch in 0... {
      for share in loader.epoch(epoch) {
        if seconds.count == steps { break shares }
        accelerator.backward(share)
        let report = try accelerator.step(learningRate: 3e-5)
        losses.append(report.loss)
        guard report.step > warmup else {
          clock = LapClock()
          continue
        }
        seconds.append(accelerator.stepSeconds)
        examples += share.windowRows
        tokens += share.rows.reduce(0) { $0 + dataset.tokens($1).count }
      }
    }
    clock.add(to: &wall)
    let allTokens = try communicator.sum(Double(tokens))
    let result = StepResult(
      examples_per_second: Double(examples) / wall, tokens_per_second: allTokens / wall,
      first_loss: losses[0], last_loss: losses[losses.count - 1],
      milliseconds: Milliseconds(seconds))
    if communicator.isMain { try Output.write(json: result) }
  }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
struct StepResult: Encodable {
  var examples_per_second: Double
  var tokens_per_second: Double
  var first_loss: Double
  var last_loss: Double
  var milliseconds: Milliseconds
}

/// Medians over steps, on rank 0.
struct Milliseconds: Encodable {
  var data, forward, backward, waiting, communication, optimizer, total: Double

  init(_ steps: [StepSeconds]) {
    func median(_ part: KeyPath<StepSeconds, Double>) -> Double {
      let sorted = steps.map { $0[keyPath: part] }.sorted()
      return 1e3 * sorted[sorted.count / 2]
    }
    data = median(\.data)
    forward = median(\.forward)
    backward = median(\.backward)
    waiting = median(\.waiting)
    communication = median(\.communication)
    optimizer = median(\.optimizer)
    total = median(\.total)
  }
}
