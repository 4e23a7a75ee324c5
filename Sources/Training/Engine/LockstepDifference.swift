import BERT
import Collectives
import Kernels
import System

/// Numbers of which several ranks may hold copies.
enum LockstepKind: Int, CaseIterable {
  case weights, firstMoments, secondMoments

  var name: String {
    switch self {
    case .weights: "the weights"
    case .firstMoments: "the first moments"
    case .secondMoments: "the second moments"
    }
  }
}

/// Where two ranks' copies of one tensor, of its weights or moments, differ.
struct LockstepDifference {
  private let kind: LockstepKind
  private let slot: ParameterSlot
  /// Values of the tensor that the two ranks both hold.
  private var values = 0
  private var different = 0
  /// The first that differs and the one that differs most: its place in the tensor, and what each rank holds.
  private var first: Pair?
  private var most: Pair?

  private struct Pair {
    var index: Int
    var one: Float
    var other: Float

    /// Infinite where one is no number.
    var distance: Float {
      let distance = abs(one - other)
      return distance.isNaN ? .infinity : distance
    }
    /// In hexadecimal digits.
    var bits: [String] {
      [one, other].map { value in
        let digits = String(value.bitPattern, radix: 16)
        return String(repeating: "0", count: 8 - digits.utf8.count) + digits
      }
    }
  }

  /// Those of `tensors` in which the copies of two ranks differ, in their order. Called by all ranks, which all get the
  /// same: the two send what they hold.
  static func all(
    of tensors: [(kind: LockstepKind, slot: ParameterSlot)], between one: Int, and other: Int, _ engine: TrainingEngine
  ) throws(Failure) -> [LockstepDifference] {
    // The two hold copies of the same slice; others hold others.
    let ends = try engine.gather(engine.optimizer.parts.flatMap { [UInt64($0.lowerBound), UInt64($0.upperBound)] })[one]
    let parts = stride(from: 0, to: ends.count, by: 2).map { Int(ends[$0])..<Int(ends[$0 + 1]) }
    let copies = Copies(engine, one, other)
    return try tensors.map { (kind, slot) throws(Failure) in
      var difference = LockstepDifference(kind: kind, slot: slot)
      for part in parts { try difference.compare(slot.range.clamped(to: part), copies) }
      return difference
    }.filter { $0.different > 0 }
  }

  /// Brings what two ranks hold to all, piece by piece.
  private struct Copies {
    static let pieceCount = 1 << 18
    let engine: TrainingEngine
    let ranks: [Int]
    let pieces = [FloatBuffer(count: pieceCount), FloatBuffer(count: pieceCount)]

    init(_ engine: TrainingEngine, _ one: Int, _ other: Int) { (self.engine, ranks) = (engine, [one, other]) }

    func fetch(_ kind: LockstepKind, _ range: Range<Int>) throws(Failure) {
      for (rank, piece) in zip(ranks, pieces) {
        if rank == engine.communicator.rank { engine.copy(kind, range, to: piece.pointer) }
        try engine.communicator.broadcast(
          UnsafeMutableBufferPointer(rebasing: piece.buffer[..<range.count]), from: rank)
      }
    }
  }

  private mutating func compare(_ range: Range<Int>, _ copies: Copies) throws(Failure) {
    for start in stride(from: range.lowerBound, to: range.upperBound, by: Copies.pieceCount) {
      let piece = start..<min(start + Copies.pieceCount, range.upperBound)
      try copies.fetch(kind, piece)
      let (one, other) = (copies.pieces[0].pointer, copies.pieces[1].pointer)
      values += piece.count
      for index in 0..<piece.count where one[index].bitPattern != other[index].bitPattern {
        let pair = Pair(index: start - slot.offset + index, one: one[index], other: other[index])
        different += 1
        first = first ?? pair
        if most.map({ pair.distance > $0.distance }) ?? true { most = pair }
      }
    }
  }

  // MARK: As text

  /// `the weights of classifier.bias differ in 1 of 2 values, most at [0]: 0.5 and 0.25 (bits 3f000000 and 3e800000)`.
  var text: String {
    let worst =
      most.map { "\(place($0)): \($0.one) and \($0.other) (bits \($0.bits.joined(separator: " and ")))" } ?? ""
    return "\(kind.name) of \(slot.name) differ in \(different) of \(values) values, most at \(worst)"
  }

  /// A line for each tensor that differs, under a header.
  static func table(_ differences: [LockstepDifference], ranks: [Int]) -> [UInt8] {
    let columns =
      ["values", "different"]
      + ["first", "most"].flatMap { which in
        [which] + ranks.map { "rank \($0)" } + ranks.map { "bits of rank \($0)" }
      }
    let lines = differences.map { difference in
      ([difference.kind.name, difference.slot.name, "\(difference.values)", "\(difference.different)"]
        + [difference.first, difference.most].compactMap { $0 }.flatMap { pair in
          [difference.place(pair), "\(pair.one)", "\(pair.other)"] + pair.bits
        }).joined(separator: "\t")
    }
    return Array(([(["what", "tensor"] + columns).joined(separator: "\t")] + lines).map { "\($0)\n" }.joined().utf8)
  }

  /// `[31, 0]`: where the value is in its tensor.
  private func place(_ pair: Pair) -> String {
    var rest = pair.index
    let indices = slot.shape.reversed().map { size in
      defer { rest /= size }
      return rest % size
    }
    return "[" + indices.reversed().map(String.init).joined(separator: ", ") + "]"
  }
}
