import Glibc
import System

/// A repository in the cache, as `./launch cache` shows it.
public struct CachedRepository: Sendable {
  /// `model` or `dataset`; another kind of huggingface_hub's as it is.
  public var kind: String
  public var id: String
  public var path: String
  /// Revisions by name, with their commits.
  public var refs: [(name: String, commit: String)]
  public var commits: [String]
  /// Blobs by the name that tells their hash, with their sizes.
  public var blobs: [(name: String, byteCount: Int)]
  /// Names of files that are not whole.
  public var incomplete: [String]

  public var byteCount: Int { blobs.reduce(0) { $0 + $1.byteCount } }
}

extension HubCache {
  /// All repositories, by kind and name.
  public func repositories() -> [CachedRepository] {
    System.names(in: path).sorted().compactMap { name in
      let folder = "\(path)/\(name)"
      let parts = name.utf8.split(separator: UInt8(ascii: "-"), maxSplits: 1, omittingEmptySubsequences: false)
      guard let kind = parts.first.map({ String(decoding: $0, as: UTF8.self) }), kind.hasSuffix("s"),
        name.hasPrefix("\(kind)--"), isDirectory("\(folder)/snapshots") || isDirectory("\(folder)/blobs")
      else { return nil }
      var repository = CachedRepository(
        kind: String(kind.dropLast()), id: String(name.dropFirst(kind.utf8.count + 2)).replacing("--", with: "/"),
        path: folder, refs: [], commits: names(in: "\(folder)/snapshots").sorted(), blobs: [], incomplete: [])
      for ref in files(in: "\(folder)/refs") {
        guard let bytes = try? readBytes("\(folder)/refs/\(ref)", limitBytes: 64) else { continue }
        repository.refs.append((ref, String(decoding: bytes.prefix { $0 > 0x20 }, as: UTF8.self)))
      }
      for blob in names(in: "\(folder)/blobs").sorted() {
        if blob.hasSuffix(".incomplete") {
          repository.incomplete.append(blob)
        } else {
          repository.blobs.append((blob, Self.byteCount("\(folder)/blobs/\(blob)") ?? 0))
        }
      }
      return repository
    }
  }

  private static func byteCount(_ path: String) -> Int? {
    var info = stat()
    return stat(path, &info) == 0 ? Int(info.st_size) : nil
  }

  /// The files in a folder and the folders in it, as paths inside it, sorted.
  func files(in folder: String, depth: Int = 0) -> [String] {
    guard depth < 16 else { return [] }
    return System.names(in: folder).sorted().flatMap { name -> [String] in
      let path = "\(folder)/\(name)"
      var info = stat()
      if lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR {
        return files(in: path, depth: depth + 1).map { "\(name)/\($0)" }
      }
      return exists(path) ? [name] : []
    }
  }

  /// What is wrong with a repository, after reading all of it: blobs with other bytes than their names say, files of
  /// snapshots without a blob, refs without a snapshot.
  ///
  /// - Parameter removes: removes wrong blobs and the links to them, so that they are fetched again.
  public func problems(of repository: CachedRepository, removes: Bool = false) -> [String] {
    var found: [String] = []
    var bad: Set<String> = []
    for blob in repository.blobs where isHex(blob.name, count: 40) || isHex(blob.name, count: 64) {
      let path = "\(repository.path)/blobs/\(blob.name)"
      do throws(Failure) {
        if try HubDigest.isGood(path, etag: blob.name) { continue }
        found.append("blobs/\(blob.name) has other bytes than its name says" + (removes ? ", removed" : ""))
        bad.insert(blob.name)
        if removes { unlink(path) }
      } catch { found.append("\(error)") }
    }
    for commit in repository.commits {
      found += problems(ofSnapshot: "\(repository.path)/snapshots/\(commit)", commit, bad, removes: removes)
    }
    for ref in repository.refs where !repository.commits.contains(ref.commit) {
      found.append("refs/\(ref.name) names \(ref.commit), of which there is no snapshot")
    }
    return found
  }

  private func problems(
    ofSnapshot folder: String, _ commit: String, _ bad: Set<String>, removes: Bool, depth: Int = 0
  ) -> [String] {
    guard depth < 16 else { return [] }
    return System.names(in: folder).sorted().flatMap { name -> [String] in
      let path = "\(folder)/\(name)"
      var info = stat()
      guard lstat(path, &info) == 0 else { return [] }
      switch info.st_mode & S_IFMT {
      case S_IFDIR: return problems(ofSnapshot: path, "\(commit)/\(name)", bad, removes: removes, depth: depth + 1)
      case S_IFLNK where !exists(path):
        if removes { unlink(path) }
        let blob = lastComponent(of: target(path))
        return bad.contains(blob) ? [] : ["snapshots/\(commit)/\(name) leads to \(blob), which is not there"]
      default: return []
      }
    }
  }

  private func target(_ path: String) -> String {
    var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink(path, &bytes, bytes.count)
    return String(decoding: bytes.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
