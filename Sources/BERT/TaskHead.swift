import Batches
import Kernels

/// A parameter of a head: a slot of the flat buffer, under the name that a saved model gives it.
public struct HeadParameter: Sendable, Equatable {
  public var name: String
  /// Rows first, as in a checkpoint: `[outputs, inputs]` of a linear layer's weight.
  public var shape: [Int]
  /// How it starts, and whether weight decay may spare it.
  public var kind: ParameterKind

  public init(_ name: String, shape: [Int], _ kind: ParameterKind) {
    self.name = name
    self.shape = shape
    self.kind = kind
  }
}

/// What stands on the encoder in place of BERT's pooler and classifier: an explicit forward and backward over slots.
///
/// A head owns no weights: they are slots of the model's one buffer, reduced, updated and saved with all others. It keeps
/// nothing between the two passes, for batches of evaluation come in between: backward computes again what it needs.
public protocol TaskHead: Sendable {
  /// Its parameters for an encoder with states of `hiddenSize` numbers; the order in which the passes number them.
  func parameters(hiddenSize: Int) -> [HeadParameter]
  /// Logits of a row.
  var outputs: Int { get }
  /// Overwrites `pass.logits`.
  func forward(_ pass: HeadForward)
  /// Adds to the gradients of its parameters and overwrites `pass.statesGradient`, from `pass.logitsGradient`.
  func backward(_ pass: HeadBackward)
}

/// What a head's forward gets. The pointers are valid during the call.
public struct HeadForward {
  /// Rows of the batch.
  public let rows: Int
  public let hiddenSize: Int
  /// `[rows, hidden]`: the encoder's output at each row's first token.
  public let states: UnsafePointer<Float>
  /// `[rows, outputs]`, to be overwritten.
  public let logits: UnsafeMutablePointer<Float>
  /// Of each parameter, in their order.
  public let weights: [UnsafePointer<Float>]
}

/// What a head's backward gets. The pointers are valid during the call.
public struct HeadBackward {
  /// Rows of the batch.
  public let rows: Int
  public let hiddenSize: Int
  /// `[rows, hidden]`: the encoder's output at each row's first token.
  public let states: UnsafePointer<Float>
  /// Of each parameter, in their order.
  public let weights: [UnsafePointer<Float>]
  /// `[rows, outputs]`: the gradient of the batch's loss.
  public let logitsGradient: UnsafePointer<Float>
  /// Of each parameter, in their order; to be added to.
  public let weightGradients: [UnsafeMutablePointer<Float>]
  /// `[rows, hidden]`, to be overwritten.
  public let statesGradient: UnsafeMutablePointer<Float>
}

extension BertClassifier {
  func taskHeadForward(_ head: any TaskHead, _ input: PackedBatch, _ parameters: UnsafePointer<Float>) {
    head.forward(
      HeadForward(
        rows: input.sequences, hiddenSize: configuration.hiddenSize, states: memory.hidden[configuration.layers],
        logits: memory.logits, weights: layout.headSlots.map { parameters + $0.offset }))
  }

  /// Overwrites `firstTokensGradient`, and the gradients of the head's parameters in that mode.
  func taskHeadBackward(
    _ head: any TaskHead, _ input: PackedBatch, _ parameters: UnsafePointer<Float>,
    _ gradients: UnsafeMutablePointer<Float>, _ mode: OutputMode
  ) {
    let slots = layout.headSlots
    if mode == .overwrite {
      for slot in slots { (gradients + slot.offset).update(repeating: 0, count: slot.count) }
    }
    head.backward(
      HeadBackward(
        rows: input.sequences, hiddenSize: configuration.hiddenSize, states: memory.hidden[configuration.layers],
        weights: slots.map { parameters + $0.offset }, logitsGradient: memory.logitsGradient,
        weightGradients: slots.map { gradients + $0.offset }, statesGradient: memory.firstTokensGradient))
  }
}
