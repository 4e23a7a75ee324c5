import FileSystem
import Glibc

/// The rank that a launcher gave this process, or nil where none did.
func launchedRank() -> Int? {
  for name in ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"] {
    if let text = getenv(name), let rank = Int(String(cString: text)) { return rank }
  }
  return nil
}

/// Writes a line to standard error.
func printError(_ line: String) {
  let bytes = Array("\(line)\n".utf8)
  _ = write(STDERR_FILENO, bytes, bytes.count)
}

/// JSON text for standard output, written in large pieces.
struct JSONOutput {
  private var bytes: [UInt8] = []

  /// Appends `text` as it is: punctuation and keys.
  mutating func raw(_ text: StaticString) {
    bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  mutating func number(_ value: some BinaryInteger) { bytes.append(contentsOf: "\(value)".utf8) }

  /// Appends the shortest decimal that reads back as the same value; null where it is not finite.
  mutating func float(_ value: Float) { bytes.append(contentsOf: (value.isFinite ? "\(value)" : "null").utf8) }

  /// Appends the shortest decimal that reads back as the same value; null where it is not finite.
  mutating func double(_ value: Double) { bytes.append(contentsOf: (value.isFinite ? "\(value)" : "null").utf8) }

  mutating func boolean(_ value: Bool) { raw(value ? "true" : "false") }

  /// Appends `text` in quotes.
  mutating func string(_ text: String) {
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        bytes.append(UInt8(ascii: "\\"))
        bytes.append(byte)
      case 0..<0x20:
        let hex = String(byte, radix: 16)
        bytes.append(contentsOf: "\\u00\(hex.utf8.count < 2 ? "0" : "")\(hex)".utf8)
      default:
        bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  /// Appends `[…]` of what `body` writes for each of `items`.
  mutating func list<Items: Sequence>(_ items: Items, _ body: (inout JSONOutput, Items.Element) -> Void) {
    bytes.append(UInt8(ascii: "["))
    var isFirst = true
    for item in items {
      if !isFirst { bytes.append(UInt8(ascii: ",")) }
      isFirst = false
      body(&self, item)
    }
    bytes.append(UInt8(ascii: "]"))
  }

  mutating func numbers(_ values: some Sequence<some BinaryInteger>) { list(values) { $0.number($1) } }

  /// Writes what there is once it is more than a megabyte.
  mutating func flushIfLarge() throws(Failure) {
    if bytes.count > 1 << 20 { try flush() }
  }

  /// Writes everything to standard output.
  mutating func flush() throws(Failure) {
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress! + done, $0.count - done) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw Failure(.ioError, "standard output: writing failed: \(lastSystemError())") }
      done += count
    }
    bytes.removeAll(keepingCapacity: true)
  }
}
