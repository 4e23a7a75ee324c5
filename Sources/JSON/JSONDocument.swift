import System

/// A JSON text, checked as a whole when it is read: RFC 8259 and nothing more.
///
/// Files from outside are read strictly, because a file that two readers understand differently trains one model and
/// saves another. A byte order mark, UTF-16, trailing commas, comments, `NaN`, two equal keys in an object, unpaired
/// surrogates and a number such as `01` are refused with line and column. Keys are compared byte for byte.
///
/// The text is kept, with 16 bytes for each value and key in it, so a document takes at most 17 times the size of its
/// text, and reading takes time in proportion to it. Nothing recurses.
public final class JSONDocument: Sendable {
  /// The name of the file, for messages.
  public let path: String
  /// The text, as it was read.
  public let bytes: [UInt8]
  /// The line of the file in which the text begins, from 1.
  let firstLine: Int
  /// The status of errors in this file.
  let status: ExitStatus
  /// Every value and key, in the order of the text; a container stands before what it holds.
  let entries: [JSONEntry]

  /// The deepest nesting that is read.
  public static let limitDepth = 128

  /// Checks `bytes`, which stand in the file from the line `firstLine` on.
  ///
  /// Throws a `Failure` with `status` and the place, `path:line:column`, where it is not JSON.
  public init(
    _ bytes: [UInt8], path: String, firstLine: Int = 1, status: ExitStatus = .configuration
  ) throws(Failure) {
    self.bytes = bytes
    self.path = path
    self.firstLine = firstLine
    self.status = status
    do throws(JSONError) {
      entries = try bytes.withUnsafeBufferPointer { buffer throws(JSONError) in
        var reader = JSONReader(buffer)
        return try reader.read()
      }
    } catch {
      throw Failure(status, at: "\(path):\(place(of: error.offset, in: bytes, firstLine: firstLine))", error.message)
    }
  }

  /// Reads the file `path` of at most `limitBytes` bytes.
  public convenience init(
    contentsOf path: String, limitBytes: Int = 1 << 24, status: ExitStatus = .configuration
  ) throws(Failure) {
    try self.init(readBytes(path, limitBytes: limitBytes), path: path, status: status)
  }

  /// The outermost value.
  public var root: JSONNode { JSONNode(document: self, index: 0, name: "") }
}

/// A value or a key of a document: where it stands, and where the next one on its level is.
struct JSONEntry {
  enum Kind: UInt8 { case null, bool, number, string, array, object }
  /// The range in the text.
  var start: UInt32
  var end: UInt32
  /// The index behind this entry and all that it holds.
  var next: UInt32
  var kind: Kind
}

/// Why a text is not JSON, and the byte.
struct JSONError: Error {
  var offset: Int
  var message: String
}

/// `line:column` of the byte `offset` of a text that begins in line `firstLine`, both from 1; columns count bytes.
func place(of offset: Int, in bytes: [UInt8], firstLine: Int) -> String {
  let before = bytes[..<min(offset, bytes.count)]
  let line = before.count { $0 == 0x0A } + firstLine
  let lineStart = before.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
  return "\(line):\(before.count - lineStart + 1)"
}
