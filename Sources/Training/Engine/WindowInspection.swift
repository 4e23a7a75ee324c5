import BERT
import DataParallel
import Kernels
import System

/// What a window's backward left, before its step, to find where a number went wrong.
public struct WindowInspection: Sendable {
  public struct Part: Sendable {
    public var name: String
    /// Of a tensor the Euclidean norm of its gradient; of a layer the largest size of a number in its output.
    public var size: Double
    /// The first place of a number that is not finite; nil where all are.
    public var firstBad: Int?
  }

  /// Mean loss of a row.
  public var loss: Double
  /// Outputs of the embeddings and of each layer in the last forward.
  public var layers: [Part]
  /// Gradients by tensor.
  public var tensors: [Part]

  /// The first layer or tensor with a number that is not finite.
  public var firstBad: Part? { (layers + tensors).first { $0.firstBad != nil } }
}

extension TrainingEngine {
  /// The present window, when its last backward is through; where gradients are added by groups, its last micro-batch. In
  /// one process alone: of several, none knows all gradients.
  public func inspectWindow() -> WindowInspection {
    precondition(communicator.size == 1 && rowsInStep > 0, "a window of one process is inspected before its step")
    let gradients = synchronizer.gradients.pointer
    let tensors = model.layout.slots.map { slot in
      let values = UnsafeBufferPointer(start: gradients + slot.offset, count: slot.count)
      return WindowInspection.Part(
        name: slot.name, size: sumOfSquares(count: slot.count, gradients + slot.offset).squareRoot(),
        firstBad: values.firstIndex { !$0.isFinite })
    }
    let layers = (0...model.configuration.layers).map { index in
      let states = network.hiddenStates(index)
      return WindowInspection.Part(
        name: index == 0 ? "embeddings" : "layer \(index - 1)",
        size: states.reduce(0) { max($0, Double(abs($1))) }, firstBad: states.firstIndex { !$0.isFinite })
    }
    return WindowInspection(loss: windowLossSum / Double(rowsInStep), layers: layers, tensors: tensors)
  }
}
