import BERT
import Datasets
import Kernels
import System
import Training

/// What a model says of a batch.
public struct SequenceClassifierOutput {
  /// `[rows, labels]`.
  public let logits: Matrix
  let batch: Batch
  let model: BertForSequenceClassification
  /// The number of the training forward; nil where there is no way back.
  let forward: Int?

  init(logits: Matrix, of batch: Batch, model: BertForSequenceClassification, forward: Int?) {
    self.logits = logits
    self.batch = batch
    self.model = model
    self.forward = forward
  }

  /// The class with the largest logit of each row, the first where several are: `[rows]`.
  public var classes: [Int] { logits.argmax() }

  /// Cross-entropy, squared error where the model has one output, or binary cross-entropy where rows have any number of
  /// classes: the mean over this batch's rows.
  ///
  /// - Throws: `.badData` where a row has no label of the model's kind.
  public var loss: Loss {
    get throws(Failure) {
      let labels = batch.ownLabels
      if let row = labels.firstIndex(where: { !$0.isFor(outputs: logits.columns) }) {
        let found =
          switch labels[row] {
          case .unknown: "no label"
          case .category(let index): "the class \(index)"
          case .categories(let indices): "the classes \(indices)"
          case .score(let value): "the score \(value)"
          }
        throw Failure(
          .badData, at: "output.loss",
          "row \(batch.rows[row] + 1) has \(found), the model has \(logits.columns) output\(logits.columns == 1 ? "" : "s")"
        )
      }
      return Loss(of: self, sum: lossSum(labels), gradient: nil)
    }
  }

  /// A loss of the caller's own.
  ///
  /// - Parameter body: gets the logits `[rows, labels]` and the rows' labels; returns the mean loss of the rows and its
  ///   gradient by the logits, `[rows, labels]`. It is not called for a batch without rows.
  public func loss(_ body: (Matrix, [Label]) throws -> (value: Double, gradient: Matrix)) throws -> Loss {
    guard batch.count > 0 else { return Loss(of: self, sum: 0, gradient: logits) }
    let (value, gradient) = try body(logits, batch.ownLabels)
    guard gradient.shape == logits.shape else {
      throw misuse("output.loss", "a gradient of shape \(gradient.shape) for logits of shape \(logits.shape)")
    }
    return Loss(of: self, sum: value * Double(batch.count), gradient: gradient)
  }

  private func lossSum(_ labels: [Label]) -> Double {
    var gradient = [Float](repeating: 0, count: max(1, logits.columns))
    return logits.values.withUnsafeBufferPointer { values in
      gradient.withUnsafeMutableBufferPointer { gradient in
        guard let values = values.baseAddress, let gradient = gradient.baseAddress else { return 0 }
        return labels.indices.reduce(0) { total, row in
          let logits = values + row * self.logits.columns
          switch labels[row] {
          case .category(let label):
            return total
              + crossEntropy(
                classes: self.logits.columns, logits: logits, label: label, gradientScale: 1, gradient: gradient)
          case .score(var score):
            return total
              + squaredError(
                outputs: 1, predictions: logits, targets: &score, gradientScale: 1, gradient: gradient)
          case .categories(let own):
            return total
              + own.map { Int32($0) }.withUnsafeBufferPointer {
                binaryCrossEntropy(
                  classes: self.logits.columns, logits: logits, own: $0, gradientScale: 1, gradient: gradient)
              }
          case .unknown: return total
          }
        }
      }
    }
  }
}

extension Label {
  fileprivate func isFor(outputs: Int) -> Bool {
    switch self {
    case .category(let index): outputs > 1 && 0..<outputs ~= index
    case .categories(let indices): outputs > 1 && indices.allSatisfy { 0..<outputs ~= $0 }
    case .score(let value): outputs == 1 && value.isFinite
    case .unknown: false
    }
  }
}

/// The loss of one batch, with a way back to the weights.
public struct Loss {
  let output: SequenceClassifierOutput
  /// Of this rank's rows.
  let sum: Double
  /// Of the mean loss by the logits, where it is not the model's own.
  let gradient: Matrix?
  private var factor = 1.0

  init(of output: SequenceClassifierOutput, sum: Double, gradient: Matrix?) {
    self.output = output
    self.sum = sum
    self.gradient = gradient
  }

  /// The mean over this rank's rows of the batch; 0 where it has none. torch's `loss.item()`.
  public var value: Double { output.batch.count == 0 ? 0 : factor * sum / Double(output.batch.count) }

  public static func * (loss: Loss, factor: Double) -> Loss {
    var result = loss
    result.factor *= factor
    return result
  }

  /// For one's own accumulation over `divisor` batches in a program of one process.
  public static func / (loss: Loss, divisor: Double) -> Loss { loss * (1 / divisor) }

  /// Adds the gradients of the loss to those of the window: of its mean over the rows of all ranks and of all batches of
  /// the window.
  ///
  /// - Throws: a misuse where the loss is not that of the model's last forward, or the window is full.
  public func backward() throws(Failure) {
    let (model, batch) = (output.model, output.batch)
    guard let forward = output.forward else {
      throw misuse(
        "loss.backward", "the loss has no way back: it was computed in evaluation, or before the model had an optimizer"
      )
    }
    guard let session = model.session, let engine = session.engine else {
      throw misuse("loss.backward", "the model has no optimizer")
    }
    try model.window.beginBackward(of: forward, isPrepared: session.accelerator != nil)
    let isPrepared = session.accelerator != nil
    let rows = !isPrepared ? batch.count : session.isLocal ? batch.ownWindowRows : batch.rowsInStep
    let isLastInStep = isPrepared && batch.isLastInStep && !session.holdsSync
    if batch.count == 0 {
      engine.backwardOfNothing(rowsInStep: max(1, rows))
    } else {
      fillGradient(engine, rows: rows)
      engine.backward(batch.content, lossSum: factor * sum, rowsInStep: rows, isLastInStep: isLastInStep)
    }
    model.window.endBackward(isLast: !isPrepared || batch.isLastInStep, isSent: isLastInStep)
  }

  /// Overwrites the engine's gradient of the logits by that of the sum of the rows' losses over `rows`.
  private func fillGradient(_ engine: Engine, rows: Int) {
    guard let gradient else {
      _ = engine.loss(gradientScale: factor / Double(rows))
      return
    }
    let scale = Float(factor * Double(output.batch.count) / Double(rows))
    let target = engine.logitsGradient
    for index in target.indices { target[index] = scale * gradient.values[index] }
  }
}
