import Glibc
import Kernels

extension ParameterLayout {
  /// Overwrites the parameter `slot` in `parameters` with its starting values: biases 0, norm gains 1, and everything
  /// else normal with mean 0 and the configuration's deviation; the padding token's embedding and position 0, and
  /// positions sines where the configuration says so, as transformers does.
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
      func clear(row: Int) {
        let columns = configuration.embeddingSize
        (target + row * columns).update(repeating: 0, count: columns)
      }
      if slot.offset == embeddings.word, let padTokenID = configuration.padTokenID { clear(row: Int(padTokenID)) }
      if slot.offset == embeddings.position {
        if configuration.hasSinusoidalPositions {
          fillSinusoids(positions: slot.shape[0], columns: slot.shape[1], into: target)
        }
        if let padding = configuration.paddingPosition { clear(row: padding) }
      }
    }
  }
}

/// Overwrites `output` `[positions, columns]` with sin(p / 10000^(j / columns)) for even j, and the cosine of the same in
/// the next column (Vaswani et al., arXiv 1706.03762, section 3.5).
private func fillSinusoids(positions: Int, columns: Int, into output: UnsafeMutablePointer<Float>) {
  for position in 0..<positions {
    for column in 0..<columns {
      let angle = Double(position) / pow(10_000, Double(2 * (column / 2)) / Double(columns))
      output[position * columns + column] = Float(column % 2 == 0 ? sin(angle) : cos(angle))
    }
  }
}
