import Collectives
import Glibc
import System

typealias Check = @Sendable (any Communicator, Int) throws(Failure) -> Void

/// By name: what a rank does with the number that follows the name.
let checks: [String: Check] = collectiveChecks.merging(faults) { first, _ in first }.merging(planted) { first, _ in
  first
}

private let collectiveChecks: [String: Check] = [
  "closed-forms": { (communicator, _) throws(Failure) in
    try checkPlaces(communicator)
    for count in [0, 1, 2, 3, 1000, 65_537, 3_000_001] {
      try checkSums(communicator, count: count, of: Float.self) { (buffer) throws(Failure) in
        try communicator.sum(buffer)
      }
      try checkSums(communicator, count: count, of: Double.self) { (buffer) throws(Failure) in
        try communicator.sum(buffer)
      }
      try checkBroadcasts(communicator, count: count)
      try checkGathers(communicator, count: count)
    }
    try communicator.barrier()
    writeLine("rank \(communicator.rank) of \(communicator.size): correct")
  },
  "agree-fails": { (communicator, failing) throws(Failure) in
    let sum = try communicator.agree { () throws(Failure) in communicator.rank + 1 }
    try expect(sum == communicator.rank + 1, "agree returned \(sum)")
    try communicator.agree { () throws(Failure) in
      if communicator.rank >= failing {
        throw Failure(.badData, at: "train.tsv:17", "label \(communicator.rank + 5)", hint: "0 or 1")
      }
    }
  },
  "agree-same": { (communicator, _) throws(Failure) in
    try communicator.agree { () throws(Failure) in throw Failure(.missingInput, "no folder here") }
  },
  "throws": { (communicator, failing) throws(Failure) in
    if communicator.rank == failing { throw Failure(.cannotCreate, at: "out", "is read-only") }
    try communicator.barrier()
    writeLine("rank \(communicator.rank): passed a barrier that rank \(failing) never reached")
  },
  "abort": { (communicator, status) throws(Failure) in
    if communicator.isMain { communicator.abort(ExitStatus(rawValue: Int32(status))) }
    try communicator.barrier()
  },
  "mismatch": { (communicator, count) throws(Failure) in
    // Unequal counts: MPI notices a message that is longer than the buffer for it.
    var bytes = [UInt8](repeating: 1, count: communicator.isMain ? 2 * count : count)
    try communicator.agree { () throws(Failure) in }
    try bytes.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
      try communicator.broadcast(UnsafeMutableRawBufferPointer(buffer), from: 0)
    }
    try communicator.barrier()
  },
  "differ": { (communicator, which) throws(Failure) in
    // Calls that MPI answers with wrong data, or by waiting for ever.
    let isOdd = communicator.rank == 1
    var floats = [Float](repeating: 1, count: 100_000)
    func sum(_ count: Int) throws(Failure) {
      try floats.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
        try communicator.sum(UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
      }
    }
    func broadcast(from root: Int) throws(Failure) {
      try floats.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
        try communicator.broadcast(UnsafeMutableBufferPointer(rebasing: buffer[..<8]), from: root)
      }
    }
    switch which {
    case 0: try sum(isOdd ? 2 : 4)
    case 1: if isOdd { _ = try communicator.sum([1, 1, 1, 1]) } else { try sum(4) }
    case 2: try broadcast(from: isOdd ? 1 : 0)
    case 3: if isOdd { try communicator.barrier() } else { try sum(4) }
    case 4: if isOdd { _ = try communicator.allGather(1.0) } else { try communicator.barrier() }
    case 5:
      // The same from another line.
      if isOdd {
        try sum(4)
      } else {
        var others: [Float] = [1, 1, 1, 1]
        try others.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in try communicator.sum(buffer) }
      }
    case 6: try sum(isOdd ? 50_000 : 100_000)
    default: try sum(4)
    }
    writeLine("rank \(communicator.rank): went on")
  },
  "huge": { (communicator, byteCount) throws(Failure) in
    // More bytes than an Int32 counts; only the last rank's end differs.
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 64)
    defer { buffer.deallocate() }
    buffer.initializeMemory(as: UInt8.self, repeating: 3)
    buffer[byteCount - 1] = communicator.isMain ? 7 : 9
    try communicator.broadcast(buffer, from: 0)
    try expect(buffer[byteCount - 1] == 7, "last byte \(buffer[byteCount - 1]), expected 7")
    writeLine("rank \(communicator.rank) of \(communicator.size): correct")
  },
]

func checkPlaces(_ communicator: any Communicator) throws(Failure) {
  let ranks = try communicator.allGather(communicator.rank)
  try expect(ranks == Array(0..<communicator.size), "ranks \(ranks)")
  let localRanks = try communicator.allGather(communicator.localRank)
  try expect(localRanks == Array(0..<communicator.localSize), "local ranks \(localRanks) of \(communicator.localSize)")
  let total = try communicator.sum(Double(communicator.rank + 1))
  try expect(total == Double(communicator.size * (communicator.size + 1) / 2), "the sum of 1...size is \(total)")
}

/// Sums with a closed form (whole numbers: exact in any order), then rounded ones: near the exact value and the same
/// bits on all ranks.
func checkSums<Value: BinaryFloatingPoint & BitwiseCopyable>(
  _ communicator: any Communicator, count: Int, of type: Value.Type,
  _ sum: (UnsafeMutableBufferPointer<Value>) throws(Failure) -> Void
) throws(Failure) {
  let (rank, size) = (communicator.rank, communicator.size)
  var values = (0..<count).map { Value((rank + 1) * ($0 % 997 + 1)) }
  try values.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in try sum(buffer) }
  for index in 0..<count {
    let expected = Value(size * (size + 1) / 2 * (index % 997 + 1))
    try expect(
      values[index] == expected, "\(type) sum of \(count): [\(index)] is \(values[index]), expected \(expected)")
  }

  let fraction = { (rank: Int, index: Int) in Value(1) / Value(3 + rank * 7 + index % 1013) }
  values = (0..<count).map { fraction(rank, $0) }
  try values.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in try sum(buffer) }
  for index in 0..<count {
    let expected = (0..<size).reduce(0) { $0 + Double(fraction($1, index)) }
    let error = abs(Double(values[index]) - expected)
    try expect(
      error <= 4 * Double(Value.ulpOfOne) * expected,
      "\(type) sum of \(count): [\(index)] is \(values[index]), expected \(expected)")
  }
  let digests = try communicator.allGather(values.withUnsafeBytes { digest($0) })
  try expect(digests.allSatisfy { $0 == digests[0] }, "\(type) sum of \(count): bits differ between ranks: \(digests)")
}

func checkBroadcasts(_ communicator: any Communicator, count: Int) throws(Failure) {
  let pattern = { (rank: Int, index: Int) in UInt8(truncatingIfNeeded: index &* 31 &+ rank &* 101) }
  for root in 0..<communicator.size {
    var bytes = (0..<count).map { pattern(communicator.rank, $0) }
    try bytes.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
      try communicator.broadcast(UnsafeMutableRawBufferPointer(buffer), from: root)
    }
    for index in 0..<count {
      try expect(bytes[index] == pattern(root, index), "broadcast of \(count) from \(root): [\(index)] is wrong")
    }
    // Of a length that only the root knows.
    let text = try communicator.broadcast([UInt8](repeating: 5, count: communicator.rank * 3 + count % 100), from: root)
    try expect(text == [UInt8](repeating: 5, count: root * 3 + count % 100), "broadcast gave \(text.count) bytes")
  }
}

/// Lengths that differ: rank 0 has all, others less, the last one none.
func checkGathers(_ communicator: any Communicator, count: Int) throws(Failure) {
  let (rank, size) = (communicator.rank, communicator.size)
  let part = { (rank: Int) in
    (0..<(size == 1 ? count : count * (size - 1 - rank) / (size - 1))).map { UInt8(truncatingIfNeeded: $0 &+ rank) }
  }
  let gathered = try communicator.allGather(part(rank))
  try expect(gathered.count == size, "gathered \(gathered.count) parts of \(size) ranks")
  for other in 0..<size { try expect(gathered[other] == part(other), "gather of \(count): part \(other) is wrong") }

  let numbers = try communicator.allGather([Double(rank), 0.5])
  try expect(numbers == (0..<size).map { [Double($0), 0.5] }, "gathered \(numbers)")
  let values = try communicator.allGather(Double(rank) / 3)
  try expect(values == (0..<size).map { Double($0) / 3 }, "gathered \(values)")
}

/// FNV-1a over 8-byte words.
func digest(_ bytes: UnsafeRawBufferPointer) -> Int {
  var hash = FNV1a()
  for offset in stride(from: 0, to: bytes.count - bytes.count % 8, by: 8) {
    hash.add(bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }
  hash.add(bytes.suffix(bytes.count % 8))
  return Int(truncatingIfNeeded: hash.value)
}

func expect(_ condition: Bool, _ message: @autoclosure () -> String) throws(Failure) {
  if !condition { throw Failure(.internalError, message()) }
}

/// One write for one line, so that lines of several ranks do not mix.
func writeLine(_ text: String, to descriptor: Int32 = STDOUT_FILENO) {
  let bytes = Array((text + "\n").utf8)
  _ = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
}
