import System

extension String {
  /// This text as a message quotes it: of a long one the start, and how long it is.
  package var shortened: String {
    let most = 80
    let count = utf8.count
    guard count > most else { return self }
    return String(String.UnicodeScalarView(unicodeScalars.prefix(most))) + "… (\(count) bytes)"
  }

  /// This text of several lines, fit for a terminal.
  public var escapingAllButLines: String { escapingControlCharacters(except: ["\n", "\t"]) }
}

/// Names and values of variables, of which some hold secrets.
public enum Secrets {
  private static let words = [
    "TOKEN", "JWT", "KEY", "PASS", "PWD", "SECRET", "CREDENTIAL", "AUTH", "BEARER", "COOKIE", "PRIVATE", "SIGNATURE",
  ]

  /// `value` as it may be shown under `name`, on one line: hidden where either looks like a secret.
  public static func shown(_ value: String, of name: String) -> String {
    isSecret(name) || isSecret(value) || value.contains("eyJ") || hasPassword(value)
      ? "(hidden)" : value.shortened.escapingControlCharacters
  }

  private static func isSecret(_ text: String) -> Bool {
    let text = text.uppercased()
    return words.contains { text.contains($0) }
  }

  /// Whether it holds an address such as `https://user:word@host`.
  private static func hasPassword(_ text: String) -> Bool {
    guard let scheme = text.utf8.firstIndex(ofText: "://") else { return false }
    return text.utf8[scheme...].contains(UInt8(ascii: "@"))
  }
}
