/// What a rank calls; all ranks must call the same.
public struct Call: Equatable, Sendable, CustomStringConvertible {
  public enum Kind: Int64, Sendable {
    case sumOfFloats = 1
    case sumOfDoubles, broadcast, gather, barrier, hostMemory
    /// The end of MPI, which waits for all ranks too.
    case finish
    /// A sum over hosts that runs beside the computation; a rank is inside while it waits for it.
    case exchange
  }

  public var kind: Kind
  /// Elements of a sum or exchange, bytes of a broadcast or gather.
  public var count: Int
  /// The rank that a broadcast comes from.
  public var root: Int

  public init(_ kind: Kind, count: Int = 0, root: Int = 0) {
    self.kind = kind
    self.count = count
    self.root = root
  }

  public var description: String {
    switch kind {
    case .sumOfFloats: "sum of \(count) floats"
    case .sumOfDoubles: "sum of \(count) doubles"
    case .broadcast: "broadcast from rank \(root) of \(count) bytes"
    case .gather: "gather of \(count) bytes"
    case .barrier: "barrier"
    case .hostMemory: "host memory"
    case .finish: "the end of the job"
    case .exchange: "exchange of \(count) floats between hosts"
    }
  }
}

/// The place in the program that makes a call: file and line, or a label such as a bucket's name.
public struct CallSite: Sendable, CustomStringConvertible {
  private let name: StaticString
  private let line: UInt32

  public init(file: StaticString, line: UInt32) {
    name = file
    self.line = line
  }

  public init(label: StaticString) { self.init(file: label, line: 0) }

  public var description: String { line == 0 ? "\(name)" : "\(name):\(line)" }

  /// Writes the text into `buffer`, cut to its size and filled up with zeros; nothing is allocated.
  func write(into buffer: UnsafeMutableRawBufferPointer) {
    guard let base = buffer.baseAddress else { return }
    // Room for a colon and the ten digits that a line number may have. Of a long path the end tells more.
    let count = min(name.utf8CodeUnitCount, buffer.count - 11)
    base.copyMemory(from: name.utf8Start + (name.utf8CodeUnitCount - count), byteCount: count)
    var end = count
    if line > 0 {
      var digits = 1
      var power: UInt32 = 10
      while digits < 10, line >= power {
        digits += 1
        power = power &* 10
      }
      buffer[end] = UInt8(ascii: ":")
      var rest = line
      for place in stride(from: end + digits, to: end, by: -1) {
        buffer[place] = UInt8(ascii: "0") + UInt8(rest % 10)
        rest /= 10
      }
      end += digits + 1
    }
    (base + end).initializeMemory(as: UInt8.self, repeating: 0, count: buffer.count - end)
  }
}
