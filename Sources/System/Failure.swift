/// The exit statuses of every program of the package. None collides with a shell's 128 + signal, with mpirun's own
/// (110, 205, 243, 255) or with a Swift trap's 132.
///
/// A program of a user's own may end with any other from 1 to 255.
public struct ExitStatus: RawRepresentable, Hashable, Sendable, CaseIterable {
  public let rawValue: Int32

  public init(rawValue: Int32) { self.rawValue = rawValue }

  public static let success = ExitStatus(rawValue: 0)
  /// Options that are unknown, malformed or contradict each other.
  public static let usage = ExitStatus(rawValue: 64)
  /// A file's content is wrong: table, vocabulary, weights, checkpoint; or the numbers became NaN.
  public static let badData = ExitStatus(rawValue: 65)
  /// An input is missing or unreadable.
  public static let missingInput = ExitStatus(rawValue: 66)
  /// A host, ssh or MPI is not available.
  public static let unavailable = ExitStatus(rawValue: 69)
  /// A mistake of our own.
  public static let internalError = ExitStatus(rawValue: 70)
  /// An output cannot be created.
  public static let cannotCreate = ExitStatus(rawValue: 73)
  /// Reading or writing failed midway: no space, I/O error, closed output.
  public static let ioError = ExitStatus(rawValue: 74)
  /// A rank, a host or time was lost; starting again is right.
  public static let lost = ExitStatus(rawValue: 75)
  /// The ranks disagree; do not start again blindly.
  public static let disagreement = ExitStatus(rawValue: 76)
  /// Not permitted: root without consent, an unsafe file mode.
  public static let permission = ExitStatus(rawValue: 77)
  /// Configuration: YAML, hostfile, config.json.
  public static let configuration = ExitStatus(rawValue: 78)

  /// The statuses that the package's programs end with.
  public static let allCases: [ExitStatus] = [
    .success, .usage, .badData, .missingInput, .unavailable, .internalError, .cannotCreate,
    .ioError, .lost, .disagreement, .permission, .configuration,
  ]
}

/// An error of the outside world, in one line: the place, the thing with its value, and the way out.
///
/// Our own mistakes trap instead; what a user can mend is a `Failure`.
public struct Failure: Error, Sendable, Equatable, CustomStringConvertible {
  public var status: ExitStatus
  /// Where: `train.tsv:17:3`, or a tensor or option; nil where the message says it.
  public var place: String?
  /// What is wrong, with the offending value and what was expected.
  public var message: String
  /// How to mend it, where that is not obvious.
  public var hint: String?
  /// What kind of mistake it is, where the program that prints it may know a better way out than `hint`: an option of its
  /// own.
  public var cause: Cause?

  /// A kind of mistake. Whoever makes failures of a kind names it, in an extension.
  public struct Cause: Hashable, Sendable {
    public let name: String
    public init(_ name: String) { self.name = name }
  }

  public init(
    _ status: ExitStatus, at place: String? = nil, _ message: String, hint: String? = nil, cause: Cause? = nil
  ) {
    self.status = status
    self.place = place
    self.message = message
    self.hint = hint
    self.cause = cause
  }

  /// One line; control characters in quoted values are escaped so that a file cannot write to the terminal, and long values
  /// are cut so that it cannot fill it.
  public var description: String {
    let text = (place.map { "\(cut($0)): " } ?? "") + cut(message) + (hint.map { " (\(cut($0)))" } ?? "")
    return text.escapingControlCharacters
  }

  private static let longestPart = 600

  /// `part`, without its middle where it is long.
  private func cut(_ part: String) -> String {
    guard part.utf8.count > Self.longestPart else { return part }
    let scalars = part.unicodeScalars
    let half = Self.longestPart / 2
    return String(scalars.prefix(half)) + " … " + String(scalars.suffix(half))
  }
}

extension String {
  /// This text, fit for one terminal line: each control character (C0, DEL, C1), line or paragraph separator and format
  /// character is written as `\u{…}`. Format characters are those that show nothing and change how the text around them
  /// looks, such as the marks for text from right to left.
  public var escapingControlCharacters: String { escapingControlCharacters(except: []) }

  /// The same, but characters in `kept` stay.
  public func escapingControlCharacters(except kept: Set<Unicode.Scalar>) -> String {
    let isEscaped = { (scalar: Unicode.Scalar) in scalar.isInvisible && !kept.contains(scalar) }
    guard unicodeScalars.contains(where: isEscaped) else { return self }
    var result = ""
    for scalar in unicodeScalars {
      if isEscaped(scalar) {
        result += "\\u{\(String(scalar.value, radix: 16))}"
      } else {
        result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}

extension Unicode.Scalar {
  /// Whether it shows nothing by itself and could change the line that it stands in.
  fileprivate var isInvisible: Bool {
    if (0x20...0x7E).contains(value) { return false }
    return switch properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator: true
    default: false
    }
  }
}
