import BERT
import Batches
import Datasets
import Kernels
import Safetensors
import System
import Tokenization

/// Rows of token ids, packed end to end, with memory of their own.
package struct PackedRows: Sendable {
  package private(set) var tokenIDs: [Int32] = []
  package private(set) var typeIDs: [Int32] = []
  package private(set) var starts: [Int32] = [0]
  /// The rows' numbers in the data set, which address their dropout.
  package private(set) var rows: [Int] = []

  package init() {}

  package mutating func append(_ ids: [Int32], types: [Int32], row: Int) {
    tokenIDs += ids
    typeIDs += types
    starts.append(Int32(tokenIDs.count))
    rows.append(row)
  }

  /// Rows of random tokens; lengths one by one, the second half of each row of type 1.
  package init(lengths: [Int], vocabularySize: Int, using numbers: inout Numbers) {
    for (row, length) in lengths.enumerated() {
      let ids = (0..<length).map { _ in Int32.random(in: 1..<Int32(vocabularySize), using: &numbers) }
      append(ids, types: (0..<length).map { $0 < (length + 1) / 2 ? 0 : 1 }, row: row)
    }
  }

  /// The first rows of a table of MRPC, as `tokenizer` encodes them.
  package init(table: String, first count: Int, tokenizer: BertTokenizer, maxLength: Int = 512) throws {
    for (row, pair) in try GLUETask.mrpc.parse(readBytes(table), path: table).prefix(count).enumerated() {
      let encoding = try tokenizer.encode(pair.first, pair.second, maxLength: maxLength)
      append(encoding.inputIDs, types: encoding.tokenTypeIDs, row: row)
    }
  }

  package var count: Int { rows.count }

  /// A batch of some of the rows, in this order.
  package func selecting(_ places: [Int]) -> PackedRows {
    var result = PackedRows()
    for place in places {
      let range = Int(starts[place])..<Int(starts[place + 1])
      result.append(Array(tokenIDs[range]), types: Array(typeIDs[range]), row: rows[place])
    }
    return result
  }

  package var limits: BatchLimits {
    BatchLimits(
      tokens: tokenIDs.count, sequences: count, length: (0..<count).map { Int(starts[$0 + 1] - starts[$0]) }.max() ?? 0)
  }

  /// A batch of all rows, without labels.
  package var batch: PackedBatch {
    let batch = PackedBatch()
    for place in 0..<count {
      let range = Int(starts[place])..<Int(starts[place + 1])
      tokenIDs[range].withUnsafeBufferPointer { ids in
        typeIDs[range].withUnsafeBufferPointer { batch.append(row: rows[place], tokenIDs: ids, typeIDs: $0) }
      }
    }
    return batch
  }

  package func withInput<Result>(_ body: (PackedBatch) -> Result) -> Result { body(batch) }
}

/// What a row is to be told to be.
package enum Targets: Sendable {
  case classes([Int32])
  case scores([Float])

  package func selecting(_ places: [Int]) -> Targets {
    switch self {
    case .classes(let values): .classes(places.map { values[$0] })
    case .scores(let values): .scores(places.map { values[$0] })
    }
  }
}

/// One forward and backward pass of a classifier.
package struct Pass: Sendable {
  package var logits: [Float]
  /// Sum of the rows' losses times the scale.
  package var loss: Double
  package var gradients: [Float]

  /// Computes a batch with new activations, which hold garbage at first.
  package init(
    _ configuration: BertConfiguration, weights: [Float], _ rows: PackedRows, _ targets: Targets, scale: Double? = nil,
    dropout: DropoutPlan? = nil, precision: ProductPrecision = .highest, threads: Int = 1,
    becameFinal: (Int, UnsafePointer<Float>) -> Void = { _, _ in }
  ) {
    let network = BertClassifier(
      configuration, limits: rows.limits, gemm: GEMM(precision, threads: ThreadPool(count: threads)))
    self.init(network, weights: weights, rows, targets, scale: scale, dropout: dropout, becameFinal: becameFinal)
  }

  /// The same on activations that earlier batches used.
  package init(
    _ network: BertClassifier, weights: [Float], _ rows: PackedRows, _ targets: Targets, scale: Double? = nil,
    dropout: DropoutPlan? = nil, becameFinal: (Int, UnsafePointer<Float>) -> Void = { _, _ in }
  ) {
    let scale = scale ?? 1 / Double(rows.count)
    var gradients = [Float](repeating: .nan, count: network.layout.count)
    (logits, loss) = rows.withInput { input in
      network.forward(input, parameters: weights, dropout: dropout)
      let logits = Array(network.logits)
      let loss =
        switch targets {
        case .classes(let labels): network.crossEntropyLoss(labels: labels, gradientScale: scale)
        case .scores(let scores): network.squaredErrorLoss(targets: scores, gradientScale: scale)
        }
      gradients.withUnsafeMutableBufferPointer { gradients in
        let pointer = gradients.baseAddress!
        network.backward(parameters: weights, gradients: pointer, .overwrite) {
          becameFinal($0, UnsafePointer(pointer))
        }
      }
      return (logits, loss * scale)
    }
    self.gradients = gradients
  }
}

extension ParameterLayout {
  /// The tensors of a file in the order of this layout, each under the parameter's own name.
  package func values(from path: String) throws -> [Float] {
    let file = try SafetensorsFile(path)
    var result = [Float](repeating: .nan, count: count)
    try result.withUnsafeMutableBufferPointer { result in
      for slot in slots {
        guard let tensor = file.tensor(named: slot.name), tensor.shape == slot.shape else {
          throw Failure(.badData, at: path, "no tensor \(slot.name) of shape \(slot.shape)")
        }
        try file.readFloats(tensor, into: UnsafeMutableBufferPointer(rebasing: result[slot.range]))
      }
    }
    return result
  }

  /// What every gradient's worst element is, where it is further off than `tolerance` of its tensor's largest value.
  ///
  /// Keys' biases are left out of that: adding the same to all keys adds the same to all scores of a query, which
  /// softmax ignores, so their gradient is 0 and what any implementation has there is rounding: 1e-7 at most.
  package func gradientDifferences(
    _ gradients: [Float], _ expected: [Float], tolerance: Double = 1e-4
  ) -> [String] {
    slots.compactMap { slot in
      let largest = expected[slot.range].map { Double(abs($0)) }.max() ?? 0
      if slot.isKeyBias {
        return worstDifference(
          slot.name, shape: slot.shape, gradients[slot.range], slot.range.map { _ in Float(0) }, within: 1e-7)
      }
      return worstDifference(
        slot.name, shape: slot.shape, gradients[slot.range], expected[slot.range], within: tolerance * largest)
    }
  }
}

extension ParameterSlot {
  /// Whether the loss does not depend on it.
  package var isKeyBias: Bool { name.hasSuffix("attention.self.key.bias") || name.hasSuffix("attention.k_lin.bias") }
}
