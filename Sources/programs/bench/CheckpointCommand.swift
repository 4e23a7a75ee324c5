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
    _ = try take(3)
    // The first has its memory given by the system; a run has one of those.
    let first = try begin()
    try writer.finish(communicator)
    var (plain, stalls, with) = ([Double](), [Double](), [Double]())
    for _ in 0..<rounds {
      plain.append(try take(steps))
      stalls.append(try begin())
      // What the stop takes counts, and what the writing takes from the steps beside it.
      with.append(try take(steps) + stalls[stalls.count - 1])
      try writer.finish(communicator)
    }
    let bytes = 3 * model.layout.count * MemoryLayout<Float>.stride
    let copying = communicator.isMain ? Self.copySeconds(bytes: bytes) : 0
    try verify(store, step: engine.optimizer.step - steps, communicator)
    let machine = try Machine(communicator, settings)
    guard communicator.isMain else { return }
    try Output.write(
      json: CheckpointResult(
        bytes: bytes, stall_milliseconds: Spread(stalls.map { 1e3 * $0 }), first_stall_milliseconds: 1e3 * first,
        copy_milliseconds: 1e3 * copying, stall_over_copy: Spread(stalls).median / copying,
        steps: steps, seconds_without: Spread(plain), seconds_with: Spread(with),
        cost: Spread(with).median / Spread(plain).median - 1, machine: machine))
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

  /// What copying so many bytes takes, by one thread, as the best of five.
  private static func copySeconds(bytes: Int) -> Double {
    let (from, to) = (FloatBuffer(count: bytes / 4), FloatBuffer(count: bytes / 4))
    return (0..<5).map { _ in
      var clock = LapClock()
      to.pointer.update(from: from.pointer, count: to.count)
      return clock.lap()
    }.min() ?? .infinity
  }
}

/// What `bench checkpoint` prints.
// swift-format-ignore: AlwaysUseLowerCamelCase
private struct CheckpointResult: Encodable {
  /// Of weights and moments, all copied before training goes on.
  var bytes: Int
  /// How long training stops for a checkpoint, and for the first one, whose memory is new.
  var stall_milliseconds: Spread
  var first_stall_milliseconds: Double
  /// What copying the bytes takes, and the stop beside it.
  var copy_milliseconds: Double
  var stall_over_copy: Double
  var steps: Int
  /// So many steps.
  var seconds_without: Spread
  var seconds_with: Spread
  /// What a checkpoint adds to the time of the steps, as a fraction.
  var cost: Double
  var machine: Machine
}
