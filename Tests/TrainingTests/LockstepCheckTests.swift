import Checkpoints
import Collectives
import Datasets
import Kernels
import System
import TestSupport
import Testing
import Training

/// Ranks that compare their numbers.
struct LockstepCheckTests {
  /// Trains two steps and checks; `harm` changes a rank's numbers before.
  private func check(
    hosts: [Int], sharesMemory: Bool = true, rate: @escaping @Sendable (Int) -> Double = { _ in 1e-3 },
    harm: @escaping @Sendable (Int, TrainingEngine) throws(System.Failure) -> Void
  ) -> System.Failure? {
    BLAS.setThreads(1)
    let ranks = hosts.reduce(0, +)
    return failure { () throws(System.Failure) in
      try ThreadCommunicator.run(ranks: ranks, hosts: hosts) { (communicator) throws(System.Failure) in
        let folder = try ModelFolder("\(Golden.folder)/tiny-bert", labels: 2)
        let model = sharesMemory ? try Model(folder.configuration, communicator) : Model(folder.configuration)
        if communicator.isMain { _ = try model.loadWeights(folder: folder.path, seed: 1) }
        try model.broadcast(communicator)
        let rows = try TokenizedDataset(
          loadSplit(.mrpc, folder: "\(Golden.folder)/mrpc", split: .train), tokenizer: folder.tokenizer,
          maxLength: folder.configuration.maximumPositions)
        let plan = try ShardPlan(datasetSize: rows.count, batchSize: 12, ranks: ranks, splitBatches: true)
        let loader = try MicroBatchLoader(rows, plan: plan, rank: communicator.rank)
        let engine = try TrainingEngine(
          communicator, model: model, optimizer: .init(weightDecay: 0.01), limits: loader.limits,
          threads: ThreadPool(count: 1), seed: 42)
        for microBatch in loader.epoch(0).prefix(2) {
          try engine.backward(microBatch)
          try engine.step(learningRate: 1e-3)
        }
        try harm(communicator.rank, engine)
        try communicator.barrier()
        try engine.checkLockstep(learningRate: rate(communicator.rank))
      }
    }
  }

  /// Flips the lowest bit of a weight.
  private static func flip(_ model: Model, _ index: Int) {
    let value = model.parameters.pointer[index]
    model.parameters.pointer[index] = Float(bitPattern: value.bitPattern ^ 1)
  }

  @Test("ranks and hosts that agree pass", arguments: [[2], [1, 1], [2, 1], [1, 1, 1]])
  func agree(hosts: [Int]) { #expect(check(hosts: hosts) { _, _ in } == nil) }

  @Test(
    "a flipped bit on one host is found, with rank, host and tensor",
    arguments: [0, 1, 2],
    [(0, "word_embeddings.weight"), (4400, "position_embeddings.weight"), (-1, "classifier.bias")])
  func flippedOnHost(bad: Int, weight: (index: Int, name: String)) throws {
    let found = try #require(
      check(hosts: [1, 1, 1]) { rank, engine in
        let count = engine.model.layout.count
        if rank == bad { Self.flip(engine.model, (weight.index + count) % count) }
      })
    #expect(found.status == .disagreement)
    // Two of three are right.
    for word in ["after step 2: rank \(bad) (host ", "#\(bad)", "\(weight.name) differ"] {
      #expect(found.message.contains(word), "\(word) in \(found.message)")
    }
    #expect(found.message.contains("the weights of "), "\(found.message)")
  }

  @Test("so it is in a copy of one rank")
  func flippedInCopy() throws {
    let found = try #require(
      check(hosts: [2], sharesMemory: false) { rank, engine in if rank == 1 { Self.flip(engine.model, 5) } })
    #expect(found.status == .disagreement && found.message.contains("step 2: rank 1 (host"), "\(found.message)")
    #expect(found.message.contains("word_embeddings"), "\(found.message)")
  }

  @Test(
    "a flipped moment is found, with rank and tensor",
    arguments: [(AdamWOptimizer.Moment.first, "the first moments"), (.second, "the second moments")])
  func flippedMoment(moment: AdamWOptimizer.Moment, name: String) throws {
    let found = try #require(
      check(hosts: [1, 1, 1]) { rank, engine in
        guard rank == 2 else { return }
        let whole = FloatBuffer(count: engine.model.layout.count)
        engine.optimizer.copyMoments(moment, to: whole.pointer)
        whole.pointer[4400] = Float(bitPattern: whole.pointer[4400].bitPattern ^ 1)
        engine.optimizer.setMoments(moment, from: whole.pointer)
      })
    #expect(found.status == .disagreement)
    for word in ["rank 2", "#2", "\(name) of bert.embeddings.position_embeddings.weight"] {
      #expect(found.message.contains(word), "\(word) in \(found.message)")
    }
  }

  @Test("a rank that counts another step is found")
  func steps() throws {
    let folder = try TemporaryFolder()
    let path = folder.path
    let found = try #require(
      check(hosts: [1, 1]) { (rank, engine) throws(System.Failure) in
        let saved = try ModelFolder("\(Golden.folder)/tiny-bert", labels: 2).saved(engine.model, labelNames: [])
        let weights = engine.model.parameters
        try engine.save(CheckpointManifest(step: 0), to: rank == 0 ? CheckpointStore(path) : nil) {
          (folder) throws(System.Failure) in try saved.write(UnsafeBufferPointer(weights.buffer), into: folder)
        }
        let checkpoint = try Checkpoint("\(path)/\(CheckpointStore.name(step: 2))")
        var manifest = checkpoint.manifest
        if rank == 1 { manifest.step = 3 }
        try engine.load(rank == 0 ? checkpoint : nil, manifest)
      })
    #expect(found.status == .disagreement, "\(found.message)")
    #expect(found.message.contains("rank 1 (host") && found.message.contains("is at step 3"), "\(found.message)")
  }

  @Test("another learning rate is found where all share one copy")
  func rates() throws {
    let found = try #require(check(hosts: [2], rate: { $0 == 1 ? 2e-3 : 1e-3 }) { _, _ in })
    #expect(found.status == .disagreement && found.message.contains("0.002"), "\(found.message)")
  }
}
