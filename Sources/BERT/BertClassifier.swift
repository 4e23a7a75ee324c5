import Batches
import Kernels

/// Dropout of one step: the rates come from the configuration, the randomness from (seed, step, row, place).
public struct DropoutPlan: Sendable {
  public var seed: UInt64
  /// The optimizer step, from 1.
  public var step: Int

  public init(seed: UInt64, step: Int) {
    self.seed = seed
    self.step = step
  }
}

/// A part of the model that forward and backward go through.
public enum ModelPart: Sendable, Equatable {
  case embeddings
  case layer(Int)
  case head
}

/// A way through the model.
public enum ModelPass: Sendable { case forward, backward }

/// `BertForSequenceClassification`: embeddings, encoder, tanh pooler and a linear classifier, with explicit forward and
/// backward on packed tokens, after Devlin et al., arXiv 1810.04805, and transformers' `modeling_bert.py`; and its like in
/// the other families, which ``ModelFamily`` lists.
///
/// It owns activations, never weights or gradients: those are flat buffers in the order of `layout`. One instance serves
/// one caller, and computes on the threads of its gemm, with the same bits for any number of them.
public final class BertClassifier {
  public let configuration: BertConfiguration
  public let layout: ParameterLayout
  let memory: Activations
  /// In place of pooler and classifier; nil for those.
  let head: (any TaskHead)?
  public let gemm: GEMM
  /// Called when forward or backward has finished a part, to see where the time goes.
  public var partFinished: ((ModelPart, ModelPass) -> Void)?
  /// The batch of the last forward, which backward continues: it must not be filled anew before.
  var current: (input: PackedBatch, dropout: DropoutPlan?)?
  /// Where gradients go by groups of rows, during such a backward.
  var grouping: GroupedGradients?
  /// The same, kept from one to the next.
  var groupedGradients: GroupedGradients?
  /// The losses of the last batch's rows, not scaled.
  public private(set) var rowLosses: [Double] = []

  /// - Parameters:
  ///   - limits: no batch may exceed them.
  ///   - head: in place of pooler and classifier; `configuration.headParameters` are its parameters.
  ///   - keepsForBackward: false saves the memory that only backward needs.
  ///   - gemm: computes the products of the linear layers; may serve several models of one thread.
  public init(
    _ configuration: BertConfiguration, head: (any TaskHead)? = nil, limits: BatchLimits, keepsForBackward: Bool = true,
    gemm: GEMM = GEMM(.high)
  ) {
    precondition((head == nil) == (configuration.headParameters == nil), "a head and its parameters belong together")
    self.head = head
    precondition(
      limits.length <= configuration.maximumPositions,
      "sequences of \(limits.length) tokens, the model has \(configuration.maximumPositions) positions")
    self.configuration = configuration
    self.gemm = gemm
    layout = ParameterLayout(configuration)
    memory = Activations(
      configuration, limits: limits, keepsForBackward: keepsForBackward, threads: gemm.threads.count)
  }

  /// The largest batch.
  public var limits: BatchLimits { memory.limits }

  /// Bytes of activations and scratch that a model takes for a batch of the largest size, without taking them; those that
  /// no batch reaches take no memory.
  public static func activationBytes(
    _ configuration: BertConfiguration, limits: BatchLimits, keepsForBackward: Bool = true, threads: Int = 1
  ) -> Int {
    Activations(
      configuration, limits: limits, keepsForBackward: keepsForBackward, threads: threads, isMeasuring: true
    ).floatCount * MemoryLayout<Float>.stride
  }

  /// Hidden states that enter layer `index` in the last forward, `[tokens, hidden]`; the last index is the encoder's
  /// output, `[sequences, hidden]`: first tokens only. Where activations are not kept for backward, only that survives.
  public func hiddenStates(_ index: Int) -> UnsafeBufferPointer<Float> {
    let input = current?.input
    let rows = index == configuration.layers ? input?.sequences : input?.tokens
    return UnsafeBufferPointer(start: memory.hidden[index], count: (rows ?? 0) * configuration.hiddenSize)
  }

  /// Logits `[sequences, labels]` of the last forward.
  public var logits: UnsafeBufferPointer<Float> {
    UnsafeBufferPointer(start: memory.logits, count: (current?.input.sequences ?? 0) * configuration.labels)
  }

  /// Computes the logits of a batch.
  ///
  /// - Parameters:
  ///   - parameters: the flat buffer in the order of `layout`.
  ///   - dropout: nil switches dropout off (evaluation).
  public func forward(_ input: PackedBatch, parameters: UnsafePointer<Float>, dropout: DropoutPlan? = nil) {
    let limits = memory.limits
    precondition(
      input.tokens <= limits.tokens && input.sequences <= limits.sequences,
      "a batch of \(input.tokens) tokens in \(input.sequences) sequences, limits are \(limits)")
    current = (input, dropout)
    var square = 0
    for sequence in 0..<input.sequences {
      let start = Int(input.starts[sequence])
      let end = Int(input.starts[sequence + 1])
      precondition(
        end > start && end - start <= limits.length, "a sequence of \(end - start) tokens, limits are \(limits)")
      memory.squares[sequence] = square
      square += (end - start) * Activations.padded(end - start)
      var countedTokens: Int32 = 0
      for token in start..<end {
        // Whoever reads rows refuses such with their place; here it would be somebody else's memory.
        let (id, type) = (Int(input.tokenIDs[token]), Int(input.typeIDs[token]))
        precondition(
          id >= 0 && id < configuration.vocabularySize && configuration.takes(tokenType: type),
          "token \(id) of type \(type), the model has \(configuration.vocabularySize) of \(configuration.tokenTypes)")
        memory.positions[token] = Int32(token - start)
        if let padding = configuration.paddingPosition {
          // Padding that a text spells out has the padding's position and is not counted.
          let isPadding = id == padding
          if !isPadding { countedTokens += 1 }
          memory.positionIDs[token] = Int32(padding) + (isPadding ? 0 : countedTokens)
        }
        memory.tokenRows[token] = UInt32(truncatingIfNeeded: input.rows[sequence])
      }
    }
    embeddingsForward(input, parameters, dropout)
    partFinished?(.embeddings, .forward)
    for index in layout.layers.indices {
      layerForward(index, input, parameters, dropout)
      partFinished?(.layer(index), .forward)
    }
    if let head { taskHeadForward(head, input, parameters) } else { headForward(input, parameters, dropout) }
    partFinished?(.head, .forward)
  }

  /// Computes the loss of the last forward's batch by the kind of its labels, as transformers has it, and the gradient of its
  /// logits: binary cross-entropy where rows have sets of classes, squared error where the model has one output, else
  /// cross-entropy.
  ///
  /// - Parameter gradientScale: factor of each row's loss in the objective: 1 / rows over all ranks makes it the global mean.
  /// - Returns: the sum of the rows' losses, not scaled.
  public func loss(gradientScale: Double) -> Double {
    guard let batch = current?.input else { preconditionFailure("a loss without forward") }
    if batch.isMultiLabel {
      return binaryCrossEntropyLoss(
        categories: batch.categories, offsets: batch.categoryStarts, gradientScale: gradientScale)
    }
    if configuration.labels == 1 { return squaredErrorLoss(targets: batch.scores, gradientScale: gradientScale) }
    return crossEntropyLoss(labels: batch.classes, gradientScale: gradientScale)
  }

  /// Computes the cross-entropy of the last forward's batch and the gradient of its logits.
  ///
  /// - Parameters:
  ///   - labels: `[sequences]`: class numbers.
  ///   - gradientScale: factor of each row's loss in the objective: 1 / rows over all ranks makes it the global mean.
  /// - Returns: the sum of the rows' losses, not scaled.
  public func crossEntropyLoss(labels: UnsafePointer<Int32>, gradientScale: Double) -> Double {
    let classes = configuration.labels
    return sumOverRows { row, logits, gradient in
      let label = Int(labels[row])
      precondition(label >= 0 && label < classes, "label \(label), the model has \(classes)")
      return crossEntropy(
        classes: classes, logits: logits, label: label, gradientScale: gradientScale, gradient: gradient)
    }
  }

  /// Computes the squared error of the last forward's batch and the gradient of its logits: regression.
  ///
  /// - Parameters:
  ///   - targets: `[sequences]`, for the model's one output.
  ///   - gradientScale: as for `crossEntropyLoss`.
  /// - Returns: the sum of the rows' losses, not scaled.
  public func squaredErrorLoss(targets: UnsafePointer<Float>, gradientScale: Double) -> Double {
    precondition(configuration.labels == 1, "squared error on a model with \(configuration.labels) outputs")
    return sumOverRows { row, logits, gradient in
      squaredError(
        outputs: 1, predictions: logits, targets: targets + row, gradientScale: gradientScale, gradient: gradient)
    }
  }

  /// The gradient of the last forward's logits `[sequences, labels]`, from which backward begins: the losses above fill it,
  /// or a caller does with one of its own.
  public var logitsGradient: UnsafeMutableBufferPointer<Float> {
    UnsafeMutableBufferPointer(start: memory.logitsGradient, count: logits.count)
  }

  /// Computes the binary cross-entropy of the last forward's batch, each row's the mean over the classes, and the gradient
  /// of its logits.
  ///
  /// - Parameters:
  ///   - categories: the classes of all rows, end to end.
  ///   - offsets: `[sequences + 1]`: row `i` has the classes from `offsets[i]` to before `offsets[i + 1]`.
  ///   - gradientScale: as for `crossEntropyLoss`.
  /// - Returns: the sum of the rows' losses, not scaled.
  public func binaryCrossEntropyLoss(
    categories: UnsafeBufferPointer<Int32>, offsets: UnsafePointer<Int32>, gradientScale: Double
  ) -> Double {
    let classes = configuration.labels
    precondition(
      categories.allSatisfy { $0 >= 0 && Int($0) < classes }, "the model has \(classes) classes, rows have others")
    return sumOverRows { row, logits, gradient in
      binaryCrossEntropy(
        classes: classes, logits: logits,
        own: UnsafeBufferPointer(rebasing: categories[Int(offsets[row])..<Int(offsets[row + 1])]),
        gradientScale: gradientScale, gradient: gradient)
    }
  }

  private func sumOverRows(
    _ loss: (Int, UnsafePointer<Float>, UnsafeMutablePointer<Float>) -> Double
  ) -> Double {
    rowLosses.removeAll(keepingCapacity: true)
    return (0..<(current?.input.sequences ?? 0)).reduce(0) { total, row in
      let offset = row * configuration.labels
      let own = loss(row, memory.logits + offset, memory.logitsGradient + offset)
      rowLosses.append(own)
      return total + own
    }
  }

  /// Computes the gradients of all parameters from that of the logits, last layer first.
  ///
  /// - Parameters:
  ///   - parameters: as in forward.
  ///   - gradients: the flat buffer of gradients, overwritten or added to.
  ///   - encoderIsFrozen: whether only the head has gradients.
  ///   - wordTableIsClear: whether the gradients of the word table are 0 already where they are to be overwritten.
  ///   - becameFinal: called with a falling offset: all gradients from it on are final.
  public func backward(
    parameters: UnsafePointer<Float>, gradients: UnsafeMutablePointer<Float>, _ mode: OutputMode,
    encoderIsFrozen: Bool = false, wordTableIsClear: Bool = false, becameFinal: (Int) -> Void = { _ in }
  ) {
    guard let (input, dropout) = current else { preconditionFailure("backward without forward") }
    precondition(memory.keepsForBackward, "backward on a model that keeps nothing for it")
    if mode == .overwrite, grouping == nil {
      // Matrices are overwritten by their products; everything else is added to.
      for slot in layout.slots
      where slot.kind != .weight && !(wordTableIsClear && slot.offset == layout.wordTable.offset)
        && (slot.belongsToHead || !encoderIsFrozen)
      {
        gemm.threads.forEachPart(of: slot.count, grain: 1 << 16) { _, part in
          (gradients + slot.offset + part.lowerBound).update(repeating: 0, count: part.count)
        }
      }
    }
    if let head {
      taskHeadBackward(head, input, parameters, gradients, mode)
    } else {
      headBackward(input, parameters, gradients, mode, dropout)
    }
    partFinished?(.head, .backward)
    becameFinal(layout.headOffset)
    if encoderIsFrozen { return }
    for index in layout.layers.indices.reversed() {
      layerBackward(index, input, parameters, gradients, mode, dropout)
      partFinished?(.layer(index), .backward)
      becameFinal(layout.layers[index].queryKeyValue.weight)
    }
    embeddingsBackward(input, parameters, gradients, mode, dropout)
    partFinished?(.embeddings, .backward)
    becameFinal(0)
  }

  // MARK: Places of dropout

  /// Numbers of the model's dropouts: part of each random number's address.
  enum DropoutSite {
    case embeddings, attention(layer: Int), attentionOutput(layer: Int), output(layer: Int), classifier, headInput

    var number: UInt32 {
      switch self {
      case .embeddings: 0
      case .classifier: 1
      case .attention(let layer): UInt32(2 + 3 * layer)
      case .attentionOutput(let layer): UInt32(3 + 3 * layer)
      case .output(let layer): UInt32(4 + 3 * layer)
      // The largest that a random number's address has room for: more than any model's layers need.
      case .headInput: 0xFFFF
      }
    }
  }

  func hiddenDropout(_ plan: DropoutPlan?) -> Dropout? {
    plan.map { Dropout(probability: Float(configuration.hiddenDropout), seed: $0.seed, step: $0.step) }
  }

  func attentionOutputDropout(_ plan: DropoutPlan?) -> Dropout? {
    configuration.dropsAttentionOutput ? hiddenDropout(plan) : nil
  }

  /// The address of each token's vector at `site`, or of each sequence's first token's.
  func address(_ site: DropoutSite, _ input: PackedBatch, _ firstTokensOnly: Bool) -> (Int) -> RandomAddress {
    firstTokensOnly ? firstTokenAddress(site, input) : tokenAddress(site)
  }

  func tokenAddress(_ site: DropoutSite) -> (Int) -> RandomAddress {
    let number = site.number
    let rows = memory.tokenRows
    let positions = memory.positions
    return { token in
      RandomAddress(site: number, row: rows[token], position: UInt32(bitPattern: positions[token]))
    }
  }

  func firstTokenAddress(_ site: DropoutSite, _ input: PackedBatch) -> (Int) -> RandomAddress {
    let number = site.number
    let rows = input.rows
    return { RandomAddress(site: number, row: UInt32(truncatingIfNeeded: rows[$0]), position: 0) }
  }
}
