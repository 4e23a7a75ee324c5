import Collectives
import Glibc
import System

/// Ranks that go wrong, for the tests of what the launcher makes of it. The number is mostly the rank that does.
let faults: [String: Check] = [
  "skips": { (communicator, rounds) throws(Failure) in
    // Rank 1 leaves out the last but two.
    for round in 0..<rounds where !(round == rounds - 3 && communicator.rank == 1) {
      try communicator.barrier()
      communicator.noteStep(round + 1)
    }
  },
  "stays-away": { (communicator, odd) throws(Failure) in
    for step in 1...3 { try takeStep(communicator, step) }
    if communicator.rank == odd { sleep(600) }
    try communicator.barrier()
  },
  "stays-silent": { (communicator, _) throws(Failure) in
    // All wait, each for its end of time.
    for step in 1...3 { try takeStep(communicator, step) }
    writeLine("silent")
    while true { try takeStep(communicator, 4) }
  },
  "exits": { (communicator, status) throws(Failure) in
    for step in 1...3 { try takeStep(communicator, step) }
    // All have noted the step.
    try communicator.barrier()
    if communicator.rank == odd(communicator) { exit(Int32(status)) }
    try communicator.barrier()
  },
  "finalizes": { (communicator, _) throws(Failure) in
    // All say goodbye to MPI, but rank 1 does not say that its work is done.
    for step in 1...3 { try takeStep(communicator, step) }
    try (communicator as? MPICommunicator)?.finalize()
    if communicator.rank == 1 { exit(0) }
  },
  "traps": { (communicator, kind) throws(Failure) in
    for step in 1...3 { try takeStep(communicator, step) }
    // All have noted the step.
    try communicator.barrier()
    let size = communicator.size
    if communicator.rank == odd(communicator) {
      switch kind {
      case 0: writeLine("\([1, 2, 3][size + 3])")
      case 1: writeLine("\(Int.max + size)")
      case 2: writeLine("\(Int("x" + "\(size)")!)")
      default: fatalError("a mistake of ours")
      }
    }
    try communicator.barrier()
  },
  "saves": { (communicator, _) throws(Failure) in
    for step in 1...3 { try takeStep(communicator, step) }
    writeLine("rank \(communicator.rank) saves")
    try communicator.agree { () throws(Failure) in
      guard communicator.isMain, let folder = Environment.ofThisProcess()["FOLDER"] else { return }
      let bytes = [UInt8](repeating: 7, count: 1 << 24)
      while true { try writeAtomically(bytes, to: "\(folder)/weights") }
    }
  },
  "lingers": { (communicator, _) throws(Failure) in
    // All steps are done; the end is not.
    for step in 1...3 { try takeStep(communicator, step) }
    communicator.noteResult(digest: 5)
    writeLine("rank \(communicator.rank) lingers")
    sleep(600)
  },
  "fails-twice": { (communicator, _) throws(Failure) in
    // Rank 1 first, rank 0 shortly after.
    try communicator.barrier()
    if communicator.rank == 0 { usleep(5_000) }
    throw Failure(communicator.rank == 0 ? .cannotCreate : .badData, "of rank \(communicator.rank)")
  },
  "computes": { (communicator, seconds) throws(Failure) in
    // Busy on rank 1 alone, longer than a stall may last.
    try communicator.barrier()
    let end = ContinuousClock.now + .seconds(seconds)
    var value = 1.0
    if communicator.rank == 1 { while ContinuousClock.now < end { value = (value * 1.000001).squareRoot() } }
    writeLine("\(try communicator.sum(value) > 0)")
  },
  "weights-differ": { (communicator, odd) throws(Failure) in
    try takeStep(communicator, 1)
    communicator.noteResult(digest: communicator.rank == odd ? 1 : 2)
  },
  "steps-differ": { (communicator, odd) throws(Failure) in
    try takeStep(communicator, 1)
    if communicator.rank == odd { communicator.noteStep(2) }
  },
  "one-ends": { (communicator, odd) throws(Failure) in
    // The others wait for it.
    if communicator.rank != odd { _ = try communicator.sum(1) }
  },
  "roots-differ": { (communicator, odd) throws(Failure) in
    // Each is root of its own broadcast: MPI answers 0, and nothing is exchanged.
    var values: [Float] = [1, 2]
    try values.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
      try communicator.broadcast(buffer, from: communicator.rank)
    }
  },
  "works": { (communicator, milliseconds) throws(Failure) in
    // Steps without end, until it is asked to stop.
    var step = 0
    communicator.acceptStop()
    writeLine("rank \(communicator.rank) works")
    while true {
      work(milliseconds: milliseconds)
      step += 1
      try takeStep(communicator, step)
      guard try communicator.sum(communicator.isRankAskedToStop ? 1 : 0) > 0 else { continue }
      communicator.noteStop()
      return writeLine("stopped after step \(step)")
    }
  },
  "only-looks": { (communicator, milliseconds) throws(Failure) in
    // Steps without end; it sees that it is to stop, but has promised nothing.
    writeLine("rank \(communicator.rank) works")
    var step = 0
    while true {
      work(milliseconds: milliseconds)
      step += 1
      try takeStep(communicator, step)
      _ = try communicator.sum(communicator.isRankAskedToStop ? 1 : 0)
    }
  },
  "steps": { (communicator, count) throws(Failure) in
    for step in 1...max(1, count) {
      usleep(communicator.rank == 1 ? 50_000 : 10_000)
      try takeStep(communicator, step)
    }
    communicator.noteResult(digest: 5)
  },
  "seems-to-save": { (communicator, seconds) throws(Failure) in
    // As after training: rank 0 writes, the others wait to hear how that went.
    for step in 1...3 { try takeStep(communicator, step) }
    writeLine("saves")
    try communicator.agree { () throws(Failure) in
      let end = ContinuousClock.now + .seconds(seconds)
      while communicator.isMain && ContinuousClock.now < end {
        usleep(10_000)
        communicator.record?.touch()
      }
    }
  },
  "gathers": { (communicator, megabytes) throws(Failure) in
    // As after an evaluation, in one call, which takes long where the network is slow.
    for step in 1...3 { try takeStep(communicator, step) }
    writeLine("gathers")
    _ = try communicator.allGather([UInt8](repeating: 1, count: megabytes << 20))
  },
  "broadcasts": { (communicator, megabytes) throws(Failure) in
    // In one call, which takes long where the network is slow.
    var bytes = [UInt8](repeating: communicator.isMain ? 7 : 0, count: megabytes << 20)
    try bytes.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
      try communicator.broadcast(UnsafeMutableRawBufferPointer(buffer), from: 0)
    }
    try expect(bytes[bytes.count - 1] == 7, "the last byte is \(bytes[bytes.count - 1])")
  },
  "differ-in": { (communicator, _) throws(Failure) in
    try communicator.requireSame([("the colour", "blue"), ("the number", Environment.ofThisProcess()["NUMBER"] ?? "")])
  },
  "cost": { (communicator, _) throws(Failure) in
    guard let record = communicator.record else { throw Failure(.internalError, "no record") }
    let begin = ContinuousClock.now
    for _ in 0..<100_000 {
      record.enter(.init(.barrier), at: .init(file: #fileID, line: #line))
      record.leave()
    }
    writeLine("\(Int((ContinuousClock.now - begin) / .nanoseconds(100_000)))")
    try communicator.barrier()
  },
]

/// The rank that goes wrong where the number says something else: 1, or the only one.
private func odd(_ communicator: any Communicator) -> Int { min(1, communicator.size - 1) }

/// One step: a sum over the ranks that has a closed form.
private func takeStep(_ communicator: any Communicator, _ step: Int) throws(Failure) {
  let total = try communicator.sum(Double(step))
  try expect(total == Double(step * communicator.size), "the sum of \(step) is \(total)")
  communicator.noteStep(step)
}

/// Takes so long, whatever signals come meanwhile.
private func work(milliseconds: Int) {
  let end = ContinuousClock.now + .milliseconds(milliseconds)
  while ContinuousClock.now < end { usleep(UInt32(min(10_000, milliseconds * 1000))) }
}
