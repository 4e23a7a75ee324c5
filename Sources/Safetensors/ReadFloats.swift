import FileSystem

extension SafetensorsFile {
  /// Overwrites `buffer`, which has the tensor's number of elements, with its values as `Float`.
  ///
  /// From F32, F16, BF16 and F64 (rounded to nearest). A value that is not finite, or not as `Float`, throws `.badData`
  /// with the element: `query.weight[17, 3]`.
  public func readFloats(_ tensor: TensorInfo, into buffer: UnsafeMutableBufferPointer<Float>) throws(Failure) {
    precondition(buffer.count == tensor.count, "\(tensor.count) elements of \(tensor.name) into \(buffer.count)")
    guard let start = buffer.baseAddress, tensor.count > 0 else {
      guard Self.floatTypes.contains(tensor.dtype) else { throw noFloats(tensor) }
      return
    }
    // A block is converted and checked while it is in the cache.
    let blockCount = 1 << 18
    switch tensor.dtype {
    case .f32:
      for first in stride(from: 0, to: tensor.count, by: blockCount) {
        let block = UnsafeMutableBufferPointer(start: start + first, count: min(blockCount, tensor.count - first))
        try read(tensor, from: first * 4, into: UnsafeMutableRawBufferPointer(block))
        try checkFinite(UnsafeBufferPointer(block), of: tensor, from: first)
      }
    case .f16: try convert(tensor, blockCount, to: start) { (bits: UInt16) in float(half: bits) }
    case .bf16: try convert(tensor, blockCount, to: start) { (bits: UInt16) in Float(bitPattern: UInt32(bits) << 16) }
    case .f64: try convert(tensor, blockCount, to: start) { (value: Double) in Float(value) }
    default: throw noFloats(tensor)
    }
  }

  static let floatTypes: Set<DType> = [.f32, .f16, .bf16, .f64]

  private func noFloats(_ tensor: TensorInfo) -> Failure {
    Failure(
      .badData, at: path,
      "tensor \(quoted(tensor.name)): dtype \(tensor.dtype.rawValue), expected F32, F16, BF16 or F64")
  }

  @inline(__always)
  private func convert<Element: BitwiseCopyable>(
    _ tensor: TensorInfo, _ blockCount: Int, to start: UnsafeMutablePointer<Float>, _ value: (Element) -> Float
  ) throws(Failure) {
    // Aligned, which the data in the file need not be.
    let scratch = UnsafeMutablePointer<Element>.allocate(capacity: min(blockCount, tensor.count))
    defer { scratch.deallocate() }
    for first in stride(from: 0, to: tensor.count, by: blockCount) {
      let count = min(blockCount, tensor.count - first)
      let bytes = UnsafeMutableRawBufferPointer(start: scratch, count: count * MemoryLayout<Element>.size)
      try read(tensor, from: first * MemoryLayout<Element>.size, into: bytes)
      let destination = start + first
      for index in 0..<count { destination[index] = value(scratch[index]) }
      try checkFinite(UnsafeBufferPointer(start: destination, count: count), of: tensor, from: first)
    }
  }

  private func checkFinite(
    _ block: UnsafeBufferPointer<Float>, of tensor: TensorInfo, from first: Int
  ) throws(Failure) {
    guard let index = firstNonFinite(block) else { return }
    throw Failure(.badData, at: path, "\(tensor.element(first + index)) is \(block[index]), expected a finite number")
  }
}

/// The first element that is NaN or infinite.
func firstNonFinite(_ values: UnsafeBufferPointer<Float>) -> Int? {
  // x · 0 is 0, or NaN for a value that is not finite; NaN stays in a sum. Vectorised on any CPU, unlike a search.
  var sums = SIMD16<Float>.zero
  var index = 0
  if let start = UnsafeRawPointer(values.baseAddress) {
    while index + 16 <= values.count {
      sums += start.loadUnaligned(fromByteOffset: index * 4, as: SIMD16<Float>.self) * 0
      index += 16
    }
  }
  let isFinite = sums.sum() == 0 && values[index...].allSatisfy(\.isFinite)
  return isFinite ? nil : values.firstIndex { !$0.isFinite }
}

/// IEEE binary16 to `Float`, exact for all 2¹⁶ patterns, without the call that compilers make for CPUs without F16C.
@inline(__always)
func float(half bits: UInt16) -> Float {
  // The exponents' biases differ by 112; the product also makes normal what is subnormal as a half.
  let magnitude = Float(bitPattern: UInt32(bits & 0x7fff) << 13) * 0x1p112
  // Exponent 31 stands for infinity and NaN: 2¹⁶ and more after the product.
  let special: UInt32 = magnitude >= 0x1p16 ? 0x7f80_0000 : 0
  return Float(bitPattern: magnitude.bitPattern | special | UInt32(bits & 0x8000) << 16)
}
