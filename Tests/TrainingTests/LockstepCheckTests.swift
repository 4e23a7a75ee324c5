import Checkpoints
import Collectives
import Datasets
import Glibc
import Kernels
import System
import TestSupport
import Testing
import Training

/// Ranks that compare their numbers.
struct LockstepCheckTests {
  /// Trains two steps and checks; `harm` changes a rank's numbers before.
  ///
  /// - Parameters:
  ///   - rate: of a rank and a step.
  ///   - folder: for checkpoints, on rank 0.
  ///   - end: what comes in place of the check.
  private func check(
    hosts: [Int], sharesMemory: Bool = true, rate: @escaping @Sendable (Int, Int) -> Double = { _, _ in 1e-3 },
    folder path: String? = nil,
    end: @escaping @Sendable (TrainingEngine) throws(System.Failure) -> Void = { (engine) throws(System.Failure) in
      try engine.checkLockstep()
    },
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
        engine.lockstep.store = communicator.isMain ? path.map { CheckpointStore($0) } : nil
        for microBatch in loader.epoch(0).prefix(2) {
          try engine.backward(microBatch)
          try engine.step(learningRate: rate(communicator.rank, engine.steps + 1))
        }
        try harm(communicator.rank, engine)
        try communicator.barrier()
        try end(engine)
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

  @Test("another learning rate is found where all share one copy, also one of an earlier step", arguments: [2, 1])
  func rates(step bad: Int) throws {
    let found = try #require(
      check(hosts: [2], rate: { rank, step in rank == 1 && step == bad ? 2e-3 : 1e-3 }) { _, _ in })
    #expect(found.status == .disagreement, "\(found.message)")
    let words =
      bad == 2
      ? " is at step 2 with the learning rate 0.002, rank 0 (host "
      : "has used other learning rates than rank 0"
    #expect(found.message.contains(words), "\(found.message)")
    #expect(!found.message.contains("weight"), "nothing else is compared: \(found.message)")
  }

  @Test("the message has place, values and bits of what differs most, and how much else does")
  func values() throws {
    let found = try #require(
      check(hosts: [1, 1]) { rank, engine in
        guard rank == 1 else { return }
        let weights = engine.model.parameters.pointer
        (weights[3], weights[70], weights[4400]) = (0.5, -2, 1)
      })
    #expect(found.message.contains("and nobody knows which are right"), "\(found.message)")
    let name = "the weights of bert.embeddings.word_embeddings.weight differ in 2 of "
    #expect(found.message.contains(name), "\(found.message)")
    // Rows of the tiny model have 32 numbers.
    #expect(found.message.contains(" values, most at [2, 6]: -2.0 and "), "\(found.message)")
    #expect(found.message.contains("(bits c0000000 and "), "\(found.message)")
    #expect(found.message.hasSuffix("2 tensors differ"), "\(found.message)")
  }

  @Test(
    "all that differs is left in a file beside the checkpoints, which only the user may read", arguments: [true, false])
  func file(sharesMemory: Bool) throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/checkpoints"
    let found = try #require(
      check(hosts: sharesMemory ? [2, 2] : [3], sharesMemory: sharesMemory, folder: path) { rank, engine in
        guard rank >= 2 else { return }
        // Ranks of a host see one copy of the weights, and each has the moments of its slice.
        if rank == 2 { for index in [7, 8] { Self.flip(engine.model, index) } }
        let whole = FloatBuffer(count: engine.model.layout.count)
        engine.optimizer.copyMoments(.second, to: whole.pointer)
        whole.pointer[9] = 9
        engine.optimizer.setMoments(.second, from: whole.pointer)
      })
    let file = "\(path)/out-of-lockstep-2.tsv"
    #expect(found.message.hasSuffix("all of it: \(file)"), "\(found.message)")
    let lines = String(decoding: try readBytes(file), as: UTF8.self).split(separator: "\n").map {
      $0.split(separator: "\t").map(String.init)
    }
    try #require(lines.count == 3 && lines.allSatisfy { $0.count == 14 }, "\(lines)")
    let ranks = (2...3).map { "rank \($0)" }.contains(lines[0][5]) && (0...1).map { "rank \($0)" }.contains(lines[0][6])
    #expect(ranks && lines[0][13] == "bits of \(lines[0][6])", "\(lines[0])")
    let word = "bert.embeddings.word_embeddings.weight"
    #expect(Array(lines[1][0...1]) == ["the weights", word] && lines[1][3] == "2" && lines[1][4] == "[0, 7]")
    let bits = lines[1][7...8].compactMap { UInt32($0, radix: 16) }
    #expect(bits.count == 2 && bits[0] ^ bits[1] == 1, "\(lines[1])")
    #expect(Array(lines[2][0...1]) == ["the second moments", word] && lines[2][3] == "1", "\(lines[2])")
    #expect(lines[2][4] == "[0, 9]" && lines[2][5] == "9.0" && lines[2][7] == "41100000", "\(lines[2])")
    var info = stat()
    #expect(stat(file, &info) == 0 && info.st_mode & 0o777 == 0o600)
  }

  @Test("no checkpoint is saved of numbers on which ranks disagree, however it is written", arguments: [false, true])
  func saving(beside: Bool) throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/checkpoints"
    for interval in [1000, 0] {
      let found = check(
        hosts: [1, 1],
        end: { (engine) throws(System.Failure) in
          engine.lockstep.interval = interval
          let saved = try ModelFolder("\(Golden.folder)/tiny-bert", labels: 2).saved(engine.model, labelNames: [])
          let store = engine.communicator.isMain ? CheckpointStore(path) : nil
          if beside {
            guard let writer = try CheckpointWriter(engine, to: store, keeping: nil) else {
              throw System.Failure(.internalError, "no memory for a copy")
            }
            try writer.begin(engine, CheckpointManifest(step: 0), saved)
            try writer.finish(engine.communicator)
          } else {
            let weights = engine.model.parameters
            try engine.save(CheckpointManifest(step: 0), to: store) { (folder) throws(System.Failure) in
              try saved.write(UnsafeBufferPointer(weights.buffer), into: folder)
            }
          }
        }
      ) { rank, engine in if rank == 1 { Self.flip(engine.model, 5) } }
      #expect(found?.status == (interval == 0 ? nil : .disagreement), "\(found?.message ?? "")")
      #expect(CheckpointStore(path).entries.count == (interval == 0 ? 1 : 0))
    }
  }

  @Test(
    "ranks compare after every so many steps and not between them",
    arguments: [(1, true), (2, true), (3, false), (0, false)])
  func interval(_ interval: Int, isDue: Bool) {
    let found = check(
      hosts: [1, 1],
      end: { (engine) throws(System.Failure) in
        engine.lockstep.interval = interval
        try engine.checkLockstepWhereDue()
      }
    ) { rank, engine in if rank == 1 { Self.flip(engine.model, 5) } }
    #expect((found?.status == .disagreement) == isDue, "\(found?.message ?? "")")
  }
}
