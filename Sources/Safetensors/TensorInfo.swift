/// The element types of the format that fill whole bytes.
public enum DType: String, Sendable, CaseIterable {
  case bool = "BOOL"
  case u8 = "U8"
  case i8 = "I8"
  case f8e4m3 = "F8_E4M3"
  case f8e5m2 = "F8_E5M2"
  case f8e8m0 = "F8_E8M0"
  case i16 = "I16"
  case u16 = "U16"
  case f16 = "F16"
  case bf16 = "BF16"
  case i32 = "I32"
  case u32 = "U32"
  case f32 = "F32"
  case i64 = "I64"
  case u64 = "U64"
  case f64 = "F64"

  /// Bytes of one element.
  public var byteCount: Int {
    switch self {
    case .bool, .u8, .i8, .f8e4m3, .f8e5m2, .f8e8m0: 1
    case .i16, .u16, .f16, .bf16: 2
    case .i32, .u32, .f32: 4
    case .i64, .u64, .f64: 8
    }
  }
}

/// One tensor of a file: what the header says of it, checked.
public struct TensorInfo: Sendable {
  public let name: String
  /// Nil for a type that is not known here: such a tensor may be in the file, but cannot be read as numbers.
  public let dtype: DType?
  /// The element type as the header has it.
  public let dtypeName: String
  /// The extents, outermost first; none for a single number.
  public let shape: [Int]
  /// Where its bytes are, counted from the first byte after the header.
  public let byteRange: Range<Int>
  /// The number of elements.
  public let count: Int

  package init(
    name: String, dtype: DType?, dtypeName: String? = nil, shape: [Int], byteRange: Range<Int>, count: Int
  ) {
    self.name = name
    self.dtype = dtype
    self.dtypeName = dtypeName ?? dtype?.rawValue ?? ""
    self.shape = shape
    self.byteRange = byteRange
    self.count = count
  }

  /// `query.weight[17, 3]`: the name with the place of the element at `index` of the flat row-major data.
  public func element(_ index: Int) -> String {
    var rest = index
    var place: [Int] = []
    for extent in shape.reversed() {
      place.append(rest % max(1, extent))
      rest /= max(1, extent)
    }
    return "\(quoted(name))[\(place.reversed().map(String.init).joined(separator: ", "))]"
  }
}

/// A name from a file, cut to what fits a message.
package func quoted(_ name: String) -> String {
  let limit = 200
  return name.utf8.count <= limit ? name : "\(name.prefix(limit))… (\(name.utf8.count) bytes)"
}

/// The product of `shape`; nil if it overflows.
package func elementCount(_ shape: [Int]) -> Int? {
  if shape.contains(0) { return 0 }
  var count = 1
  for extent in shape {
    let (product, overflow) = count.multipliedReportingOverflow(by: extent)
    guard !overflow else { return nil }
    count = product
  }
  return count
}
