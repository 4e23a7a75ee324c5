import BERT
import Checkpoints
import Collectives
import Datasets
import Glibc
import Kernels
import Synchronization
import System
import TestSupport
import Testing
import Training

/// The state that a checkpoint holds, on ranks that pretend to be on several hosts between which gradients are rounded.
struct StateFilesTests {
  private struct Trained {
    let engine: TrainingEngine
    let loader: MicroBatchLoader
    let folder: ModelFolder

    /// - Parameter vocabulary: rows of a word table with random weights; nil for the folder's weights.
    init(
      _ communicator: any Communicator, wire: WirePrecision = .no, vocabulary: Int? = nil
    ) throws(System.Failure) {
      folder = try ModelFolder("\(Golden.folder)/tiny-bert", labels: 2)
      var configuration = folder.configuration
      configuration.vocabularySize = vocabulary ?? configuration.vocabularySize
      let model = try Model(configuration, communicator)
      if communicator.isMain {
        if vocabulary == nil {
          _ = try model.loadWeights(folder: folder.path, seed: 1)
        } else {
          try model.load(WeightPlan(randomFor: configuration), seed: 1)
        }
      }
      try model.broadcast(communicator)
      let rows = try TokenizedDataset(
        loadSplit(.mrpc, folder: "\(Golden.folder)/mrpc", split: .train), tokenizer: folder.tokenizer,
        maxLength: folder.configuration.maximumPositions)
      let plan = try ShardPlan(datasetSize: rows.count, batchSize: 12, ranks: communicator.size, splitBatches: true)
      loader = try MicroBatchLoader(rows, plan: plan, rank: communicator.rank)
      engine = try TrainingEngine(
        communicator, model: model, optimizer: .init(weightDecay: 0.01), limits: loader.limits,
        threads: ThreadPool(count: 1), seed: 42, wire: wire)
    }

    func take(_ steps: Range<Int>) throws(System.Failure) {
      for microBatch in Array(loader.epoch(0))[steps] {
        try engine.backward(microBatch)
        try engine.step(learningRate: 1e-3)
      }
    }
  }

  @Test(
    "a training goes on from what rounding has lost on each host, written at once or beside, to the same bits",
    arguments: [[1, 1], [2, 1], [1, 1, 1]], [WirePrecision.bf16, .fp16])
  func residuals(hosts: [Int], wire: WirePrecision) throws {
    BLAS.setThreads(1)
    let folder = try TemporaryFolder()
    let path = folder.path
    let outcomes = try ThreadCommunicator.run(ranks: hosts.reduce(0, +), hosts: hosts) {
      (communicator) throws(System.Failure) in
      let whole = try Trained(communicator, wire: wire)
      try whole.take(0..<3)
      let (atOnce, beside) = (CheckpointStore("\(path)/once"), CheckpointStore("\(path)/beside"))
      let saved = try whole.folder.saved(whole.engine.model, labelNames: [])
      let weights = whole.engine.model.parameters
      try whole.engine.save(CheckpointManifest(step: 0), to: communicator.isMain ? atOnce : nil) {
        (folder) throws(System.Failure) in try saved.write(UnsafeBufferPointer(weights.buffer), into: folder)
      }
      if let writer = try CheckpointWriter(whole.engine, to: beside, keeping: nil) {
        try writer.begin(whole.engine, CheckpointManifest(step: 0), saved)
        try writer.finish(communicator)
      }
      try whole.take(3..<6)
      let checkpoint = try communicator.agree { () throws(System.Failure) in
        try communicator.isMain ? beside.latest { (failure) throws(System.Failure) in throw failure } : nil
      }
      let bytes = try communicator.broadcast(checkpoint?.manifest.bytes ?? [], from: 0)
      let part = try Trained(communicator, wire: wire)
      let note = try part.engine.load(checkpoint, CheckpointManifest(bytes, path: path))
      try part.take(3..<6)
      return (note, part.engine.model.parameters.digest == whole.engine.model.parameters.digest)
    }
    for (rank, outcome) in outcomes.enumerated() { #expect(outcome.0 == nil && outcome.1, "rank \(rank)") }
    let name = CheckpointStore.name(step: 3)
    for file in [StateFile.residuals, StateFile.optimizer, StateFile.weights] {
      #expect(try readBytes("\(path)/once/\(name)/\(file)") == readBytes("\(path)/beside/\(name)/\(file)"), "\(file)")
    }
  }

  @Test(
    "files of many pieces, which the ranks of a host write together, are those that rank 0 writes alone, to the byte",
    arguments: [[1], [3], [2, 1]])
  func pieces(hosts: [Int]) throws {
    BLAS.setThreads(1)
    let folder = try TemporaryFolder()
    let path = folder.path
    _ = try ThreadCommunicator.run(ranks: hosts.reduce(0, +), hosts: hosts) { (communicator) throws(System.Failure) in
      let trained = try Trained(communicator, vocabulary: 150_000)
      let (atOnce, beside) = (CheckpointStore("\(path)/once"), CheckpointStore("\(path)/beside"))
      let saved = try trained.folder.saved(trained.engine.model, labelNames: [])
      let weights = trained.engine.model.parameters
      guard let writer = try CheckpointWriter(trained.engine, to: beside, keeping: nil) else {
        throw System.Failure(.internalError, "no memory for a copy of the state")
      }
      for step in 0..<2 {
        try trained.take(step..<step + 1)
        try trained.engine.save(CheckpointManifest(step: 0), to: communicator.isMain ? atOnce : nil) {
          (folder) throws(System.Failure) in try saved.write(UnsafeBufferPointer(weights.buffer), into: folder)
        }
        try writer.begin(trained.engine, CheckpointManifest(step: 0), saved)
        try writer.finish(communicator)
      }
    }
    for step in 1...2 {
      let name = CheckpointStore.name(step: step)
      let (once, beside) = (try Checkpoint("\(path)/once/\(name)"), try Checkpoint("\(path)/beside/\(name)"))
      try beside.verify()
      #expect(once.manifest.files == beside.manifest.files)
      #expect(beside.manifest.files.contains { $0.sha256.count > 4 })
    }
  }

  /// Somebody who removes each folder once in which a checkpoint is put together.
  private final class Remover: Sendable {
    private let isOver = Atomic(false)
    private let removed = Mutex<Set<String>>([])

    /// How many were removed.
    var count: Int { removed.withLock { $0.count } }

    func run(in path: String) {
      while !isOver.load(ordering: .relaxed) {
        for name in PrivateFolder.names(in: path) where name.hasSuffix(".unfinished") {
          guard removed.withLock({ $0.insert(name).inserted }) else { continue }
          PrivateFolder.remove("\(path)/\(name)")
        }
        usleep(100)
      }
    }

    func end() { isOver.store(true, ordering: .relaxed) }
  }

  @Test("a folder that is taken away while its checkpoint is written is made again by the next try")
  func takenAway() throws {
    BLAS.setThreads(1)
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/checkpoints"
    let remover = Remover()
    let thread = try #require(Thread(stackBytes: 1 << 20) { remover.run(in: path) })
    defer {
      remover.end()
      thread.join()
    }
    _ = try ThreadCommunicator.run(ranks: 2) { (communicator) throws(System.Failure) in
      let trained = try Trained(communicator, vocabulary: 150_000)
      let saved = try trained.folder.saved(trained.engine.model, labelNames: [])
      guard let writer = try CheckpointWriter(trained.engine, to: CheckpointStore(path), keeping: nil) else {
        throw System.Failure(.internalError, "no memory for a copy of the state")
      }
      for step in 0..<4 {
        try trained.take(step..<step + 1)
        try writer.begin(trained.engine, CheckpointManifest(step: 0), saved)
        try writer.finish(communicator)
      }
    }
    #expect(remover.count > 0, "nothing was removed")
    for step in 1...4 {
      let checkpoint = try Checkpoint("\(path)/\(CheckpointStore.name(step: step))")
      try checkpoint.verify()
      #expect(checkpoint.manifest.files.map(\.name).contains(StateFile.optimizer))
    }
  }

  @Test(
    "on another number of hosts what rounding has lost begins at 0, whatever was lost before, and a note says so",
    arguments: [[3], [1, 1, 1]])
  func otherHosts(hosts: [Int]) throws {
    BLAS.setThreads(1)
    let folder = try TemporaryFolder()
    let path = folder.path
    _ = try ThreadCommunicator.run(ranks: 3, hosts: [2, 1]) { (communicator) throws(System.Failure) in
      let trained = try Trained(communicator, wire: .bf16)
      try trained.take(0..<2)
      let saved = try trained.folder.saved(trained.engine.model, labelNames: [])
      let weights = trained.engine.model.parameters
      try trained.engine.save(CheckpointManifest(step: 0), to: communicator.isMain ? CheckpointStore(path) : nil) {
        (folder) throws(System.Failure) in try saved.write(UnsafeBufferPointer(weights.buffer), into: folder)
      }
    }
    let outcomes = try ThreadCommunicator.run(ranks: 3, hosts: hosts) { (communicator) throws(System.Failure) in
      let checkpoint = try Checkpoint("\(path)/\(CheckpointStore.name(step: 2))")
      let (fresh, used) = (try Trained(communicator, wire: .bf16), try Trained(communicator, wire: .bf16))
      try used.take(0..<1)
      var notes: [String?] = []
      for trained in [fresh, used] {
        notes.append(try trained.engine.load(communicator.isMain ? checkpoint : nil, checkpoint.manifest))
        try trained.take(2..<4)
      }
      return (notes, fresh.engine.model.parameters.digest == used.engine.model.parameters.digest)
    }
    for (rank, (notes, areSame)) in outcomes.enumerated() {
      for note in notes {
        #expect(note?.contains("of 2 hosts, not \(hosts.count == 1 ? 0 : 3)") == true, "\(note ?? "")")
      }
      #expect(areSame, "rank \(rank)")
    }
  }
}
