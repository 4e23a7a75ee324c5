import ArgumentParser
import Checkpoints
import Collectives
import Datasets
import Kernels
import ProgramSupport
import System
import Training

/// `bench checkpoint`: what checkpoints cost a training.
struct CheckpointCommand: Measurement {
  static let configuration = CommandConfiguration(
    commandName: "checkpoint",
    abstract: "Times training steps with a checkpoint every so many and without, in turn, and how long each stops them."
  )

  @OptionGroup var trained: TaskOptions

  @Option(
    name: bothSpellings("output-dir"),
    help: ArgumentHelp("Where to write checkpoints, which are removed at the end.", valueName: "dir"))
  var outputDir: String

  @Option(help: "Steps from one checkpoint to the next.")
  var steps = 50

  @Option(help: "Checkpoints to time, each beside as many steps without.")
  var rounds = 3

  func run(_ communicator: any Communicator, _ settings: RankSettings) throws(Failure) {
    let (folder, train, precision) = try communicator.agree { () throws(Failure) in try inputs(settings) }
    let loader = try trained.loader(train, communicator)
    let model = try trained.makeModel(folder, communicator, settings)
    let engine = try TrainingEngine(
      communicator, model: model, optimizer: AdamWOptimizer.Options(weightDecay: 0.01), limits: loader.limits,
      precision: precision, settings: settings, seed: UInt64(bitPattern: Int64(trained.seed)))
    let store = CheckpointStore("\(outputDir)/bench-checkpoints")
    guard let writer = try CheckpointWriter(engine, to: store, keeping: 1) else {
      throw Failure(.unavailable, "no shared memory for a copy of the state")
    }
    let saved = try folder.saved(model, labelNames: [])
    var batches = (0...).lazy.flatMap { loader.epoch($0) }.makeIterator()

    /// So many steps, in seconds.
    func take(_ count: Int) throws(Failure) -> Double {
      var clock = LapClock()
      for _ in 0..<count {
        guard let batch = batches.next() else { break }
        try engine.backward(batch)
        _ = try engine.step(learningRate: 3e-5)
      }
      return clock.lap()
    }
    /// Begins a checkpoint, in seconds until training goes on.
    func begin() throws(Failure) -> Double {
      try communicator.barrier()
      var clock = LapClock()
      try writer.begin(engine, CheckpointManifest(step: engine.optimizer.step), saved)
      return clock.lap()
    }
    let reference = CopyReference(engine)
    _ = try take(3)
    let first = try begin()
    var clock = LapClock()
    try writer.finish(communicator)
    let writing = clock.lap()
    var (plain, stalls, copies, with) = ([Double](), [Double](), [Double](), [Double]())
    for _ in 0..<rounds {
      plain.append(try take(steps))
      // In turn, so that what else the machine does meets both alike.
      copies.append(try reference.seconds())
      stalls.append(try begin())
      // What the stop takes counts, and what the writing takes from the steps beside it.
      with.append(try take(steps) + stalls[stalls.count - 1])
      try writer.finish(communicator)
    }
    let bytes = engine.stateCopyNeed.rank
    let starts = try timeStarts(folder, loader, precision, store, communicator, settings)
    try verify(store, step: engine.optimizer.step - steps, communicator)
    let machine = try Machine(communicator, settings)
    guard communicator.isMain else { return }
    try Output.write(
      json: CheckpointResult(
        bytes: bytes, stall_milliseconds: Spread(stalls.map { 1e3 * $0 }), first_stall_milliseconds: 1e3 * first,
        copy_milliseconds: Spread(copies.map { 1e3 * $0 }),
        stall_over_copy: Spread(stalls).median / Spread(copies).median, writing_milliseconds: 1e3 * writing,
        steps: steps, seconds_without: Spread(plain), seconds_with: Spread(with),
        cost: Spread(with).median / Spread(plain).median - 1, start_seconds: starts.fresh,
        restart_seconds: starts.resumed, restart_over_start: starts.resumed / starts.fresh, machine: machine))
  }

  /// Seconds from where the rows are there to the end of the first step: of a training that begins, and of one that goes
  /// on from the newest checkpoint, which is read twice, to check it and to take it.
  private func timeStarts(
    _ folder: ModelFolder, _ loader: MicroBatchLoader, _ precision: ProductPrecision, _ store: CheckpointStore,
    _ communicator: any Communicator, _ settings: RankSettings
  ) throws(Failure) -> (fresh: Double, resumed: Double) {
    func start(resumes: Bool) throws(Failure) -> Double {
      try communicator.barrier()
      var clock = LapClock()
      let newest = try communicator.agree { () throws(Failure) in
        guard resumes, communicator.isMain else { return Checkpoint?.none }
        return try store.latest { (failure) throws(Failure) in throw failure }
      }
      let model = try trained.makeModel(folder, communicator, settings)
      let engine = try TrainingEngine(
        communicator, model: model, optimizer: AdamWOptimizer.Options(weightDecay: 0.01), limits: loader.limits,
        precision: precision, settings: settings, seed: UInt64(bitPattern: Int64(trained.seed)))
      if resumes {
        let bytes = try communicator.broadcast(newest?.manifest.bytes ?? [], from: 0)
        try engine.load(newest, CheckpointManifest(bytes, path: CheckpointManifest.fileName))
      }
      if let batch = loader.epoch(0).first(where: { _ in true }) {
        try engine.backward(batch)
        try engine.step(learningRate: 3e-5)
      }
      try communicator.barrier()
      return clock.lap()
    }
    // Once to have the files and the memory warm for both alike.
    _ = try start(resumes: false)
    let pairs = try (0..<3).map { (_) throws(Failure) in (try start(resumes: false), try start(resumes: true)) }
    return (Spread(pairs.map(\.0)).median, Spread(pairs.map(\.1)).median)
  }

  private func inputs(_ settings: RankSettings) throws(Failure) -> (ModelFolder, TokenizedDataset, ProductPrecision) {
    try check(steps, "--steps", Limits.timedSteps)
    try check(rounds, "--rounds", 1...1000)
    let folder = try trained.folder()
    let rows = try trained.rows(.train, folder)
    guard !exists("\(outputDir)/bench-checkpoints") else {
      throw Failure(.cannotCreate, at: "\(outputDir)/bench-checkpoints", "exists, expected a place for checkpoints")
    }
    return (folder, rows, try trained.precision.precision(settings))
  }

  /// Reads the newest checkpoint back, and removes it.
  private func verify(_ store: CheckpointStore, step: Int, _ communicator: any Communicator) throws(Failure) {
    try communicator.agree { () throws(Failure) in
      guard communicator.isMain else { return }
      let newest = try store.latest { (failure) throws(Failure) in throw failure }
      guard newest?.manifest.step == step else {
        throw Failure(.internalError, "the newest checkpoint is of step \(newest?.manifest.step ?? -1), not \(step)")
      }
      try store.removeAll()
    }
  }

}

/// What copying as many bytes as the state has takes at best: by the ranks that copy it, an even share each, between pages
/// that are there.
private struct CopyReference {
  private let communicator: any Communicator
  private let from: FloatBuffer
  private let to: FloatBuffer

  init(_ engine: TrainingEngine) {
    communicator = engine.communicator
    let ranks = engine.model.isShared ? communicator.localSize : 1
    let copies = communicator.hostLeader == 0 && (engine.model.isShared || communicator.isMain)
    let count = copies ? engine.stateCopyNeed.rank / MemoryLayout<Float>.stride / ranks : 0
    (from, to) = (FloatBuffer(count: count), FloatBuffer(count: count))
  }

  /// Called by all ranks.
  func seconds() throws(Failure) -> Double {
    try communicator.barrier()
    var clock = LapClock()
    copyPastCaches(from.pointer, to: to.pointer, count: to.count)
    try communicator.barrier()
    return clock.lap()
  }
}

/// What `bench checkpoint` prints.
// swift-format-ignore: AlwaysUseLowerCamelCase
private struct CheckpointResult: Encodable {
  /// Of weights and moments, all copied before training goes on.
  var bytes: Int
  /// How long training stops for a checkpoint, and for the first one.
  var stall_milliseconds: Spread
  var first_stall_milliseconds: Double
  /// What copying the bytes takes the same ranks, in turn with the stops; the median stop by that.
  var copy_milliseconds: Spread
  var stall_over_copy: Double
  /// What the ranks take to write the files, where nothing else goes on.
  var writing_milliseconds: Double
  var steps: Int
  /// So many steps.
  var seconds_without: Spread
  var seconds_with: Spread
  /// What a checkpoint adds to the time of the steps, as a fraction.
  var cost: Double
  /// To the end of the first step, from the beginning and from the newest checkpoint.
  var start_seconds: Double
  var restart_seconds: Double
  var restart_over_start: Double
  var machine: Machine
}
