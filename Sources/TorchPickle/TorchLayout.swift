import Safetensors

/// The names of Python's that a pickle of tensors may have.
enum PickleGlobal {
  case orderedDictionary
  case rebuildTensor
  case rebuildParameter
  case storage(TorchElement)

  private static let elements: [String: TorchElement] = Dictionary(
    uniqueKeysWithValues: [
      TorchElement("Float", .f32), TorchElement("Half", .f16), TorchElement("BFloat16", .bf16),
      TorchElement("Double", .f64), TorchElement("Long", .i64), TorchElement("Int", .i32), TorchElement("Short", .i16),
      TorchElement("Char", .i8), TorchElement("Byte", .u8), TorchElement("Bool", .bool),
      TorchElement("ComplexFloat", byteCount: 8), TorchElement("ComplexDouble", byteCount: 16),
      TorchElement("QInt8", byteCount: 1), TorchElement("QUInt8", byteCount: 1), TorchElement("QInt32", byteCount: 4),
    ].map { ($0.name, $0) })

  init?(_ path: String) {
    switch path {
    case "collections.OrderedDict": self = .orderedDictionary
    case "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor": self = .rebuildTensor
    case "torch._utils._rebuild_parameter": self = .rebuildParameter
    default:
      guard let element = Self.elements[path] else { return nil }
      self = .storage(element)
    }
  }
}

/// What the elements of a storage are.
struct TorchElement: Equatable {
  /// Python's name of the storage.
  var name: String
  /// Nil where it is none of safetensors' types.
  var type: DType?
  var byteCount: Int

  init(_ name: String, _ type: DType) {
    self.init(name, byteCount: type.byteCount)
    self.type = type
  }

  init(_ name: String, byteCount: Int) {
    self.name = "torch.\(name)Storage"
    self.byteCount = byteCount
  }
}

/// Memory that tensors share: so many elements of one type, in a record of its own.
struct TorchStorage {
  var element: TorchElement
  /// The record's name, or the storage's number in old files.
  var key: String
  var count: Int

  /// From a persistent id: `("storage", type, key, device, count)`.
  init(_ id: [PickleValue], _ machine: PickleMachine) throws(PickleError) {
    guard id.count >= 5, case .text(let kind) = id[0], machine.string(kind) == "storage",
      case .global(.storage(let element)) = id[1], case .text(let key) = id[2], case .int(let count) = id[4],
      count >= 0
    else { throw machine.error("a storage that is not as torch writes it") }
    // A view of a storage, as files before torch 1.0 may have.
    if id.count > 5, case .tuple = id[5] { throw machine.error("a storage within a storage") }
    self.element = element
    self.key = machine.string(key)
    self.count = count
  }
}

/// How a tensor lies in its storage.
struct TorchLayout {
  var storage: TorchStorage
  /// The element of the storage that is the tensor's first.
  var offset: Int
  var shape: [Int]
  /// Elements of the storage from one index to the next, for each extent.
  var strides: [Int]
  /// The number of elements.
  var count: Int
  /// The elements of the storage from the first to the last of the tensor.
  var span: Int

  /// From the arguments of `_rebuild_tensor_v2`: storage, offset, shape, strides, and what only training needs.
  init(_ arguments: [PickleValue], _ machine: PickleMachine) throws(PickleError) {
    guard arguments.count >= 4, case .storage(let storage) = arguments[0], case .int(let offset) = arguments[1],
      case .tuple(let shape) = arguments[2], case .tuple(let strides) = arguments[3]
    else { throw machine.error("a tensor that is not as torch writes it") }
    self.storage = machine.storages[storage]
    self.offset = offset
    self.shape = try Self.numbers(machine.tuples[shape], machine)
    self.strides = try Self.numbers(machine.tuples[strides], machine)
    guard self.shape.count == self.strides.count, self.shape.count <= 64, offset >= 0 else {
      throw machine.error("a tensor of shape \(self.shape.prefix(64)) with the strides \(self.strides.prefix(64))")
    }
    guard let count = elementCount(self.shape) else { throw machine.error("a tensor of shape \(self.shape)") }
    self.count = count
    span = count == 0 ? 0 : 1
    for (extent, stride) in zip(self.shape, self.strides) where count > 0 {
      let (distance, overflow) = (extent - 1).multipliedReportingOverflow(by: stride)
      let (sum, overflowOfSum) = span.addingReportingOverflow(distance)
      guard !overflow, !overflowOfSum else { throw machine.error("a tensor of shape \(self.shape)") }
      span = sum
    }
    // More elements than its storage has: some of them would be one.
    guard count <= self.storage.count, offset <= self.storage.count, span <= self.storage.count - offset else {
      throw machine.error(
        "a tensor of shape \(self.shape) with the strides \(self.strides) from element \(offset), "
          + "but its storage has \(self.storage.count)")
    }
  }

  private static func numbers(_ values: [PickleValue], _ machine: PickleMachine) throws(PickleError) -> [Int] {
    var result: [Int] = []
    for value in values {
      guard case .int(let number) = value, number >= 0 else { throw machine.error("a shape that is no whole number") }
      result.append(number)
    }
    return result
  }

  /// Whether the elements lie one after the other, row by row.
  var isContiguous: Bool {
    var expected = 1
    for (extent, stride) in zip(shape, strides).reversed() where extent != 1 {
      guard stride == expected else { return count == 0 }
      expected *= extent
    }
    return true
  }
}
