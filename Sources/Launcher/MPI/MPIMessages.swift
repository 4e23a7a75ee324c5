/// What mpirun itself says, apart from the output of the ranks: framed help texts of many lines.
///
/// What it says about ranks that ended is read for the facts and dropped; anything else is passed on as it is.
public struct MPIMessages: Sendable {
  /// What is known of the first rank that failed.
  public struct Fault: Sendable, Equatable {
    public var rank: Int?
    public var host: String?
    public var signal: Int32?
    /// The status that a rank ended with or gave to MPI_Abort.
    public var status: Int?
    /// Whether a rank called MPI_Abort.
    public var isAbort = false
    /// Whether a host could not be started on, or was lost.
    public var isHostLost = false
    public var isHostUnreachable = false
    /// Whether a rank ended with status 0 without saying goodbye to MPI.
    public var isUnfinished = false

    public init() {}
  }

  public private(set) var fault: Fault?
  private var pending: [UInt8] = []
  private var held: [UInt8] = []
  private var block: [[UInt8]]?
  private static let frame = [UInt8](repeating: UInt8(ascii: "-"), count: 74)
  private static let longestBlockLines = 200
  /// Longer lines are taken in pieces.
  private static let longestLine = 1 << 16
  private static let mostHeldBytes = 1 << 20

  public init() {}

  /// Takes the next bytes and returns what the user is to see.
  public mutating func read(_ bytes: some Sequence<UInt8>) -> [UInt8] {
    var shown: [UInt8] = []
    for byte in bytes {
      pending.append(byte)
      if byte == UInt8(ascii: "\n") || pending.count >= Self.longestLine {
        take(pending, &shown)
        pending = []
      }
    }
    return shown
  }

  /// Takes the end, and returns what is left to be seen.
  public mutating func finish() -> [UInt8] {
    var shown: [UInt8] = []
    if !pending.isEmpty { take(pending, &shown) }
    pending = []
    shown += (block ?? []).joined()
    block = nil
    if fault == nil { shown += held }
    held = []
    return shown
  }

  private mutating func take(_ line: [UInt8], _ shown: inout [UInt8]) {
    let isFrame = line.dropLast(line.last == UInt8(ascii: "\n") ? 1 : 0).elementsEqual(Self.frame)
    guard var block else {
      if isFrame { block = [line] } else { shown += line }
      return
    }
    block.append(line)
    if isFrame {
      let lines = block.dropFirst().dropLast().map { String(decoding: $0, as: UTF8.self) }
      let words = lines.joined(separator: " ").split(whereSeparator: \.isWhitespace).map(String.init)
      if !understand(words) {
        // Connections that fail are mostly the echo of a rank that ended: told if nothing else explains the end.
        if words.contains("TCP"), held.count < Self.mostHeldBytes {
          held += block.joined()
        } else {
          shown += block.joined()
        }
      }
      self.block = nil
    } else if block.count > Self.longestBlockLines {
      shown += block.joined()
      self.block = nil
    } else {
      self.block = block
    }
  }

  /// Reads one help text; false where it is none of those about ranks that ended.
  private mutating func understand(_ words: [String]) -> Bool {
    // Open MPI 5 says the same by other names.
    let first = ["prterun": "mpirun", "PRTE": "ORTE"]
    let words = words.prefix(1).map { first[$0] ?? $0 } + words.dropFirst()
    func starts(_ text: String) -> Bool { words.starts(with: text.split(separator: " ").map(String.init)) }
    func after(_ text: String) -> String? {
      let pattern = text.split(separator: " ").map(String.init)
      guard words.count > pattern.count else { return nil }
      return (0..<words.count - pattern.count).first { words[$0...].starts(with: pattern) }.map {
        words[$0 + pattern.count]
      }
    }
    var found = fault ?? Fault()
    if starts("Primary job terminated normally, but") {
      return true
    } else if starts("MPI_ABORT was invoked on rank") {
      if found.isAbort { return true }  // The first one counts.
      found.isAbort = true
      found.rank = after("on rank").flatMap(digits)
      found.status = after("errorcode").flatMap(digits)
    } else if starts("mpirun noticed that process rank") {
      guard !found.isAbort else { return true }
      found.rank = after("process rank").flatMap(digits)
      found.host = after("on node")
      found.signal = after("on signal").flatMap(digits).map { Int32(truncatingIfNeeded: $0) }
    } else if starts("mpirun detected that one or more processes exited with non-zero") {
      guard !found.isAbort else { return true }
      // `Process name: [[20318,1],1]`
      found.rank = after("Process name:").flatMap { $0.split(separator: ",").last }.flatMap { digits(String($0)) }
      found.status = after("Exit code:").flatMap(digits)
    } else if starts("mpirun has exited due to process rank") {
      guard !found.isAbort else { return true }
      found.rank = after("process rank").flatMap(digits)
      found.host = after("node")
      found.isUnfinished = true
    } else if starts("ORTE has lost communication with a remote daemon.") {
      // `Remote daemon: [[1,0],1] on node node2`
      found.isHostLost = true
      found.host = words.firstIndex(of: "Remote").flatMap { remote in
        words[remote...].firstIndex(of: "node").flatMap { $0 + 1 < words.count ? words[$0 + 1] : nil }
      }
    } else if starts("ORTE was unable to reliably start one or more daemons") {
      found.isHostUnreachable = true
    } else {
      return false
    }
    fault = found
    return true
  }

  /// The number that `word` starts with.
  private func digits(_ word: String) -> Int? { Int(word.prefix { $0.isASCII && $0.isNumber }) }
}
