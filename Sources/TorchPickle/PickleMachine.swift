import System

/// What a pickle builds, as far as it is understood: plain values, and tensors by their place.
enum PickleValue {
  case none
  case bool(Bool)
  case int(Int)
  /// A text, by its place in the pickle.
  case text(Range<Int>)
  case global(PickleGlobal)
  /// These are kept in the machine, by number: nothing here nests, and nothing can contain itself.
  case tuple(Int)
  case list(Int)
  case dictionary(Int)
  case storage(Int)
  case tensor(Int)
}

/// Why a pickle is not read: the byte, and what is there.
struct PickleError: Error {
  var offset: Int
  var message: String
}

/// Runs the opcodes of a pickle that torch wrote, and executes nothing: a name of Python's is looked up in a short
/// list, and what is not on it ends the reading.
///
/// Opcodes: Python's pickletools. Each makes at most one value of a fixed size, so memory is at most about 100 times the
/// pickle's bytes, which `TorchFile` limits.
struct PickleMachine {
  let bytes: Bytes
  private(set) var position: Int
  private var stack: [PickleValue] = []
  private var marks: [Int] = []
  private var memo: [Int: PickleValue] = [:]
  private(set) var tuples: [[PickleValue]] = [[]]
  private(set) var lists: [[PickleValue]] = []
  private(set) var dictionaries: [[(key: PickleValue, value: PickleValue)]] = []
  private(set) var storages: [TorchStorage] = []
  private(set) var tensors: [TorchLayout] = []

  init(_ bytes: Bytes, from position: Int = 0) {
    self.bytes = bytes
    self.position = position
  }

  /// Runs to the end of one pickle, and leaves the position behind it.
  mutating func run() throws(PickleError) -> PickleValue {
    stack = []
    marks = []
    memo = [:]
    while true {
      let opcode = try byte()
      if opcode == UInt8(ascii: ".") { return try pop() }
      try step(opcode)
    }
  }

  func error(_ message: String) -> PickleError { PickleError(offset: position, message: message) }

  // MARK: Opcodes

  private mutating func step(_ opcode: UInt8) throws(PickleError) {
    switch opcode {
    case 0x80:  // PROTO
      let version = try byte()
      guard (2...5).contains(version) else { throw error("protocol \(version), expected 2 to 5") }
    case 0x95: _ = try int(8)  // FRAME
    case UInt8(ascii: "("): marks.append(stack.count)
    case UInt8(ascii: "N"): stack.append(.none)
    case 0x88: stack.append(.bool(true))
    case 0x89: stack.append(.bool(false))
    case UInt8(ascii: "K"): stack.append(.int(try int(1)))
    case UInt8(ascii: "M"): stack.append(.int(try int(2)))
    case UInt8(ascii: "J"): stack.append(.int(Int(Int32(truncatingIfNeeded: try int(4)))))
    case 0x8a: try long()
    case UInt8(ascii: "G"):  // A float, which no tensor needs.
      _ = try text(8)
      stack.append(.none)
    case UInt8(ascii: "X"), UInt8(ascii: "T"): stack.append(.text(try text(int(4))))
    case 0x8c, UInt8(ascii: "U"): stack.append(.text(try text(int(1))))
    case UInt8(ascii: "c"): stack.append(.global(try global(module: line(), name: line())))
    case 0x93:  // STACK_GLOBAL
      guard case .text(let name) = try pop(), case .text(let module) = try pop() else {
        throw error("a name that is no text")
      }
      stack.append(.global(try global(module: module, name: name)))
    case UInt8(ascii: ")"): stack.append(.tuple(0))
    case 0x85, 0x86, 0x87: try makeTuple(count: Int(opcode) - 0x84)
    case UInt8(ascii: "t"): try makeTuple(count: stack.count - popMark())
    case UInt8(ascii: "]"):
      stack.append(.list(lists.count))
      lists.append([])
    case UInt8(ascii: "}"): stack.append(makeDictionary([]))
    case UInt8(ascii: "a"): try appendToList(count: 1)
    case UInt8(ascii: "e"): try appendToList(count: stack.count - popMark())
    case UInt8(ascii: "s"): try setItems(count: 2)
    case UInt8(ascii: "u"): try setItems(count: stack.count - popMark())
    case UInt8(ascii: "q"): memo[try int(1)] = try top()
    case UInt8(ascii: "r"): memo[try int(4)] = try top()
    case 0x94: memo[memo.count] = try top()
    case UInt8(ascii: "h"): try recall(int(1))
    case UInt8(ascii: "j"): try recall(int(4))
    case UInt8(ascii: "Q"): try appendStorage()
    case UInt8(ascii: "R"): try reduce()
    case UInt8(ascii: "b"): try build()
    default: throw error("opcode 0x\(String(opcode, radix: 16)), which torch does not write for tensors")
    }
  }

  /// A whole number of up to 8 bytes, with sign; a longer one, such as torch's magic, is of no use here.
  private mutating func long() throws(PickleError) {
    let range = try text(int(1))
    guard range.count <= 8, let slice = bytes.range(range.lowerBound, range.count) else { return stack.append(.none) }
    let bits = slice.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    let shift = UInt64(64 - 8 * range.count)
    stack.append(.int(range.isEmpty ? 0 : Int(Int64(bitPattern: bits << shift) >> Int64(shift))))
  }

  private mutating func makeTuple(count: Int) throws(PickleError) {
    let items = try pop(count)
    stack.append(.tuple(tuples.count))
    tuples.append(items)
  }

  private mutating func makeDictionary(_ items: [(key: PickleValue, value: PickleValue)]) -> PickleValue {
    dictionaries.append(items)
    return .dictionary(dictionaries.count - 1)
  }

  private mutating func appendToList(count: Int) throws(PickleError) {
    let items = try pop(count)
    guard case .list(let list) = try top() else { throw error("elements for what is no list") }
    lists[list] += items
  }

  private mutating func setItems(count: Int) throws(PickleError) {
    let items = try pop(count)
    guard items.count % 2 == 0, case .dictionary(let dictionary) = try top() else {
      throw error("keys and values for what is no dictionary")
    }
    for index in stride(from: 0, to: items.count, by: 2) {
      dictionaries[dictionary].append((items[index], items[index + 1]))
    }
  }

  private mutating func recall(_ number: Int) throws(PickleError) {
    guard let value = memo[number] else { throw error("value \(number), which was never kept") }
    stack.append(value)
  }

  /// A call of one of the known functions.
  private mutating func reduce() throws(PickleError) {
    guard case .tuple(let tuple) = try pop(), case .global(let function) = try pop() else {
      throw error("a call of what is no function")
    }
    let arguments = tuples[tuple]
    switch function {
    case .orderedDictionary: stack.append(makeDictionary(try pairs(arguments)))
    case .rebuildTensor:
      stack.append(.tensor(tensors.count))
      tensors.append(try TorchLayout(arguments, self))
    case .rebuildParameter:
      guard case .tensor = arguments.first else { throw error("a parameter that is no tensor") }
      stack.append(arguments[0])
    case .storage(let element): throw error("a call of \(element.name)")
    }
  }

  /// The arguments of `OrderedDict`: none, or a list of pairs.
  private func pairs(_ arguments: [PickleValue]) throws(PickleError) -> [(key: PickleValue, value: PickleValue)] {
    guard let first = arguments.first else { return [] }
    guard arguments.count == 1, case .list(let list) = first else { throw error("a dictionary of what are no pairs") }
    var result: [(key: PickleValue, value: PickleValue)] = []
    for item in lists[list] {
      let pair: [PickleValue]
      switch item {
      case .tuple(let index): pair = tuples[index]
      case .list(let index): pair = lists[index]
      default: pair = []
      }
      guard pair.count == 2 else { throw error("a dictionary of what are no pairs") }
      result.append((pair[0], pair[1]))
    }
    return result
  }

  /// Attributes of a dictionary, such as `_metadata` of a state dict, are of no use here.
  private mutating func build() throws(PickleError) {
    _ = try pop()
    guard case .dictionary = try top() else { throw error("attributes of what is no dictionary") }
  }

  private mutating func appendStorage() throws(PickleError) {
    guard case .tuple(let tuple) = try pop() else { throw error("a persistent id that is no tuple") }
    stack.append(.storage(storages.count))
    storages.append(try TorchStorage(tuples[tuple], self))
  }

  // MARK: Stack and bytes

  private func top() throws(PickleError) -> PickleValue {
    guard let value = stack.last, stack.count > marks.last ?? 0 else { throw error("a value that is not there") }
    return value
  }

  private mutating func pop() throws(PickleError) -> PickleValue {
    let value = try top()
    stack.removeLast()
    return value
  }

  private mutating func pop(_ count: Int) throws(PickleError) -> [PickleValue] {
    guard count >= 0, stack.count - (marks.last ?? 0) >= count else { throw error("values that are not there") }
    let items = Array(stack.suffix(count))
    stack.removeLast(count)
    return items
  }

  private mutating func popMark() throws(PickleError) -> Int {
    guard let mark = marks.popLast() else { throw error("the end of what has not begun") }
    return mark
  }

  private mutating func byte() throws(PickleError) -> UInt8 {
    guard let byte = bytes[position] else { throw error("the pickle ends") }
    position += 1
    return byte
  }

  private mutating func int(_ width: Int) throws(PickleError) -> Int {
    guard let value = bytes.int(position, width) else { throw error("the pickle ends within a number") }
    position += width
    return value
  }

  private mutating func text(_ count: Int) throws(PickleError) -> Range<Int> {
    guard bytes.range(position, count) != nil else { throw error("a text of \(count) bytes, which are not there") }
    position += count
    return position - count..<position
  }

  /// A line of text, without its end.
  private mutating func line() throws(PickleError) -> Range<Int> {
    let start = position
    while try byte() != 0x0A { guard position - start < 1000 else { throw error("a name of more than 1000 bytes") } }
    return start..<position - 1
  }

  func string(_ range: Range<Int>) -> String {
    String(decoding: bytes.range(range.lowerBound, range.count) ?? [], as: UTF8.self)
  }

  private func global(module: Range<Int>, name: Range<Int>) throws(PickleError) -> PickleGlobal {
    let path = "\(string(module)).\(string(name))"
    guard let global = PickleGlobal(path) else {
      throw error("names Python's \(path.prefix(200)), which is not run: expected tensors in a dictionary only")
    }
    return global
  }
}
