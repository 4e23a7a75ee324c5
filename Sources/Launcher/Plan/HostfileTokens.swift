import System

/// The words of a hostfile, line by line. `=` is a word of its own.
struct HostfileTokens {
  struct Word {
    var text: String
    /// From 1, in bytes.
    var column: Int
  }

  private let bytes: [UInt8]
  private var position = 0
  /// The line of the words that came last, from 1.
  private(set) var line = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// A line with every key, and room for mistakes.
  private static let mostWords = 64

  /// The words of the next line, none for an empty one; nil at the end. A comment may go on over lines.
  mutating func nextLine(
    isInComment: inout Bool, refuse: (Int, Int, String, String?) -> Failure
  ) throws(Failure) -> [Word]? {
    guard position < bytes.count else { return nil }
    line += 1
    let start = position
    let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
    position = end + 1
    var words: [Word] = []
    var index = start
    func at(_ offset: Int, _ character: Unicode.Scalar) -> Bool {
      index + offset < end && bytes[index + offset] == UInt8(ascii: character)
    }
    while index < end {
      let column = index - start + 1
      guard words.count <= Self.mostWords else {
        throw refuse(line, column, "has more than \(Self.mostWords) words, expected `host slots=N`", nil)
      }
      if isInComment {
        if at(0, "*") && at(1, "/") {
          isInComment = false
          index += 2
        } else {
          index += 1
        }
        continue
      }
      switch bytes[index] {
      case UInt8(ascii: " "), UInt8(ascii: "\t"): index += 1
      case UInt8(ascii: "#"): index = end
      case UInt8(ascii: "/") where at(1, "/"): index = end
      case UInt8(ascii: "/") where at(1, "*"):
        isInComment = true
        index += 2
      case UInt8(ascii: "="):
        words.append(Word(text: "=", column: column))
        index += 1
      case UInt8(ascii: "\r"):
        throw refuse(
          line, column, "has a carriage return, expected lines that end with a newline alone", "dos2unix mends it")
      case 0..<0x20, 0x7F:
        throw refuse(line, column, "has the control character \(bytes[index]), expected text", nil)
      default:
        var stop = index
        while stop < end, bytes[stop] > 0x20, bytes[stop] != UInt8(ascii: "="), bytes[stop] != UInt8(ascii: "#") {
          stop += 1
        }
        guard let text = String(validating: bytes[index..<stop], as: UTF8.self) else {
          throw refuse(line, column, "has bytes that are not UTF-8", nil)
        }
        words.append(Word(text: text, column: column))
        index = stop
      }
    }
    return words
  }
}
