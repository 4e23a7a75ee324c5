/// An address of a web server: `scheme://host:port/path`.
package struct WebAddress: Equatable, Sendable {
  package var scheme: String
  /// Host and port as they were written, in lower case; no user and no password.
  package var authority: String
  /// From the first slash on, with the query.
  package var path: String

  /// Nil where `text` is none of HTTP's.
  package init?(_ text: String) {
    let bytes = Array(text.utf8)
    guard bytes.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else { return nil }
    guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")), bytes[colon...].starts(with: "://".utf8) else {
      return nil
    }
    scheme = String(decoding: bytes[..<colon], as: UTF8.self).lowercased()
    guard scheme == "http" || scheme == "https" else { return nil }
    let rest = bytes[(colon + 3)...]
    let end =
      rest.firstIndex { [UInt8(ascii: "/"), UInt8(ascii: "?"), UInt8(ascii: "#")].contains($0) } ?? rest.endIndex
    let host = rest[..<end]
    // A name before the host would show in messages, and two readers might take different parts for the host.
    guard !host.isEmpty, !host.contains(UInt8(ascii: "@")), !host.contains(UInt8(ascii: "\\")) else { return nil }
    authority = String(decoding: host, as: UTF8.self).lowercased()
    path = String(decoding: rest[end...].prefix { $0 != UInt8(ascii: "#") }, as: UTF8.self)
  }

  package var text: String { "\(scheme)://\(authority)\(path)" }

  /// Scheme, host and port: what a token belongs to.
  package var origin: String {
    let standard = scheme == "https" ? ":443" : ":80"
    let host = authority.hasSuffix(standard) ? String(authority.dropLast(standard.utf8.count)) : authority
    return "\(scheme)://\(host)"
  }

  /// The host without its port.
  package var host: String {
    if authority.hasPrefix("[") { return String(authority.prefix { $0 != "]" }) + "]" }
    return String(authority.prefix { $0 != ":" })
  }

  /// Whether a header `Location` with this value stays on the server: a path, and not `//host/path`.
  package static func isRelative(_ location: String) -> Bool {
    !location.utf8.starts(with: "//".utf8) && !location.utf8.starts(with: "\\".utf8)
      && !location.utf8.starts(with: "/\\".utf8)
      && !location.prefix { $0 != "/" && $0 != "?" }.utf8.contains(UInt8(ascii: ":"))
  }

  /// Where a header `Location` with this value leads from here; nil where it is no address of HTTP's.
  package func following(_ location: String) -> WebAddress? {
    if location.utf8.starts(with: "//".utf8) { return WebAddress("\(scheme):\(location)") }
    guard Self.isRelative(location) else { return WebAddress(location) }
    if location.utf8.first == UInt8(ascii: "/") { return WebAddress("\(scheme)://\(authority)\(location)") }
    let bare = path.prefix { $0 != "?" }
    let folder = bare.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(bare[...$0]) } ?? "/"
    return WebAddress("\(scheme)://\(authority)\(folder)\(location)")
  }

  /// `text` with every byte that has a meaning in a path written as `%XX`; slashes stay.
  package static func escaped(_ text: String) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var result: [UInt8] = []
    for byte in text.utf8 {
      switch byte {
      case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x2F, 0x5F, 0x7E: result.append(byte)
      default: result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
    return String(decoding: result, as: UTF8.self)
  }
}
