import ArgumentParser
import BERT
import Collectives
import Corpus
import Datasets
import Glibc
import ProgramSupport
import Reporting
import System
import Training

/// `selftest memory`: what a training allocates, and on request what it really takes.
struct MemoryCommand: RankCommand {
  static let configuration = CommandConfiguration(
    commandName: "memory",
    abstract: "Estimates the memory of a training: weights, gradients, optimizer, activations, sums over hosts.",
    discussion: "Without MODEL it is that of the embedded default.")

  @Argument(help: "A checkpoint folder; config.json, vocab.txt and tokenizer_config.json are read, no weights.")
  var model: String?

  @OptionGroup var revision: RevisionOption

  @Option(name: bothSpellings("batch-size"), help: "Rows of a batch on each rank.")
  var batchSize = 8

  @Option(name: bothSpellings("max-length"), help: "Tokens of a row. (default: 512, or what the model has)")
  var maxLength: Int?

  @Option(name: [.customLong("num-processes"), .customLong("num_processes"), .customShort("n")], help: "Ranks.")
  var numProcesses = 1

  @Option(name: bothSpellings("num-machines"), help: "Hosts; ranks on one host share weights.")
  var numMachines = 1

  @OptionGroup var wire: WireOptions

  @Option(help: ArgumentHelp("A folder of the task's tables: rows are as long as its longest.", valueName: "dir"))
  var data: String?

  @Option(help: "The task of --data.")
  var task = GLUETask.mrpc.name

  @Flag(help: "Train two steps alone and compare what that took.")
  var measure = false

  @Flag(help: "Print JSON.")
  var json = false

  func run(_ communicator: any Communicator, _ settings: RankSettings, _ reporter: Reporter) throws(Failure) {
    try communicator.agree { () throws(Failure) in try check() }
    let estimate = try communicator.agree { () throws(Failure) -> MemoryEstimate in try makeEstimate() }
    let measured: Int? =
      try communicator.agree { () throws(Failure) -> Int? in
        measure && communicator.isMain ? try measuredBytes(estimate, settings) : nil
      }
    try reporter.lines(json ? estimate.json(measured: measured) : estimate.table(measured: measured))
  }

  private func check() throws(Failure) {
    try revision.check()
    for (name, value) in [
      ("--batch-size", batchSize), ("--max-length", maxLength), ("--num_processes", numProcesses),
      ("--num_machines", numMachines),
    ] {
      try ProgramSupport.check(value, name, Limits.ranks)
    }
    guard numMachines <= numProcesses else {
      throw Failure(
        .usage, at: "--num_machines", "\(numMachines) hosts for \(numProcesses) ranks, expected a rank each")
    }
  }

  private func folder() throws(Failure) -> ModelFolder {
    if let model { return try ModelFolder(model) }
    return try ModelFolder(
      name: "embedded default", configuration: Array(ParaphraseCorpus.configJSON.utf8),
      tokenizer: Array(ParaphraseCorpus.tokenizerConfigJSON.utf8),
      vocabulary: ParaphraseCorpus(seed: 1, trainPairs: 0, validationPairs: 0).vocabulary, labels: 2)
  }

  private func makeEstimate() throws(Failure) -> MemoryEstimate {
    let folder = try folder()
    let most = folder.configuration.maximumPositions
    let length = maxLength ?? min(512, most)
    guard length <= most else {
      throw Failure(.usage, at: "--max-length", "\(length), expected at most the model's \(most) positions")
    }
    var limits = BatchLimits(tokens: batchSize * length, sequences: batchSize, length: length)
    if let data {
      let pairs = try loadSplit(try .named(task), folder: data, split: .train)
      let rows = try folder.tokenized(pairs, maxLength: length, withLabels: false)
      limits = BatchLimits(
        tokens: rows.mostTokens(inRows: batchSize), sequences: batchSize, length: rows.longestRow)
    }
    return MemoryEstimate(
      name: CacheOrigin.shown(folder.path), configuration: folder.configuration, limits: limits, ranks: numProcesses,
      hosts: numMachines,
      wire: wire.ddpCommHook)
  }

  /// What two steps on full batches take beyond what the process has already.
  private func measuredBytes(_ estimate: MemoryEstimate, _ settings: RankSettings) throws(Failure) -> Int {
    let before = residentBytes()
    let communicator = SoloCommunicator()
    let folder = try folder()
    let words = [UInt8](String(repeating: "a ", count: estimate.limits.length).utf8)
    let pairs = (0..<batchSize).map { SentencePair(first: words, second: nil, label: .category($0 % 2)) }
    let data = try folder.tokenized(pairs, maxLength: estimate.limits.length)
    let plan = try ShardPlan(datasetSize: data.count, batchSize: batchSize, ranks: 1)
    let loader = try MicroBatchLoader(data, plan: plan, rank: 0)
    let model = Model(estimate.configuration)
    model.initialize(seed: 1)
    let engine = try TrainingEngine(
      communicator, model: model, optimizer: AdamWOptimizer.Options(weightDecay: 0.01), limits: loader.limits,
      settings: settings, seed: 1)
    for epoch in 0..<2 {
      for microBatch in loader.epoch(epoch) {
        try engine.backward(microBatch)
        try engine.step(learningRate: 1e-5)
      }
    }
    return peakBytes() - before
  }
}

/// The memory that this process has now, by the kernel's count.
private func residentBytes() -> Int { (systemNumber("VmRSS", in: "/proc/self/status") ?? 0) * 1024 }

/// The most memory that this process has had so far, by the kernel's count: not getrusage's, which counts what the process
/// was before it became this program.
private func peakBytes() -> Int { (systemNumber("VmHWM", in: "/proc/self/status") ?? 0) * 1024 }
