import Kernels

extension ParameterLayout {
  /// Overwrites the parameter `slot` in `parameters` with its starting values: biases 0, norm gains 1, and everything
  /// else normal with mean 0 and the configuration's deviation; the padding token's embedding 0, as transformers does.
  ///
  /// The values depend on the seed and the element's place alone, so every rank and every partial load makes the same.
  ///
  /// - Parameters:
  ///   - parameters: the whole flat buffer.
  ///   - seed: the run's seed.
  public func initialize(
    _ slot: ParameterSlot, of parameters: UnsafeMutablePointer<Float>, configuration: BertConfiguration, seed: UInt64
  ) {
    let target = parameters + slot.offset
    switch slot.kind {
    case .bias, .normShift: target.update(repeating: 0, count: slot.count)
    case .normGain: target.update(repeating: 1, count: slot.count)
    case .embedding, .weight:
      fillNormal(
        count: slot.count, deviation: Float(configuration.initializerRange), seed: seed, start: slot.offset,
        into: target)
      if slot.offset == embeddings.word, let padTokenID = configuration.padTokenID {
        let padding = target + Int(padTokenID) * configuration.hiddenSize
        padding.update(repeating: 0, count: configuration.hiddenSize)
      }
    }
  }
}
