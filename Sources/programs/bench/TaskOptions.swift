import ArgumentParser
import Collectives
import Datasets
import Kernels
import ProgramSupport
import System
import Training

/// The model and the rows that steps are timed on.
struct TaskOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "A checkpoint folder, or under ./launch a name on the hub; its geometry and vocabulary are used, with random weights.",
      valueName: "dir|name"))
  var model: String

  @OptionGroup var revision: RevisionOption

  @Option(help: "The task: \(GLUETask.all.map(\.name).joined(separator: ", ")).")
  var task = GLUETask.mrpc.name

  @Option(help: ArgumentHelp("The folder of the task's tables. (./launch fetches those of --task)", valueName: "dir"))
  var data: String

  @Option(name: bothSpellings("batch-size"), help: "Rows of a batch on each rank.")
  var batchSize = 8

  @Option(help: "Seed of order, weights and dropout.")
  var seed = 42

  @OptionGroup var precision: PrecisionOptions

  /// The model's folder, for the task's labels.
  func folder() throws(Failure) -> ModelFolder {
    try revision.check()
    try check(batchSize, "--batch-size", Limits.batchSize)
    return try ModelFolder(model, labels: GLUETask.named(task).labelCount)
  }

  /// The rows of a split, or the first `most` of them.
  func rows(_ split: Split, _ folder: ModelFolder, most: Int = .max) throws(Failure) -> TokenizedDataset {
    let pairs = try loadSplit(GLUETask.named(task), folder: data, split: split)
    return try folder.tokenized(
      Array(pairs.prefix(most)), maxLength: min(512, folder.configuration.maximumPositions))
  }

  /// A loader of this rank's rows, in shuffled order.
  func loader(_ rows: TokenizedDataset, _ communicator: any Communicator) throws(Failure) -> MicroBatchLoader {
    let plan = try ShardPlan(datasetSize: rows.count, batchSize: batchSize, ranks: communicator.size)
    return try MicroBatchLoader(rows, plan: plan, rank: communicator.rank, order: .shuffled(seed: seed))
  }

  /// The model of all ranks, with random weights.
  func makeModel(
    _ folder: ModelFolder, _ communicator: any Communicator, _ settings: RankSettings
  ) throws(Failure) -> Model {
    let model = try Model(folder.configuration, communicator, sharesMemory: settings.sharesMemory)
    try model.load(WeightPlan(.random, from: folder, communicator), seed: seed, communicator)
    return model
  }
}
