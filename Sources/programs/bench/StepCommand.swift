import ArgumentParser
import BERT
import Collectives
import Datasets
import Kernels
import ProgramSupport
import Reporting
import System
import Training

/// `bench step`: training steps as `finetune` takes them.
struct StepCommand: Measurement {
  static let configuration = CommandConfiguration(
    commandName: "step",
    abstract: "Times training steps of a model on a task's rows, in shuffled order, beside the machine's own limit.")

  @OptionGroup var trained: TaskOptions

  @Option(help: "Timed steps.")
  var steps = 20

  @Option(help: "Steps before the timed ones.")
  var warmup = 3

  @OptionGroup var wire: WireOptions

  @Option(help: "invariant: also times steps with the same bits on any number of ranks, then the fast ones again.")
  var reduction = ReductionMode.fast

  @Option(
    name: bothSpellings("lockstep-check"), help: "Steps from one comparison of the ranks' numbers to the next.")
  var lockstepCheck = 50

  @Flag(help: "Also time the evaluation of the validation rows.")
  var evaluation = false

  @Option(help: ArgumentHelp("Where to write a timeline of all ranks, in Chrome's trace format.", valueName: "file"))
  var profile: String?

  func run(_ communicator: any Communicator, _ settings: RankSettings) throws(Failure) {
    let inputs = try communicator.agree { () throws(Failure) in try Inputs(self, settings) }
    let loader = try trained.loader(inputs.train, communicator)
    let model = try trained.makeModel(inputs.folder, communicator, settings)
    try communicator.agree { () throws(Failure) in
      if let profile, communicator.isMain {
        try Timeline.check(profile, option: "--profile", notIn: [("--model", trained.model)])
      }
    }
    let verified = try Verification(model, inputs.sample, precision: inputs.precision, communicator)
    let engine = try TrainingEngine(
      communicator, model: model, optimizer: AdamWOptimizer.Options(weightDecay: 0.01), limits: loader.limits,
      precision: inputs.precision, settings: settings, seed: UInt64(bitPattern: Int64(trained.seed)),
      wire: wire.ddpCommHook)

    let timed = try takeSteps(engine, loader, profile: profile != nil)
    try Verification.check(firstLoss: timed.losses[0], model, communicator)
    if let profile { try engine.timeline?.write(to: profile) }
    let memory = try MemoryResult(communicator)
    let checks = try (0..<5).map { (_) throws(Failure) in
      try communicator.barrier()
      var clock = LapClock()
      try engine.checkLockstep()
      return clock.lap()
    }
    let evaluated = try inputs.validation.map { (rows) throws(Failure) in try evaluate(rows, engine) }

    let perRank = timed.tokens.reduce(0, +) / Double(steps * communicator.size)
    let figures = try MachineFigures(
      inputs.folder.configuration, precision: inputs.precision, tokens: max(1, Int(perRank)), communicator, settings)
    let invariant = try reduction == .invariant ? timeInvariantSteps(inputs, engine, fast: timed, settings) : nil
    let roofline = Roofline(inputs.folder.configuration)
    let operations = timed.operations.reduce(0, +)
    let total = timed.wall.reduce(0, +)
    var milliseconds = ["total": Spread(timed.wall.map { 1e3 * $0 })]
    for part in StepPart.allCases { milliseconds[part.name] = Spread(timed.parts[part.rawValue].map { 1e3 * $0 }) }
    let machine = try Machine(communicator, settings)
    guard communicator.isMain else { return }
    try Output.write(
      json: StepResult(
        examples_per_second: Double(timed.examples) / total,
        tokens_per_second: timed.tokens.reduce(0, +) / total, milliseconds: milliseconds,
        gflops_per_second: operations / total * 1e-9, machine_figures: figures,
        roofline: RooflineResult(roofline, figures, operations: timed.operations, seconds: timed.wall),
        transfer: TransferResult(timed.transfers, parts: timed.parts, wire: wire.ddpCommHook),
        lockstep_check: LockstepCheckResult(checks, every: lockstepCheck, steps: timed.wall),
        invariant: invariant, memory: memory, verified: verified, evaluation: evaluated, steps: steps,
        batch_size: trained.batchSize,
        parameters: roofline.parameters, precision: inputs.precision == .bf16 ? "bf16" : "fp32",
        products: settings.gemm(inputs.precision, threads: ThreadPool(count: 1)).name, shares_memory: model.isShared,
        first_loss: timed.losses[0],
        last_loss: timed.losses[timed.losses.count - 1], machine: machine))
  }

  /// The timed steps, over all ranks.
  private struct Timed {
    var losses: [Double] = []
    var examples = 0
    /// [steps], all ranks together.
    var tokens: [Double] = []
    var operations: [Double] = []
    /// [steps] on this rank.
    var wall: [Double] = []
    /// [parts, steps]: means over the ranks, in seconds.
    var parts: [[Double]] = StepPart.allCases.map { _ in [] }
    /// [steps]: seconds in which gradients travelled, and megabytes that a rank sent; means over the ranks that send.
    var transfers: (seconds: [Double], megabytes: [Double]) = ([], [])
  }

  private func takeSteps(
    _ engine: TrainingEngine, _ loader: MicroBatchLoader, profile: Bool
  ) throws(Failure) -> Timed {
    let (communicator, dataset) = (engine.communicator, loader.dataset)
    let roofline = Roofline(engine.model.configuration)
    var timed = Timed()
    var clock = LapClock()
    var taken = 0
    for epoch in 0... {
      for microBatch in loader.epoch(epoch) {
        if taken == warmup {
          if profile {
            engine.timeline = try Timeline(communicator, layers: engine.model.configuration.layers)
          }
          try communicator.barrier()
          clock = LapClock()
        }
        if timed.wall.count == steps { return try gathered(timed, communicator) }
        try engine.backward(microBatch)
        timed.losses.append(try engine.step(learningRate: 3e-5).loss)
        taken += 1
        guard taken > warmup else { continue }
        timed.wall.append(clock.lap())
        timed.examples += microBatch.rowsInStep
        timed.tokens.append(Double(microBatch.rows.reduce(0) { $0 + dataset.tokens($1).count }))
        timed.operations.append(roofline.operations(microBatch.rows, of: dataset))
        timed.transfers.seconds.append(engine.transferSeconds)
        timed.transfers.megabytes.append(Double(engine.transferBytes) * 1e-6)
        for part in StepPart.allCases { timed.parts[part.rawValue].append(engine.stepSeconds[part]) }
      }
    }
    return timed
  }

  /// Steps of the same batches by groups of rows, on the same weights.
  private func timeInvariantSteps(
    _ inputs: Inputs, _ engine: TrainingEngine, fast: Timed, _ settings: RankSettings
  ) throws(Failure) -> InvariantResult {
    let communicator = engine.communicator
    let plan = try ShardPlan(
      datasetSize: inputs.train.count, batchSize: trained.batchSize * communicator.size, ranks: 1)
    let loader = try MicroBatchLoader(
      inGroups: inputs.train, plan: plan, rank: communicator.rank, ranks: communicator.size,
      order: .shuffled(seed: trained.seed))
    let other = try TrainingEngine(
      communicator, model: engine.model, optimizer: AdamWOptimizer.Options(weightDecay: 0.01), limits: loader.limits,
      precision: inputs.precision, settings: settings, seed: UInt64(bitPattern: Int64(trained.seed)),
      grouping: loader.grouping)
    let timed = try takeSteps(other, loader, profile: false)
    // On both sides, for a shared machine is not as fast at all times.
    let fastAgain = try takeSteps(engine, trained.loader(inputs.train, communicator), profile: false)
    var milliseconds = ["total": Spread(timed.wall.map { 1e3 * $0 })]
    for part in StepPart.allCases { milliseconds[part.name] = Spread(timed.parts[part.rawValue].map { 1e3 * $0 }) }
    return InvariantResult(
      milliseconds: milliseconds,
      ratio_to_fast: Spread(timed.wall).median / Spread(fast.wall + fastAgain.wall).median,
      groups: loader.grouping?.groupCount(rows: plan.globalBatchSize) ?? 0, last_loss: timed.losses.last ?? .nan)
  }

  private func gathered(_ own: Timed, _ communicator: any Communicator) throws(Failure) -> Timed {
    var timed = own
    timed.tokens = try communicator.sum(own.tokens)
    timed.operations = try communicator.sum(own.operations)
    let senders = max(1, try communicator.sum(own.transfers.megabytes.allSatisfy { $0 > 0 } ? 1 : 0))
    timed.transfers.seconds = try communicator.sum(own.transfers.seconds).map { $0 / senders }
    timed.transfers.megabytes = try communicator.sum(own.transfers.megabytes).map { $0 / senders }
    for index in own.parts.indices {
      timed.parts[index] = try communicator.sum(own.parts[index]).map { $0 / Double(communicator.size) }
    }
    return timed
  }

  private func evaluate(_ rows: TokenizedDataset, _ engine: TrainingEngine) throws(Failure) -> EvaluationResult {
    // Once to have the memory, once for the time.
    _ = try engine.evaluate(rows, batchSize: trained.batchSize)
    try engine.communicator.barrier()
    var clock = LapClock()
    let counts = try engine.evaluate(rows, batchSize: trained.batchSize)
    let seconds = clock.lap()
    guard counts.examples == rows.count, counts.lossSum.isFinite else {
      throw Failure(.internalError, "evaluated \(counts.examples) rows of \(rows.count), loss \(counts.loss)")
    }
    return EvaluationResult(examples: counts.examples, examples_per_second: Double(counts.examples) / seconds)
  }
}

/// What `bench step` reads: the same on every rank.
private struct Inputs {
  var precision: ProductPrecision
  var folder: ModelFolder
  var train: TokenizedDataset
  /// The rows that results are compared on.
  var sample: TokenizedDataset
  var validation: TokenizedDataset?

  init(_ command: StepCommand, _ settings: RankSettings) throws(Failure) {
    try check(command.steps, "--steps", Limits.timedSteps)
    try check(command.lockstepCheck, "--lockstep-check", Limits.steps)
    try check(command.warmup, "--warmup", 0...Limits.timedSteps.upperBound)
    let trained = command.trained
    precision = try trained.precision.precision(settings)
    folder = try trained.folder()
    train = try trained.rows(.train, folder)
    sample = try trained.rows(.train, folder, most: min(trained.batchSize, 8))
    validation = command.evaluation ? try trained.rows(.validation, folder) : nil
  }
}
