import Lockstep
import System
import TestSupport
import Testing

/// Accelerate's collectives, on ranks as threads.
struct CollectiveTests {
  @Test("gather, reduce, broadcast, pad and split are Accelerate's", arguments: 1...4)
  func values(ranks: Int) throws {
    let results = try onRanks(ranks) { accelerator -> [String] in
      let rank = accelerator.processIndex
      var wrong: [String] = []
      func expect<Value: Equatable>(_ name: String, _ found: Value, _ expected: Value) {
        if found != expected { wrong.append("\(name) on rank \(rank): \(found), expected \(expected)") }
      }
      let own = (0...rank).map { 10 * rank + $0 }
      expect("gather", try accelerator.gather(own), (0..<ranks).flatMap { rank in (0...rank).map { 10 * rank + $0 } })
      let matrix = Matrix(rows: rank, columns: 2, [Float](repeating: Float(rank), count: 2 * rank))
      expect("rows", try accelerator.gather(matrix).rows, ranks * (ranks - 1) / 2)
      let numbers = [Double(rank), 1]
      let sum = Double(ranks * (ranks - 1) / 2)
      expect("sum", try accelerator.reduce(numbers), [sum, Double(ranks)])
      expect("mean", try accelerator.reduce(numbers, .mean), [sum / Double(ranks), 1])
      expect("max", try accelerator.reduce(numbers, .max), [Double(ranks - 1), 1])
      expect("broadcast", try accelerator.broadcast([rank, 7], from: ranks - 1), [ranks - 1, 7])
      expect("text", try accelerator.broadcast("é\(rank)"), "é0")
      let padded = own + [Int](repeating: -1, count: ranks - 1 - rank)
      expect("pad", try accelerator.padAcrossProcesses(own, padding: -1), padded)
      let front = [Int](repeating: -1, count: ranks - 1 - rank) + own
      expect("pad in front", try accelerator.padAcrossProcesses(own, padding: -1, padFirst: true), front)
      // Accelerate's rule: the first ranks have one more.
      let (share, larger) = 17.quotientAndRemainder(dividingBy: ranks)
      let part = accelerator.splitBetweenProcesses(Array(0..<17))
      expect("split", part.count, share + (rank < larger ? 1 : 0))
      expect("split joined", try accelerator.gather(part), Array(0..<17))
      let filled = accelerator.splitBetweenProcesses(Array(0..<17), applyPadding: true)
      expect("split with padding", filled.count, share + (larger > 0 ? 1 : 0))
      if filled.count > part.count { expect("what pads", filled.last, 16) }

      expect("no trigger", try accelerator.checkTrigger(), false)
      if rank == ranks - 1 { accelerator.setTrigger() }
      expect("trigger", try accelerator.checkTrigger(), true)
      expect("trigger again", try accelerator.checkTrigger(), false)
      return wrong
    }
    #expect(results.flatMap(\.self) == [])
  }

  @Test(
    "numbers to join, of which ranks have another count, are an error that names the call",
    arguments: [Reduction.sum, .mean, .max])
  func otherCounts(reduction: Reduction) throws {
    let failure = try #require(
      problem {
        try onRanks(3) { accelerator in
          try accelerator.reduce([Double](repeating: 1, count: accelerator.processIndex == 2 ? 1 : 2), reduction)
        }
      })
    #expect("\(failure)".contains("accelerator.reduce: the ranks gave [2, 2, 1] numbers"), "\(failure)")
  }

  @Test("the main process is first, and its failure is everybody's", arguments: [1, 3])
  func mainProcessFirst(ranks: Int) throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/made"
    let found = try onRanks(ranks) { accelerator -> Bool in
      try accelerator.mainProcessFirst {
        if accelerator.isMainProcess {
          try writeAtomically([1], to: path)
          return true
        }
        return exists(path)
      }
    }
    #expect(found == Array(repeating: true, count: ranks))
    struct Odd: ErrorWithStatus { var exitStatus: Int32 { 42 } }
    let failure = problem {
      try onRanks(ranks) { accelerator in
        try accelerator.mainProcessFirst { if accelerator.isMainProcess { throw Odd() } }
      }
    }
    #expect(failure?.status.rawValue == 42)
  }

  @Test("filled-up rows are gathered once, and their copies left out", arguments: 2...4)
  func paddedRounds(ranks: Int) throws {
    let rows = try onRanks(ranks, splitting: false) { accelerator -> [Int] in
      let loader = try DataLoader(tinyRows().validation, batchSize: 4, tail: .pad)
      try accelerator.prepare(loader)
      var rows: [Int] = []
      for batch in loader { rows += try accelerator.gatherForMetrics(batch.rows) }
      return rows
    }
    for found in rows { #expect(found == Array(0..<30)) }
  }

  @Test("an epoch that was begun goes on where it was", arguments: 1...2) func skipped(ranks: Int) throws {
    let parts = try onRanks(ranks) { accelerator -> [[Int]] in
      let loader = try DataLoader(tinyRows().train, batchSize: 12, shuffle: true)
      try accelerator.prepare(loader)
      let later = try accelerator.skipFirstBatches(loader, 2)
      let (rest, whole) = (later.map(\.rows), loader.map(\.rows))
      return [[later.count, loader.count - 2], rest.flatMap(\.self), whole.dropFirst(2).flatMap(\.self)]
    }
    for part in parts { #expect(part[0][0] == part[0][1] && part[1] == part[2] && !part[1].isEmpty) }
  }

  @Test("where memory lacks all ranks try the same smaller batch") func batchSize() throws {
    let sizes = try onRanks(2) { accelerator -> [Int] in
      var tried: [Int] = []
      _ = try accelerator.findExecutableBatchSize(startingAt: 1 << 20) { size in
        tried.append(size)
        guard tried.count < 4 else { return }
        // As the check before a batch's memory is taken: one rank has too little.
        try accelerator.mainProcessFirst {
          if accelerator.isMainProcess { throw Lockstep.Failure(.unavailable, "no memory") }
        }
      }
      return tried
    }
    #expect(sizes[0] == [1_048_576, 943_718, 849_346, 764_411] && sizes[1] == sizes[0])
    let other = problem {
      try onRanks(1) { accelerator in
        try accelerator.findExecutableBatchSize { _ in throw Lockstep.Failure(.badData, "other") }
      }
    }
    #expect(other?.status == .badData)
  }
}
