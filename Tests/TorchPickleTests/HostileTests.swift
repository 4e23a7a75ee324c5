import System
import TestSupport
import Testing
import TorchPickle

/// Pickles that somebody wrote by hand: none is run, and each is refused with the byte.
struct HostileTests {
  private static let dictionary = Array("}".utf8)
  private static let end = Array("u.".utf8)

  /// A tensor "w" of so many floats in the record data/0.
  private static func tensor(
    storage: String = "torch\nFloatStorage\n", key: String = "0", numel: [UInt8] = [0x4B, 4],
    offset: [UInt8] = [0x4B, 0],
    shape: [UInt8] = [0x4B, 4, 0x85], strides: [UInt8] = [0x4B, 1, 0x85]
  ) -> [UInt8] {
    text("w") + Array("ctorch._utils\n_rebuild_tensor_v2\n((".utf8) + text("storage") + Array("c\(storage)".utf8)
      + text(key) + text("cpu") + numel + Array("tQ".utf8) + offset + shape + strides + [0x89]
      + Array("ccollections\nOrderedDict\n)RtR".utf8)
  }

  private static func text(_ text: String) -> [UInt8] { [0x58, UInt8(text.utf8.count), 0, 0, 0] + Array(text.utf8) }

  private static func long(_ value: Int) -> [UInt8] {
    [0x8a, 8] + (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  struct Case: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var pickle: [UInt8]
    var message: String
  }

  static let cases = [
    Case(
      testDescription: "a call of os.system",
      pickle: Array("cos\nsystem\n".utf8) + text("touch /tmp/x") + [0x85, 0x52, 0x2E],
      message: "names Python's os.system, which is not run"),
    Case(
      testDescription: "eval by protocol 4", pickle: text("builtins") + text("eval") + [0x93, 0x2E],
      message: "names Python's builtins.eval"),
    Case(testDescription: "INST", pickle: Array("(ios\nsystem\n.".utf8), message: "opcode 0x69"),
    Case(testDescription: "no dictionary", pickle: Array("].".utf8), message: "no dictionary"),
    Case(testDescription: "an empty stack", pickle: Array(".".utf8), message: "a value that is not there"),
    Case(
      testDescription: "a mark that is not there", pickle: Array("}u.".utf8), message: "the end of what has not begun"),
    Case(
      testDescription: "a value never kept", pickle: Array("h\u{07}.".utf8), message: "value 7, which was never kept"),
    Case(
      testDescription: "a text of 4 GB", pickle: [0x58, 0xFF, 0xFF, 0xFF, 0xFF], message: "a text of 4294967295 bytes"),
    Case(testDescription: "a list in itself", pickle: Array("]q\u{0}h\u{0}a.".utf8), message: "no dictionary"),
    Case(
      testDescription: "a million tuples in one another",
      pickle: Array(")".utf8) + [UInt8](repeating: 0x85, count: 1_000_000) + Array(".".utf8), message: "no dictionary"),
    Case(
      testDescription: "a million marks", pickle: [UInt8](repeating: 0x28, count: 1_000_000), message: "the pickle ends"
    ),
    Case(
      testDescription: "a tensor larger than its storage",
      pickle: dictionary + Array("(".utf8) + tensor(shape: [0x4B, 5, 0x85]) + end, message: "but its storage has 4"),
    Case(
      testDescription: "an offset behind its storage",
      pickle: dictionary + Array("(".utf8) + tensor(offset: [0x4B, 1]) + end, message: "from element 1"),
    Case(
      testDescription: "strides behind its storage",
      pickle: dictionary + Array("(".utf8) + tensor(strides: [0x4B, 2, 0x85]) + end, message: "with the strides [2]"),
    Case(
      testDescription: "strides that overflow",
      pickle: dictionary + Array("(".utf8) + tensor(shape: [0x4B, 4, 0x85], strides: long(.max) + [0x85]) + end,
      message: "a tensor of shape [4]"),
    Case(
      testDescription: "an expanded tensor",
      pickle: dictionary + Array("(".utf8) + tensor(shape: long(1 << 40) + [0x85], strides: [0x4B, 0, 0x85]) + end,
      message: "but its storage has 4"),
    Case(
      testDescription: "a negative extent",
      pickle: dictionary + Array("(".utf8) + tensor(shape: long(-4) + [0x85]) + end, message: "a shape that is no whole"
    ),
    Case(
      testDescription: "more extents than strides",
      pickle: dictionary + Array("(".utf8) + tensor(shape: [0x4B, 2, 0x4B, 2, 0x86]) + end,
      message: "with the strides [1]"),
    Case(
      testDescription: "a storage larger than its record",
      pickle: dictionary + Array("(".utf8) + tensor(numel: [0x4B, 5]) + end, message: "a record of 16 bytes, expected 5"
    ),
    Case(
      testDescription: "a huge storage",
      pickle: dictionary + Array("(".utf8) + tensor(numel: long(1 << 62)) + end, message: "a record of 16 bytes"),
    Case(
      testDescription: "a record elsewhere",
      pickle: dictionary + Array("(".utf8) + tensor(key: "../../x") + end, message: "no record data/../../x"),
    Case(
      testDescription: "a storage of an unknown type",
      pickle: dictionary + Array("(".utf8) + tensor(storage: "torch\nEvilStorage\n") + end, message: "torch.EvilStorage"
    ),
    Case(
      testDescription: "one name twice", pickle: dictionary + Array("(".utf8) + tensor() + tensor() + end,
      message: "two tensors are called w"),
  ]

  @Test("are refused with the file and what is wrong", arguments: cases)
  func refused(hostile: Case) throws {
    let folder = try TemporaryFolder()
    let path = try folder.write(
      zip([("a/data.pkl", hostile.pickle), ("a/data/0", [UInt8](repeating: 0, count: 16))]), "x")
    let problem = #expect(throws: Failure.self) { try TorchFile(path) }
    #expect(problem?.status == .badData && problem?.place == path)
    #expect(problem?.message.contains(hostile.message) == true, "\(problem as Any)")
  }

  @Test("the tensor that the cases above are changes of is read")
  func good() throws {
    let folder = try TemporaryFolder()
    let pickle = Self.dictionary + Array("(".utf8) + Self.tensor() + Self.end
    let data: [Float] = [1, 2, 3, .nan]
    let path = try folder.write(zip([("a/data.pkl", pickle), ("a/data/0", data.withUnsafeBytes { Array($0) })]), "x")
    let file = try TorchFile(path)
    #expect(file.tensors.map(\.name) == ["w"] && file.tensors[0].shape == [4])
    var values = [Float](repeating: 0, count: 4)
    let problem = #expect(throws: Failure.self) {
      try values.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
        try file.readFloats(file.tensors[0], into: buffer)
      }
    }
    #expect(problem?.message == "w[3] is nan, expected a finite number")
    #expect(values[..<3] == [1, 2, 3])
  }

  @Test("archives that are not as torch writes them are refused")
  func archives() throws {
    let folder = try TemporaryFolder()
    let pickle = Self.dictionary + Array(".".utf8)
    let good = zip([("a/data.pkl", pickle)])
    #expect(try TorchFile(folder.write(good, "x")).tensors.isEmpty)
    for (bytes, message) in [
      (zip([("a/data.pkl", pickle), ("a/data.pkl", pickle)]), "two records are called a/data.pkl"),
      (zip([("a/data.pkl", pickle)], method: 8), "is compressed or encrypted"),
      (zip([("a/data.txt", pickle)]), "has no data.pkl"),
      (zip([("a/data.pkl", pickle), ("a/byteorder", Array("big".utf8))]), "big-endian"),
      (Array(good.dropLast()), "no directory at its end"),
      (Array(good.dropFirst()), "is no file that torch.save wrote"),
      (Array("PK".utf8) + Array(good.dropFirst(10)), "zip: "),
    ] {
      let problem = #expect(throws: Failure.self) { try TorchFile(folder.write(bytes, "x")) }
      #expect(problem?.message.contains(message) == true, "\(message): \(problem as Any)")
    }
  }
}

/// An archive of records that are stored as they are.
private func zip(_ records: [(name: String, bytes: [UInt8])], method: Int = 0) -> [UInt8] {
  func number(_ value: Int, _ width: Int) -> [UInt8] {
    (0..<width).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }
  var file: [UInt8] = []
  var directory: [UInt8] = []
  for record in records {
    let fields =
      number(0, 2) + number(method, 2) + number(0, 8) + number(record.bytes.count, 4) + number(record.bytes.count, 4)
      + number(record.name.utf8.count, 2) + number(0, 2)
    directory += [0x50, 0x4B, 1, 2] + number(20, 2) + number(20, 2) + fields
    directory +=
      number(0, 2) + number(0, 2) + number(0, 2) + number(0, 4) + number(file.count, 4) + Array(record.name.utf8)
    file += [0x50, 0x4B, 3, 4] + number(20, 2) + fields + Array(record.name.utf8) + record.bytes
  }
  let end =
    [0x50, 0x4B, 5, 6] + number(0, 4) + number(records.count, 2) + number(records.count, 2)
    + number(directory.count, 4) + number(file.count, 4) + number(0, 2)
  return file + directory + end
}
