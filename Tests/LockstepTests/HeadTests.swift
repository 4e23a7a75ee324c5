import Glibc
import Lockstep
import Safetensors
import System
import TestSupport
import Testing

/// A head of the tests' own: a linear layer, as the library's classifier without its pooler.
struct LinearHead: TaskHead {
  let outputs = 2

  func parameters(hiddenSize: Int) -> [HeadParameter] {
    [
      HeadParameter("head.weight", shape: [outputs, hiddenSize], .weight),
      HeadParameter("head.bias", shape: [outputs], .bias),
    ]
  }

  func forward(_ pass: HeadForward) {
    for row in 0..<pass.rows {
      for output in 0..<outputs {
        pass.logits[row * outputs + output] = (0..<pass.hiddenSize).reduce(pass.weights[1][output]) {
          $0 + pass.states[row * pass.hiddenSize + $1] * pass.weights[0][output * pass.hiddenSize + $1]
        }
      }
    }
  }

  func backward(_ pass: HeadBackward) {
    for row in 0..<pass.rows {
      for place in 0..<pass.hiddenSize { pass.statesGradient[row * pass.hiddenSize + place] = 0 }
      for output in 0..<outputs {
        let gradient = pass.logitsGradient[row * outputs + output]
        pass.weightGradients[1][output] += gradient
        for place in 0..<pass.hiddenSize {
          pass.weightGradients[0][output * pass.hiddenSize + place] +=
            gradient * pass.states[row * pass.hiddenSize + place]
          pass.statesGradient[row * pass.hiddenSize + place] +=
            gradient * pass.weights[0][output * pass.hiddenSize + place]
        }
      }
    }
  }
}

/// The tensors of a checkpoint folder, by name.
func tensors(_ folder: String) throws -> [String: [Float]] {
  let file = try SafetensorsFile("\(folder)/model.safetensors")
  var result: [String: [Float]] = [:]
  for tensor in file.tensors {
    var values = [Float](repeating: 0, count: tensor.count)
    try values.withUnsafeMutableBufferPointer { (buffer) throws(System.Failure) in
      try file.readFloats(tensor, into: buffer)
    }
    result[tensor.name] = values
  }
  return result
}

struct HeadTests {
  @Test("a head of one's own trains the encoder through its states, the same on 1, 2 and 4 ranks and over hosts")
  func ranks() throws {
    var loop = Loop()
    loop.head = LinearHead()
    loop.steps = 8
    let alone = try #require(loop(ranks: 1).first)
    #expect(alone.steps.last.map { $0.loss < alone.steps[0].loss } == true)
    for hosts in [[2], [4], [1, 2]] {
      loop.hosts = hosts
      let several = try #require(loop(ranks: hosts.reduce(0, +)).first)
      try #require(several.steps.count == alone.steps.count)
      for (step, first) in zip(several.steps, alone.steps) {
        #expect(relativeError(step.loss, first.loss) <= 1e-5, "\(hosts), step \(step.step)")
        #expect(relativeError(step.gradientNorm, first.gradientNorm) <= 1e-4, "\(hosts), step \(step.step)")
      }
    }
  }

  @Test("a loss of one's own with the gradient of cross-entropy trains as the library's", arguments: [1, 3])
  func ownLoss(ranks: Int) throws {
    func losses(own: Bool) throws -> [Double] {
      let results = try onRanks(ranks) { accelerator -> [Double] in
        let train = try DataLoader(tinyRows().train, batchSize: 12)
        let model = try BertForSequenceClassification(from: tinyModel, labels: 2, dropout: 0)
        let optimizer = AdamW(model, learningRate: 1e-3)
        try accelerator.prepare(model, optimizer, train)
        return try train.map { batch in
          let output = try model(batch)
          try accelerator.backward(own ? output.loss(crossEntropy) : output.loss)
          defer { optimizer.zeroGrad() }
          return try #require(try optimizer.step()).loss
        }
      }
      return results[0]
    }
    let (own, expected) = (try losses(own: true), try losses(own: false))
    try #require(own.count == expected.count && own.count == 6)
    for (own, expected) in zip(own, expected) { #expect(relativeError(own, expected) <= 1e-5) }
  }

  @Test("any error of a closure ends all ranks; one with a status keeps it") func errors() throws {
    struct Plain: Error {}
    struct WithStatus: ErrorWithStatus { var exitStatus: Int32 { 3 } }
    #expect(problem { try onRanks(2) { _ in throw Plain() } }?.status == .internalError)
    #expect(problem { try onRanks(2) { _ in throw WithStatus() } }?.status.rawValue == 3)
  }

  @Test("a model may go before what was made of it, on any rank") func ownership() throws {
    let values = try onRanks(3) { accelerator -> Float in
      let loader = try DataLoader(tinyRows().train, batchSize: 12)
      let batch = try #require(loader.first { _ in true })
      // Rank 0 lets go of its model at once, while others still compute; nobody waits for anybody.
      func step() throws -> SequenceClassifierOutput {
        let model = try BertForSequenceClassification(from: tinyModel, labels: 2)
        let optimizer = AdamW(model, learningRate: 1e-3)
        try accelerator.prepare(model, optimizer, loader)
        let output = try model(loader.first { _ in true } ?? batch)
        try accelerator.backward(output.loss)
        try optimizer.step()
        return output
      }
      return try step().logits[0, 0]
    }
    #expect(values.allSatisfy { $0.isFinite })
  }
}

/// As the library has it, but in Double and on arrays.
private func crossEntropy(logits: Matrix, labels: [Label]) throws -> (value: Double, gradient: Matrix) {
  var gradient = Matrix(rows: logits.rows, columns: logits.columns)
  var total = 0.0
  for row in 0..<logits.rows {
    guard case .category(let label) = labels[row] else { throw Lockstep.Failure(.badData, "no class") }
    let exponentials = (0..<logits.columns).map { exp(Double(logits[row, $0])) }
    let sum = exponentials.reduce(0, +)
    total -= log(exponentials[label] / sum)
    for column in 0..<logits.columns {
      gradient[row, column] = Float((exponentials[column] / sum - (column == label ? 1 : 0)) / Double(logits.rows))
    }
  }
  return (total / Double(logits.rows), gradient)
}
