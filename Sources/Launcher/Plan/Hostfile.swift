import Glibc
import System

/// One line of a hostfile.
public struct HostEntry: Sendable, Equatable {
  public var name: HostName
  /// Ranks that the host takes; nil where the file leaves it open.
  public var slots: Int?
  public var user: String?
  public var port: Int?
  /// The line that it stands in, from 1.
  public var line: Int

  public init(name: HostName, slots: Int? = nil, user: String? = nil, port: Int? = nil, line: Int = 0) {
    self.name = name
    self.slots = slots
    self.user = user
    self.port = port
    self.line = line
  }
}

/// A cluster as an Open MPI hostfile: `host [slots=N] [max_slots=N] [username=U] [port=P]` a line, with `#`, `//` and
/// `/* */` comments.
///
/// Read here and written afresh for mpirun, whose own reader takes `slots=99999999999`, passes `-oProxyCommand=…` to ssh,
/// and after a byte order mark runs everything on this machine and reports success.
public struct Hostfile: Sendable, Equatable {
  public var entries: [HostEntry]
  /// What is not wrong but unwise.
  public var warnings: [String] = []

  public static let mostSlots = 65_535
  /// Room for so many hosts with long names.
  public static let mostBytes = 16 << 20
  public static let mostHosts = 65_536

  /// Reads the file at `path`; `own` are the names of this machine.
  public init(path: String, ownName own: LocalHostNames? = nil) throws(Failure) {
    let bytes: [UInt8]
    do throws(Failure) { bytes = try readSettings(path, limitBytes: Self.mostBytes) } catch {
      throw Failure(.configuration, at: error.place, "the hostfile \(error.message)")
    }
    try self.init(bytes, path: path, ownName: own)
    if let danger = FileSafety.danger(path) {
      warnings.append("\(path): \(danger.who), and so decide where the job runs (\(danger.remedy))")
    }
  }

  /// Reads `bytes`, the content of `path`.
  public init(_ bytes: [UInt8], path: String, ownName own: LocalHostNames? = nil) throws(Failure) {
    func refuse(_ line: Int, _ column: Int, _ message: String, hint: String? = nil) -> Failure {
      Failure(.configuration, at: "\(path):\(line):\(column)", message, hint: hint)
    }
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
      throw refuse(1, 1, "starts with a byte order mark, expected plain text", hint: "save it as UTF-8 without BOM")
    }
    if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
      throw refuse(1, 1, "is UTF-16, expected plain text")
    }
    entries = []
    var seen: [String: Int] = [:]
    let own = own ?? LocalHostNames(hostName: "localhost")
    var ownLine: (name: String, line: Int)?
    var tokens = HostfileTokens(bytes)
    var isInComment = false
    while let words = try tokens.nextLine(isInComment: &isInComment, refuse: refuse) {
      guard let first = words.first else { continue }
      let entry = try HostEntry(words, line: tokens.line, path: path)
      let column = first.column
      if let earlier = seen[entry.name.folded] {
        throw refuse(
          tokens.line, column, "host \(entry.name) is listed already in line \(earlier)", hint: "add its slots there")
      }
      seen[entry.name.folded] = tokens.line
      if own.contains(entry.name.description) {
        if let ownLine {
          throw refuse(
            tokens.line, column, "\(entry.name) is this machine, as is \(ownLine.name) in line \(ownLine.line)",
            hint: "list it once")
        }
        ownLine = (entry.name.description, tokens.line)
      }
      guard entries.count < Self.mostHosts else {
        throw refuse(tokens.line, column, "names more than \(Self.mostHosts) hosts")
      }
      entries.append(entry)
    }
    if isInComment { throw refuse(tokens.line, 1, "ends inside a comment, expected */") }
    guard !entries.isEmpty else { throw refuse(1, 1, "names no host, expected a line such as `node1 slots=2`") }
  }
}

extension HostEntry {
  /// Reads the words of a line.
  fileprivate init(_ words: [HostfileTokens.Word], line: Int, path: String) throws(Failure) {
    func refuse(_ word: HostfileTokens.Word, _ message: String, hint: String? = nil) -> Failure {
      Failure(.configuration, at: "\(path):\(line):\(word.column)", message, hint: hint)
    }
    var name = words[0].text
    var user: String?
    if let at = name.utf8.firstIndex(of: UInt8(ascii: "@")) {
      user = try Self.userName(String(name[..<at]), words[0], refuse)
      name = String(name[name.utf8.index(after: at)...])
    }
    self.init(name: try HostName(name, at: "\(path):\(line):\(words[0].column)"), user: user, line: line)
    var limit: (Int, HostfileTokens.Word)?
    var given: Set<String> = []
    var index = 1
    while index < words.count {
      let key = words[index]
      guard index + 2 < words.count, words[index + 1].text == "=" else {
        throw refuse(key, "\"\(key.text.shortened)\" has no value, expected KEY=VALUE", hint: "such as slots=2")
      }
      let value = words[index + 2]
      index += 3
      let meaning: String
      switch key.text {
      case "slots", "slot_count", "count", "cpu", "cpus": meaning = "slots"
      case "max_slots", "max-slots": meaning = "max_slots"
      case "username", "user", "user_name": meaning = "username"
      case "port": meaning = "port"
      default:
        let near = nearest(to: key.text, among: ["slots", "max_slots", "username", "port"])
        throw refuse(
          key, "unknown key \"\(key.text.shortened)\", expected slots, max_slots, username or port",
          hint: near.map { "did you mean \($0)?" })
      }
      guard given.insert(meaning).inserted else { throw refuse(key, "\(meaning) is given twice") }
      switch meaning {
      case "slots": slots = try Self.number(value, meaning, upTo: Hostfile.mostSlots, refuse)
      case "max_slots": limit = (try Self.number(value, meaning, upTo: Hostfile.mostSlots, refuse), value)
      case "port": port = try Self.number(value, meaning, upTo: 65_535, refuse)
      default:
        if self.user != nil { throw refuse(key, "the user is given twice") }
        self.user = try Self.userName(value.text, value, refuse)
      }
    }
    if let (limit, word) = limit {
      guard limit >= slots ?? 1 else {
        throw refuse(word, "max_slots=\(limit) is less than slots=\(slots ?? 1), expected at least as many")
      }
    }
  }

  private static func number(
    _ word: HostfileTokens.Word, _ key: String, upTo limit: Int,
    _ refuse: (HostfileTokens.Word, String, String?) -> Failure
  ) throws(Failure) -> Int {
    let isNumber = !word.text.isEmpty && word.text.utf8.allSatisfy { (0x30...0x39).contains($0) }
    guard isNumber, let value = Int(word.text), 1...limit ~= value else {
      throw refuse(word, "\(key)=\(word.text.shortened), expected 1 to \(limit)", nil)
    }
    return value
  }

  private static func userName(
    _ text: String, _ word: HostfileTokens.Word, _ refuse: (HostfileTokens.Word, String, String?) -> Failure
  ) throws(Failure) -> String {
    let isPlain = text.utf8.allSatisfy { byte in
      (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
        || byte == 0x2E || byte == 0x2D || byte == 0x5F
    }
    guard !text.isEmpty, isPlain, text.utf8.first != 0x2D else {
      throw refuse(word, "user name \"\(text.shortened)\", expected letters, digits, dots, dashes and underscores", nil)
    }
    return text
  }
}
