import BERT
import Kernels
import TestSupport
import Testing

/// A row's numbers do not depend on what else is in its batch, and dropout goes by address.
struct PackingTests {
  @Test("every row of a batch is what it is alone, in any order", arguments: [1, 3])
  func packedIsOneByOne(labels: Int) throws {
    let model = try OddModel(labels: labels)
    let order = Array(model.rows.rows.reversed())
    let together = model.pass().logits
    let reversed = Pass(
      model.configuration, weights: model.weights, model.rows.selecting(order), model.targets.selecting(order)
    ).logits
    for row in 0..<model.rows.count {
      let alone = Pass(
        model.configuration, weights: model.weights, model.rows.selecting([row]), model.targets.selecting([row])
      ).logits
      let range = row * labels..<(row + 1) * labels
      #expect(worstDifference("row \(row)", together[range], alone, within: 2e-6) == nil)
      let place = (order.count - 1 - row) * labels
      #expect(worstDifference("row \(row), reversed", reversed[place..<place + labels], alone, within: 2e-6) == nil)
    }
  }

  @Test("with dropout on too: masks go by the row's number, not by its place in the batch")
  func dropoutGoesByRow() throws {
    let model = try OddModel(labels: 3, dropout: 0.4)
    let plan = DropoutPlan(seed: 77, step: 5)
    let together = model.pass(dropout: plan)
    #expect(together.logits != model.pass().logits)
    for row in [0, 3, 8, 16] {
      let alone = Pass(
        model.configuration, weights: model.weights, model.rows.selecting([row]), model.targets.selecting([row]),
        dropout: plan
      ).logits
      #expect(
        worstDifference("row \(row)", together.logits[row * 3..<row * 3 + 3], alone, within: 2e-6) == nil)
    }
  }

  /// Logits of three equal texts, of rows `numbers`.
  private func equalTexts(_ model: OddModel, numbers: [Int], _ plan: DropoutPlan?) -> [[Float]] {
    var rows = PackedRows()
    for number in numbers { rows.append([4, 9, 30, 2, 2, 7], types: [0, 0, 0, 1, 1, 1], row: number) }
    let targets = Targets.classes(numbers.map { _ in 0 })
    let logits = Pass(model.configuration, weights: model.weights, rows, targets, dropout: plan).logits
    return numbers.indices.map { Array(logits[$0 * 3..<$0 * 3 + 3]) }
  }

  @Test("masks differ by row, step and seed, and come back at the same address")
  func addresses() throws {
    let model = try OddModel(labels: 3, dropout: 0.3)
    let base = equalTexts(model, numbers: [0, 1, 70_000], DropoutPlan(seed: 1, step: 1))
    #expect(base[0] != base[1] && base[0] != base[2] && base[1] != base[2])
    #expect(equalTexts(model, numbers: [0, 1, 70_000], DropoutPlan(seed: 1, step: 1)) == base)
    #expect(equalTexts(model, numbers: [0], DropoutPlan(seed: 1, step: 2))[0] != base[0])
    #expect(equalTexts(model, numbers: [0], DropoutPlan(seed: 2, step: 1))[0] != base[0])
    let off = equalTexts(model, numbers: [0, 1, 2], nil)
    #expect(worstDifference("row 1", off[1], off[0], within: 1e-6) == nil, "without dropout equal texts are equal")
  }

  @Test("probability 0 is off")
  func zero() throws {
    let model = try OddModel(labels: 3, dropout: 0)
    let off = model.pass()
    let zero = model.pass(dropout: DropoutPlan(seed: 1, step: 1))
    #expect(zero.logits == off.logits && zero.gradients == off.gradients)
  }

  @Test("each of the model's dropouts acts by itself")
  func eachRate() throws {
    let model = try OddModel(labels: 3)
    let off = model.pass().logits
    for rate in [\BertConfiguration.hiddenDropout, \.attentionDropout, \.classifierDropout] {
      var configuration = model.configuration
      configuration[keyPath: rate] = 0.5
      let pass = Pass(
        configuration, weights: model.weights, model.rows, model.targets, dropout: DropoutPlan(seed: 1, step: 1))
      #expect(pass.logits != off)
    }
  }

  /// On average over masks a dropped vector is the vector: with only the classifier's dropout logits are linear in it.
  @Test("the kept share is scaled: the mean over many steps is the value without dropout")
  func mean() throws {
    let model = try OddModel(labels: 3, lengths: [4, 7])
    var configuration = model.configuration
    configuration.classifierDropout = 0.5
    let network = BertClassifier(configuration, limits: model.rows.limits, keepsForBackward: false)
    var sums = [Double](repeating: 0, count: 6)
    var squares = sums
    let steps = 2000
    for step in 1...steps {
      model.rows.withInput { network.forward($0, parameters: model.weights, dropout: DropoutPlan(seed: 1, step: step)) }
      for index in sums.indices {
        sums[index] += Double(network.logits[index])
        squares[index] += Double(network.logits[index]) * Double(network.logits[index])
      }
    }
    let off = model.pass().logits
    for index in sums.indices {
      let mean = sums[index] / Double(steps)
      let error = ((squares[index] / Double(steps) - mean * mean) / Double(steps)).squareRoot()
      #expect(abs(mean - Double(off[index])) < 5 * error, "logit \(index): mean \(mean), without dropout \(off[index])")
      #expect(error > 0)
    }
  }

  @Test("activations that other batches used give the same bits, and so does keeping nothing for backward")
  func reuse() throws {
    let model = try OddModel(labels: 3)
    let large = BatchLimits(tokens: 400, sequences: 30, length: 19)
    let gemm = GEMM(.highest)
    let used = BertClassifier(model.configuration, limits: large, gemm: gemm)
    let light = BertClassifier(
      model.configuration, limits: large, keepsForBackward: false, gemm: gemm)
    let fresh = model.pass()
    for _ in 0..<2 {
      let pass = Pass(used, weights: model.weights, model.rows, model.targets)
      #expect(pass.logits == fresh.logits && pass.gradients == fresh.gradients)
      model.rows.withInput { light.forward($0, parameters: model.weights) }
      #expect(Array(light.logits) == fresh.logits)
      let part = model.rows.selecting([16, 2])
      _ = Pass(used, weights: model.weights, part, model.targets.selecting([16, 2]))
      part.withInput { light.forward($0, parameters: model.weights) }
    }
  }
}
