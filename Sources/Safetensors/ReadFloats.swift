import System

extension SafetensorsFile {
  /// Overwrites `buffer`, which has the tensor's number of elements, with its values as `Float`.
  ///
  /// From F32, F16, BF16 and F64 (rounded to nearest). A value that is not finite, or not as `Float`, throws `.badData`
  /// with the element: `query.weight[17, 3]`.
  public func readFloats(_ tensor: TensorInfo, into buffer: UnsafeMutableBufferPointer<Float>) throws(Failure) {
    try FloatReader(file: file, start: dataStart + tensor.byteRange.lowerBound, tensor: tensor).read(into: buffer)
  }
}

/// The numbers of one tensor, as they lie one after the other in a file.
package struct FloatReader {
  let file: InputFile
  /// The file's byte where they begin.
  let start: Int
  let tensor: TensorInfo

  package init(file: InputFile, start: Int, tensor: TensorInfo) {
    self.file = file
    self.start = start
    self.tensor = tensor
  }

  /// See ``SafetensorsFile/readFloats(_:into:)``.
  package func read(into buffer: UnsafeMutableBufferPointer<Float>) throws(Failure) {
    precondition(buffer.count == tensor.count, "\(tensor.count) elements of \(tensor.name) into \(buffer.count)")
    switch tensor.dtype {
    case .f32: try readBlocks(into: buffer)
    case .f16: try convert(to: buffer) { (bits: UInt16) in float(half: bits) }
    case .bf16: try convert(to: buffer) { (bits: UInt16) in Float(bitPattern: UInt32(bits) << 16) }
    case .f64: try convert(to: buffer) { (value: Double) in Float(value) }
    default:
      throw Failure(
        .badData, at: file.path,
        "tensor \(quoted(tensor.name)): dtype \(tensor.dtypeName), expected F32, F16, BF16 or F64")
    }
  }

  /// A block is converted and checked while it is in the cache.
  private static let blockCount = 1 << 18

  private func readBlocks(into buffer: UnsafeMutableBufferPointer<Float>) throws(Failure) {
    for first in stride(from: 0, to: tensor.count, by: Self.blockCount) {
      let block = UnsafeMutableBufferPointer(rebasing: buffer[first..<min(first + Self.blockCount, tensor.count)])
      try readBytes(from: first * 4, into: UnsafeMutableRawBufferPointer(block))
      try checkFinite(UnsafeBufferPointer(block), from: first)
    }
  }

  @inline(__always)
  private func convert<Element: BitwiseCopyable>(
    to buffer: UnsafeMutableBufferPointer<Float>, _ value: (Element) -> Float
  ) throws(Failure) {
    guard let target = buffer.baseAddress, tensor.count > 0 else { return }
    // Aligned, which the data in the file need not be.
    let scratch = UnsafeMutablePointer<Element>.allocate(capacity: min(Self.blockCount, tensor.count))
    defer { scratch.deallocate() }
    for first in stride(from: 0, to: tensor.count, by: Self.blockCount) {
      let count = min(Self.blockCount, tensor.count - first)
      let bytes = UnsafeMutableRawBufferPointer(start: scratch, count: count * MemoryLayout<Element>.size)
      try readBytes(from: first * MemoryLayout<Element>.size, into: bytes)
      let destination = target + first
      for index in 0..<count { destination[index] = value(scratch[index]) }
      try checkFinite(UnsafeBufferPointer(start: destination, count: count), from: first)
    }
  }

  /// Overwrites `buffer` with the tensor's bytes from its byte `offset` on.
  func readBytes(from offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(Failure) {
    do throws(Failure) {
      try file.read(into: buffer, at: start + offset)
    } catch {
      var failure = error
      failure.message = "tensor \(quoted(tensor.name)): \(error.message)"
      throw failure
    }
  }

  private func checkFinite(_ block: UnsafeBufferPointer<Float>, from first: Int) throws(Failure) {
    guard let index = firstNonFinite(block) else { return }
    throw Failure(
      .badData, at: file.path, "\(tensor.element(first + index)) is \(block[index]), expected a finite number")
  }
}

/// The first element that is NaN or infinite.
package func firstNonFinite(_ values: UnsafeBufferPointer<Float>) -> Int? {
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
