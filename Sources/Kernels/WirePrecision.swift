// Numbers on their way between hosts. Rounding to nearest, ties to even; what it loses is kept and added to the next
// number of the same place ("error feedback": Seide et al., Interspeech 2014; Karimireddy et al., arXiv 1901.09847), so
// that over many steps nothing is lost.

/// How numbers travel between hosts.
public enum WirePrecision: String, Sendable, CaseIterable {
  /// As they are, in fp32.
  case no
  case fp16
  case bf16

  /// Bytes of a number.
  public var byteCount: Int { self == .no ? 4 : 2 }

  /// Whether it loses digits.
  public var rounds: Bool { self != .no }

  /// Writes `values` + `residual`, rounded, and leaves in `residual` what rounding lost.
  ///
  /// - Parameters:
  ///   - residual: nil where nothing is rounded.
  ///   - wire: `count` numbers of `byteCount` bytes, overwritten.
  public func encode(
    count: Int, _ values: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>?,
    into wire: UnsafeMutableRawPointer
  ) {
    switch self {
    case .no:
      wire.copyMemory(from: values, byteCount: 4 * count)
    case .bf16:
      guard let residual else { preconditionFailure("rounding without a place for what is lost") }
      let out = wire.assumingMemoryBound(to: UInt16.self)
      for i in 0..<count {
        let value = values[i] + residual[i]
        let bits = roundedToBF16(value)
        out[i] = bits
        residual[i] = value - float(bf16: bits)
      }
    case .fp16:
      guard let residual else { preconditionFailure("rounding without a place for what is lost") }
      let out = wire.assumingMemoryBound(to: Float16.self)
      for i in 0..<count {
        let value = values[i] + residual[i]
        let rounded = Float16(value)
        out[i] = rounded
        residual[i] = value - Float(rounded)
      }
    }
  }

  /// Overwrites `values` with what `encode` wrote.
  public func decode(count: Int, _ wire: UnsafeRawPointer, into values: UnsafeMutablePointer<Float>) {
    switch self {
    case .no: UnsafeMutableRawPointer(values).copyMemory(from: wire, byteCount: 4 * count)
    case .bf16:
      let numbers = wire.assumingMemoryBound(to: UInt16.self)
      for i in 0..<count { values[i] = float(bf16: numbers[i]) }
    case .fp16:
      let numbers = wire.assumingMemoryBound(to: Float16.self)
      for i in 0..<count { values[i] = Float(numbers[i]) }
    }
  }

  /// Adds what `encode` wrote to `values`.
  public func add(count: Int, _ wire: UnsafeRawPointer, to values: UnsafeMutablePointer<Float>) {
    switch self {
    case .no:
      let numbers = wire.assumingMemoryBound(to: Float.self)
      for i in 0..<count { values[i] += numbers[i] }
    case .bf16:
      let numbers = wire.assumingMemoryBound(to: UInt16.self)
      for i in 0..<count { values[i] += float(bf16: numbers[i]) }
    case .fp16:
      let numbers = wire.assumingMemoryBound(to: Float16.self)
      for i in 0..<count { values[i] += Float(numbers[i]) }
    }
  }
}

@inline(__always)
private func float(bf16 bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }

/// The upper half of the nearest number whose lower half is 0; a NaN stays one, whose rounding up might wrap around.
@inline(__always)
private func roundedToBF16(_ value: Float) -> UInt16 {
  let bits = value.bitPattern
  let rounded = (bits &+ 0x7fff &+ ((bits >> 16) & 1)) >> 16
  return UInt16(truncatingIfNeeded: value == value ? rounded : 0x7fc0)
}
