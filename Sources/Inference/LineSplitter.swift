/// Cuts bytes that come in pieces of any size into lines. Lines end with LF or CRLF; the last one may lack its end.
public struct LineSplitter {
  /// A line without its end.
  public struct Line: Sendable, Equatable {
    /// From 1.
    public var number: Int
    /// Empty where the line is too long.
    public var bytes: [UInt8]
    public var isTooLong: Bool

    public init(number: Int, bytes: [UInt8], isTooLong: Bool = false) {
      self.number = number
      self.bytes = bytes
      self.isTooLong = isTooLong
    }
  }

  /// The longest line that is kept; of a longer one only the number is. A stream without a line end must not fill the
  /// memory.
  public let limitBytes: Int
  private var number = 1
  private var rest: [UInt8] = []
  private var isTooLong = false

  public init(limitBytes: Int = 1 << 24) { self.limitBytes = limitBytes }

  /// The lines that are whole with `bytes`, in order.
  public mutating func add(_ bytes: some Sequence<UInt8>) -> [Line] {
    var lines: [Line] = []
    for byte in bytes {
      if byte == 0x0A {
        lines.append(take())
      } else if rest.count < limitBytes {
        rest.append(byte)
      } else {
        isTooLong = true
      }
    }
    return lines
  }

  /// The last line, where the input did not end with a line end.
  public mutating func end() -> Line? { rest.isEmpty && !isTooLong ? nil : take() }

  private mutating func take() -> Line {
    if rest.last == 0x0D { rest.removeLast() }
    // A byte order mark, as programs on Windows put in front.
    if number == 1, rest.starts(with: [0xEF, 0xBB, 0xBF]) { rest.removeFirst(3) }
    defer {
      number += 1
      rest.removeAll(keepingCapacity: true)
      isTooLong = false
    }
    return Line(number: number, bytes: isTooLong ? [] : rest, isTooLong: isTooLong)
  }
}
