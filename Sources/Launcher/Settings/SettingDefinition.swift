import System

/// What is said of one setting, whatever its type: see ``Setting``.
public struct SettingDefinition: Sendable {
  public enum Kind: Sendable, Equatable {
    case integer(ClosedRange<Int>)
    case decimal(ClosedRange<Double>)
    case boolean
    /// A text that may start with `~`.
    case path
    case choice([String])
    /// Networks or interfaces.
    case networks
    /// Names of environment variables.
    case variables
    /// Names of hosts.
    case hosts
    /// Ranks or ranges of them.
    case ranks
    /// Texts that may hold commas: one a flag.
    case words

    /// Whether there may be several values.
    var isList: Bool {
      switch self {
      case .networks, .variables, .hosts, .ranks, .words: true
      case .integer, .decimal, .boolean, .path, .choice: false
      }
    }
  }

  /// Its name in texts and in the order of files.
  public var name: String
  public var kind: Kind
  /// The flag without its dashes: `num_processes` is `--num_processes`.
  public var flag: String
  /// Further flags that mean the same.
  public var aliases: [String] = []
  public var short: Character?
  /// Environment variables that set it, the strongest first.
  public var variables: [String] = []
  /// Variables of MPI that set it where nothing else does, the strongest first.
  public var variablesOfMPI: [String] = []
  /// Where it stands in a configuration file.
  public var path: [String] = []
  /// What `--help` says.
  public var help: String = ""

  /// Checks `text`, which stands at `place`; `status` is the status of the refusal, `environment` says what `~` is.
  func value(
    _ text: String, at place: String, status: ExitStatus, _ environment: Environment
  ) throws(Failure) -> SettingValue {
    func refuse(_ expected: String, hint: String? = nil) -> Failure {
      Failure(status, at: place, "\"\(text.shortened)\", expected \(expected)", hint: hint)
    }
    switch kind {
    case .integer(let range):
      let digits = text.utf8.first == UInt8(ascii: "-") ? text.utf8.dropFirst() : text.utf8[...]
      let isPlain =
        !digits.isEmpty && digits.allSatisfy { (0x30...0x39).contains($0) }
        && (digits.first != 0x30 || digits.count == 1)
      guard isPlain, let number = Int(text), range ~= number else {
        throw refuse("a whole number from \(range.lowerBound) to \(range.upperBound)")
      }
      return .integer(number)
    case .decimal(let range):
      let isPlain = text.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == UInt8(ascii: ".") }
      guard isPlain, let number = Double(text), range ~= number else {
        throw refuse("a number from \(range.lowerBound) to \(range.upperBound)")
      }
      return .decimal(number)
    case .boolean:
      switch text.lowercased() {
      case "y", "yes", "t", "true", "on", "1": return .boolean(true)
      case "n", "no", "f", "false", "off", "0": return .boolean(false)
      default: throw refuse("true or false")
      }
    case .choice(let choices):
      let found = text.lowercased()
      if choices.contains(found) { return .text(found) }
      let hint =
        name == Setting.mixedPrecision.name && ["fp16", "fp8"].contains(found)
        ? "\(found) needs a GPU; CPUs have bf16" : nearest(to: found, among: choices).map { "did you mean \($0)?" }
      throw refuse(choices.joined(separator: " or "), hint: hint)
    case .path:
      guard !text.isEmpty else { throw refuse("a text that is not empty") }
      guard !text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { throw refuse("no control characters") }
      return .text(try expandingHome(text, environment))
    case .networks, .variables, .hosts, .ranks:
      let items = text.utf8.split(separator: UInt8(ascii: ",")).map { String(Substring($0)) }
      for item in items { try checkItem(item, at: place, status: status) }
      return .list(items)
    case .words:
      return .list([text])
    }
  }

  /// Checks one value of a list, which stands at `place`.
  func checkItem(_ text: String, at place: String, status: ExitStatus) throws(Failure) {
    let isFine: Bool
    let expected: String
    switch kind {
    case .networks:
      isFine = text.utf8.allSatisfy { isLetterOrDigit($0) || "./:_-".utf8.contains($0) }
      expected = "a network as 10.0.0.0/24 or an interface as eth0"
    case .variables:
      isFine = text.utf8.allSatisfy { isLetterOrDigit($0) || $0 == UInt8(ascii: "_") }
      expected = "the name of a variable, without value"
    case .hosts:
      _ = try HostName(text, at: place)
      return
    case .ranks:
      isFine = text.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-") }
      expected = "ranks as 0 or 2-3"
    case .words:
      isFine = !text.utf8.contains(0)
      expected = "text without NUL"
    case .integer, .decimal, .boolean, .path, .choice: return
    }
    guard isFine, kind == .words || !text.isEmpty && text.utf8.first != UInt8(ascii: "-") else {
      throw Failure(status, at: place, "\"\(text.shortened)\", expected \(expected)")
    }
  }
}

private func isLetterOrDigit(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
    UInt8(ascii: "a")...UInt8(ascii: "z"):
    true
  default: false
  }
}
