import System

/// A repository of the hub, by its name: `bert-base-uncased`, or `google-bert/bert-base-uncased`.
public struct HubRepo: Sendable, Hashable {
  public enum Kind: String, Sendable, CaseIterable { case model, dataset }

  public var kind: Kind
  /// As the user wrote it.
  public var id: String

  /// Nil where `id` cannot be a name on the hub.
  ///
  /// The rule is huggingface_hub's: one or two parts of letters, digits, `-`, `_` and `.`, none of them with two dashes or
  /// points on end or with one at an end; 96 bytes at most.
  public init?(_ kind: Kind, id: String) {
    let parts = id.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), id.utf8.count <= 96, !id.hasSuffix(".git") else { return nil }
    let isEdge = { (byte: UInt8?) in byte == nil || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".") }
    for part in parts {
      let bytes = Array(part)
      guard !isEdge(bytes.first), !isEdge(bytes.last), bytes.allSatisfy(Self.isOfName) else { return nil }
      for (byte, next) in zip(bytes, bytes.dropFirst()) where byte == next && isEdge(byte) { return nil }
    }
    self.kind = kind
    self.id = id
  }

  private static func isOfName(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
    default: false
    }
  }

  /// Its folder in the cache: `models--google-bert--bert-base-uncased`.
  public var folderName: String { "\(kind.rawValue)s--\(id.replacing("/", with: "--"))" }

  /// Before the name in the address of a file.
  var addressPrefix: String { kind == .model ? "" : "\(kind.rawValue)s/" }
}

/// What a user asks for: `NAME` or `NAME@REVISION`.
public struct HubName: Sendable, Hashable {
  public var repo: HubRepo
  /// A branch, a tag or a commit.
  public var revision: String

  public static let standardRevision = "main"

  /// - Parameter revision: given apart from the name; nil where it was not.
  /// - Throws: `.usage` for a name that cannot be one of the hub, and for two revisions.
  public init(_ kind: HubRepo.Kind, _ text: String, revision: String? = nil) throws(Failure) {
    let at = text.utf8.firstIndex(of: UInt8(ascii: "@"))
    let name = at.map { String(text[..<$0]) } ?? text
    let own = at.map { String(text[text.utf8.index(after: $0)...]) }
    guard let repo = HubRepo(kind, id: name) else {
      throw Failure(
        .usage, at: name, "is neither a folder nor a name on the hub",
        hint: "expected a folder, or ORGANIZATION/NAME with letters, digits, -, _ and .")
    }
    if let own, let revision, own != revision {
      throw Failure(.usage, at: "--revision", "\(revision), but the name has @\(own), expected one of them")
    }
    self.repo = repo
    self.revision = own ?? revision ?? Self.standardRevision
    guard isPlainPath(self.revision) else {
      throw Failure(.usage, at: "--revision", "\"\(self.revision)\", expected a branch, a tag or a commit")
    }
  }
}

/// Whether `text` is so many hexadecimal digits, none of them a capital.
func isHex(_ text: String, count: Int) -> Bool {
  text.utf8.count == count
    && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
}

/// Whether `path` stays in the folder that it is relative to, and is one that messages can show.
func isPlainPath(_ path: String) -> Bool {
  let parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
  return path.utf8.count <= 1024
    && parts.allSatisfy { part in
      !part.isEmpty && !part.elementsEqual(".".utf8) && !part.elementsEqual("..".utf8)
        && part.count <= 255 && part.allSatisfy { $0 >= 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "\\") }
    }
}
