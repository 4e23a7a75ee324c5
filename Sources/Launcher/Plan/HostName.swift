import System

/// The name of a host that cannot be mistaken for anything else: not for an option of ssh, not for shell text, not for a
/// list. Letters, digits, dots and dashes, letters or digits at the ends, at most 253 characters.
///
/// Open MPI's own names know no `_` and no IPv6 address either.
public struct HostName: Sendable, Hashable, CustomStringConvertible {
  public let description: String

  /// - Parameters:
  ///   - place: where the name stands, for the error.
  public init(_ text: String, at place: String?) throws(Failure) {
    let bytes = Array(text.utf8)
    func refuse(_ why: String, hint: String? = nil) -> Failure {
      Failure(.configuration, at: place, "host name \"\(text.shortened)\" \(why)", hint: hint)
    }
    guard !bytes.isEmpty else { throw refuse("is empty") }
    guard bytes.count <= 253 else { throw refuse("has \(bytes.count) characters, expected at most 253") }
    if bytes[0] == UInt8(ascii: "-") { throw refuse("starts with a dash; ssh would take it for an option") }
    if bytes[0] == UInt8(ascii: "+") || bytes[0] == UInt8(ascii: "^") {
      throw refuse("is relative to another list, expected a plain name")
    }
    let colons = bytes.count { $0 == UInt8(ascii: ":") }
    if colons == 1 { throw refuse("has a colon, expected slots after the name", hint: "NAME slots=N") }
    if colons > 1 {
      throw refuse("is an IPv6 address, which Open MPI does not take", hint: "give it a name in /etc/hosts")
    }
    let isAlphanumeric = { (byte: UInt8) in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"):
        true
      default: false
      }
    }
    if let odd = text.unicodeScalars.first(where: {
      !($0.isASCII && (isAlphanumeric(UInt8($0.value)) || $0 == "." || $0 == "-"))
    }) {
      let what = odd == "_" ? "_, which Open MPI does not take" : "\"\(odd)\""
      throw refuse("has \(what), expected letters, digits, dots and dashes")
    }
    guard isAlphanumeric(bytes[0]), isAlphanumeric(bytes[bytes.count - 1]) else {
      throw refuse("begins or ends with a dot or dash")
    }
    description = text
  }

  /// The name for comparisons: hosts do not differ by case alone.
  package var folded: String { description.lowercased() }
}
