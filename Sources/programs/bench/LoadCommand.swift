import ArgumentParser
import Collectives
import Corpus
import Datasets
import Glibc
import Kernels
import ProgramSupport
import System
import Training

/// `bench load`: how long it takes until a job runs.
struct LoadCommand: Measurement {
  static let configuration = CommandConfiguration(
    commandName: "load",
    abstract: "Times the start: from the command to the first step of the embedded default, part by part.",
    discussion: "With --data also tokenizing all rows of a task, with --model also loading a checkpoint.")

  @Option(
    help: ArgumentHelp(
      "A checkpoint folder, or under ./launch a name on the hub, to time loading it, or for its vocabulary.",
      valueName: "dir|name"))
  var model: String?

  @OptionGroup var revision: RevisionOption

  @Option(help: "The task: \(GLUETask.all.map(\.name).joined(separator: ", ")).")
  var task = GLUETask.mrpc.name

  @Option(help: ArgumentHelp("The folder of the task's tables; needs --model.", valueName: "dir"))
  var data: String?

  func run(_ communicator: any Communicator, _ settings: RankSettings) throws(Failure) {
    let arrival = secondsSinceBoot()
    try communicator.agree { () throws(Failure) in
      try revision.check()
      guard data == nil || model != nil else {
        throw Failure(.usage, at: "--data", "needs --model", hint: "the folder with vocab.txt")
      }
    }
    let start = try startUp(communicator, settings, arrival: arrival)
    var tokenizing: TokenizingResult?
    var loading: LoadingResult?
    if let model {
      let task = try communicator.agree { () throws(Failure) in try GLUETask.named(self.task) }
      let folder = try communicator.agree { () throws(Failure) in try ModelFolder(model, labels: task.labelCount) }
      if let data {
        tokenizing = try communicator.agree { () throws(Failure) in
          try TokenizingResult(task, data: data, folder)
        }
      }
      if exists("\(model)/model.safetensors") || exists("\(model)/model.safetensors.index.json") {
        loading = try LoadingResult(folder, communicator, settings)
      }
    }
    let machine = try Machine(communicator, settings)
    guard communicator.isMain else { return }
    try Output.write(
      json: LoadResult(start_up: start, tokenizing: tokenizing, loading: loading, machine: machine))
  }

  /// The embedded default up to its first step, as `finetune` does it.
  private func startUp(
    _ communicator: any Communicator, _ settings: RankSettings, arrival: Double
  ) throws(Failure) -> StartUpResult {
    var clock = LapClock()
    let corpus = ParaphraseCorpus.standard
    let folder = try ModelFolder(
      name: "small BERT", configuration: Array(ParaphraseCorpus.configJSON.utf8),
      tokenizer: Array(ParaphraseCorpus.tokenizerConfigJSON.utf8), vocabulary: corpus.vocabulary,
      labels: GLUETask.mrpc.labelCount)
    let corpusSeconds = clock.lap()
    let train = try GLUETask.mrpc.parse(corpus.trainTable, path: "train.tsv")
    let validation = try GLUETask.mrpc.parse(corpus.validationTable, path: "dev.tsv")
    let parsingSeconds = clock.lap()
    let rows = try folder.tokenized(train)
    _ = try folder.tokenized(validation)
    let tokenizingSeconds = clock.lap()
    let recipe = ParaphraseCorpus.recipe
    let plan = try ShardPlan(
      datasetSize: rows.count, batchSize: max(1, recipe.ranks * recipe.batchSize / communicator.size),
      ranks: communicator.size)
    let loader = try MicroBatchLoader(
      rows, plan: plan, rank: communicator.rank, order: .shuffled(seed: Int(recipe.seed)))
    let model = try Model(folder.configuration, communicator, sharesMemory: settings.sharesMemory)
    try model.load(WeightPlan(.random, from: folder, communicator), seed: Int(recipe.seed), communicator)
    let engine = try TrainingEngine(
      communicator, model: model, optimizer: AdamWOptimizer.Options(weightDecay: recipe.weightDecay),
      limits: loader.limits, settings: settings, seed: recipe.seed)
    let modelSeconds = clock.lap()
    var loss = Double.nan
    for microBatch in loader.epoch(0) {
      try engine.backward(microBatch)
      loss = try engine.step(learningRate: recipe.learningRate).loss
      break
    }
    let stepSeconds = clock.lap()
    try Verification.check(firstLoss: loss, model, communicator)
    let ancestry = Ancestry()
    var parts = ancestry.parts(until: arrival)
    parts["corpus"] = 1e3 * corpusSeconds
    parts["parsing"] = 1e3 * parsingSeconds
    parts["tokenizing"] = 1e3 * tokenizingSeconds
    parts["model and optimizer"] = 1e3 * modelSeconds
    parts["first step"] = 1e3 * stepSeconds
    return StartUpResult(
      milliseconds: parts.values.reduce(0, +), parts_milliseconds: parts, first_loss: loss)
  }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
private struct LoadResult: Encodable {
  var start_up: StartUpResult
  var tokenizing: TokenizingResult?
  var loading: LoadingResult?
  var machine: Machine
}

// swift-format-ignore: AlwaysUseLowerCamelCase
private struct StartUpResult: Encodable {
  /// From the command to the end of the first step.
  var milliseconds: Double
  /// On rank 0, one after the other. Starts of processes are known to 10 ms.
  var parts_milliseconds: [String: Double]
  var first_loss: Double
}

// swift-format-ignore: AlwaysUseLowerCamelCase
/// Reading, parsing and tokenizing all splits of a task that are there.
private struct TokenizingResult: Encodable {
  var rows = 0
  var tokens = 0
  var seconds = 0.0
  var rows_per_second = 0.0

  init(_ task: GLUETask, data: String, _ folder: ModelFolder) throws(Failure) {
    let vocabulary = Int32(folder.configuration.vocabularySize)
    for split in task.splits where split == .train || task.isThere(split, in: data) {
      var clock = LapClock()
      let length = folder.configuration.maximumPositions
      let set = try TokenizedDataset(
        loadSplit(task, folder: data, split: split), tokenizer: folder.tokenizer, maxLength: length)
      seconds += clock.lap()
      rows += set.count
      tokens += set.inputIDs.count
      // What the time was for: every row has its special tokens, every token is one of the vocabulary.
      let most = min(512, length)
      for row in 0..<set.count {
        let ids = set.inputIDs[set.tokens(row)]
        guard ids.count >= 2, ids.count <= max(most, length), ids.allSatisfy({ $0 >= 0 && $0 < vocabulary }) else {
          throw Failure(.internalError, at: "\(data), \(split), row \(row)", "has the tokens \(Array(ids))")
        }
      }
    }
    rows_per_second = Double(rows) / seconds
  }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
/// Giving every rank the weights of a checkpoint.
private struct LoadingResult: Encodable {
  var parameters: Int
  var seconds: Double
  /// Of fp32 weights in memory, whatever the file holds.
  var gigabytes_per_second: Double

  init(
    _ folder: ModelFolder, _ communicator: any Communicator, _ settings: RankSettings
  ) throws(Failure) {
    try communicator.barrier()
    var clock = LapClock()
    let weights = try WeightPlan(.checkpoint, from: folder, communicator)
    let model = try Model(folder.configuration, communicator, sharesMemory: settings.sharesMemory)
    try model.load(weights, seed: 42, communicator)
    seconds = clock.lap()
    parameters = model.parameters.count
    gigabytes_per_second = Double(4 * parameters) / seconds * 1e-9
    let squares = sumOfSquares(count: parameters, model.parameters.pointer)
    let all = try communicator.allGather(squares)
    try communicator.agree { () throws(Failure) in
      guard squares.isFinite, squares > 0, all.allSatisfy({ $0 == all[0] }) else {
        throw Failure(.internalError, at: folder.path, "loaded weights with the sums of squares \(all) on the ranks")
      }
    }
  }
}
