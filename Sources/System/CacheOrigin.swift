/// Where a folder or file in the cache of the Hugging Face hub comes from: its path tells.
public struct CacheOrigin: Sendable, Equatable {
  /// `models`, `datasets`.
  public var kind: String
  /// `google-bert/bert-base-uncased`.
  public var id: String
  public var commit: String
  /// The path in the repository; empty for the whole.
  public var file: String

  /// Nil where `path` is not `…/models--ORG--NAME/snapshots/COMMIT` or something in it.
  public init?(path: String) {
    let parts = path.split(separator: "/").map(String.init)
    guard let index = parts.indices.last(where: { parts[$0] == "snapshots" }), index > 0, index + 1 < parts.count
    else { return nil }
    let folder = parts[index - 1]
    guard let kind = ["models", "datasets"].first(where: { folder.hasPrefix("\($0)--") }) else { return nil }
    self.kind = kind
    id = String(folder.dropFirst(kind.utf8.count + 2)).replacing("--", with: "/")
    commit = parts[index + 1]
    file = parts[(index + 2)...].joined(separator: "/")
  }

  /// The name with its commit, as `./launch` takes it.
  public var name: String { "\(id)@\(commit)" }

  /// What a person calls what is at `path`: its name on the hub with the start of its commit, or the path.
  public static func shown(_ path: String) -> String {
    guard let origin = CacheOrigin(path: path) else { return path }
    let name = "\(origin.id)@\(origin.commit.prefix(7))"
    return origin.file.isEmpty ? name : "\(name)/\(origin.file)"
  }
}
