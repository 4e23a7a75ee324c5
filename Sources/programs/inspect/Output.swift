import Glibc
import System

/// The rank that a launcher gave this process, or nil where none did.
func launchedRank(_ environment: Environment) -> Int? {
  ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"].lazy
    .compactMap { environment[$0].flatMap { Int($0) } }.first
}

/// Writes a line to standard error.
func printError(_ line: String) {
  try? writeAll(Array("\(line.escapingControlCharacters)\n".utf8), to: STDERR_FILENO, at: "standard error")
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

  /// Appends `text` in quotes. What a terminal could obey is escaped.
  mutating func string(_ text: String) {
    bytes.append(UInt8(ascii: "\""))
    for scalar in text.unicodeScalars {
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator:
        for unit in String(scalar).utf16 {
          let digits = String(unit, radix: 16)
          bytes.append(contentsOf: "\\u\(String(repeating: "0", count: 4 - digits.count))\(digits)".utf8)
        }
      default:
        if scalar == "\"" || scalar == "\\" { bytes.append(UInt8(ascii: "\\")) }
        bytes.append(contentsOf: String(scalar).utf8)
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
    try writeToStandardOutput(bytes)
    bytes.removeAll(keepingCapacity: true)
  }
}
