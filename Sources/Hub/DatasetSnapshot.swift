import JSON
import System

/// What the hub says of a repository: its commit, and its files.
public struct RepositoryListing: Sendable, Equatable {
  public var commit: String
  public var files: [String]

  /// The most files that are read of a list.
  static let limitFiles = 1_000_000

  /// Reads an answer of `/api/models/NAME/revision/REVISION`: `{"sha": …, "siblings": [{"rfilename": …}, …]}`.
  ///
  /// - Throws: `.badData` where it is none, with line and column. Names that lead out of the repository are refused.
  public init(_ bytes: [UInt8], path: String) throws(Failure) {
    let root = try JSONDocument(bytes, path: path, status: .badData).root
    guard let sha = try root.member("sha") else { throw root.failure("has no key \"sha\"") }
    commit = try sha.string()
    guard isHex(commit, count: 40) else { throw sha.unexpected("40 hexadecimal digits") }
    files = []
    for sibling in try root.member("siblings")?.elements() ?? [] {
      guard let name = try sibling.member("rfilename") else { throw sibling.failure("has no key \"rfilename\"") }
      let file = try name.string()
      guard isPlainPath(file) else { throw name.unexpected("a path inside the repository") }
      files.append(file)
      guard files.count <= Self.limitFiles else { throw sibling.failure("more than \(Self.limitFiles) files") }
    }
  }

  init(commit: String, files: [String]) { (self.commit, self.files) = (commit, files) }
}

/// The tables of a data set, as local files.
public struct DatasetTables: Sendable, Equatable {
  public var snapshot: HubSnapshot
  public var train: String
  public var validation: String
  /// Nil where there is none.
  public var test: String?
}

/// Which files of a data set's repository are its splits.
struct DatasetFiles {
  /// What readers exist for.
  static let suffixes = ["tsv", "csv", "jsonl"]
  private static let stems: [(split: String, names: [String])] = [
    ("train", ["train"]), ("validation", ["validation", "valid", "val", "dev"]), ("test", ["test"]),
  ]

  /// - Parameters:
  ///   - files: all files of the repository.
  ///   - configuration: the folder of the part that is wanted; nil where the repository has one part.
  ///   - place: the name of the data set, for messages.
  /// - Returns: the path of each split's file.
  static func splits(
    of files: [String], configuration: String?, place: String
  ) throws(Failure) -> (train: String, validation: String, test: String?) {
    let inside = files.filter { file in configuration.map { file.hasPrefix("\($0)/") } ?? true }
    if inside.isEmpty, let configuration {
      throw Failure(.missingInput, at: place, "has no folder \(configuration)", hint: "--dataset-config names one")
    }
    func file(_ index: Int) throws(Failure) -> String? {
      let (split, names) = stems[index]
      let found = inside.filter { file in
        let base = lastComponent(of: file)
        guard let dot = base.utf8.lastIndex(of: UInt8(ascii: ".")) else { return false }
        let stem = base[..<dot].lowercased()
        return suffixes.contains(base[base.utf8.index(after: dot)...].lowercased()) && names.contains(stem)
      }
      guard found.count <= 1 else {
        throw Failure(
          .usage, at: place, "has \(found.count) \(split) files: \(found.prefix(4).joined(separator: ", "))",
          hint: "--dataset-config names the folder to take")
      }
      return found.first
    }
    let (train, validation, test) = (try file(0), try file(1), try file(2))
    guard let train, let validation else {
      let missing = train == nil ? "train" : "validation"
      if inside.contains(where: { $0.lowercased().hasSuffix(".parquet") }) {
        throw Failure(
          .badData, at: place,
          "holds its rows as Parquet, which is not read: there is no well-kept reader of it in Swift",
          hint: "in Python, load_dataset(\"\(place)\")[\"train\"].to_json(\"train.jsonl\") and --train-file train.jsonl"
        )
      }
      let list = inside.prefix(6).joined(separator: ", ")
      throw Failure(
        .missingInput, at: place,
        "has no \(missing).tsv, \(missing).csv or \(missing).jsonl, found \(list.isEmpty ? "nothing" : list)",
        hint: "--train-file and --validation-file name files of any name")
    }
    return (train, validation, test)
  }
}

extension HubClient {
  /// The tables of a data set, with what is missing fetched.
  ///
  /// - Parameter configuration: the folder of the part that is wanted, where there are several.
  public func dataset(_ name: HubName, configuration: String? = nil) throws(Failure) -> DatasetTables {
    let repo = name.repo
    let listing = try listing(name)
    let files = try DatasetFiles.splits(of: listing.files, configuration: configuration, place: repo.id)
    var snapshot = HubSnapshot(
      repo: repo, commit: listing.commit, path: cache.snapshot(repo, commit: listing.commit), files: [])
    for file in [files.train, files.validation, files.test].compactMap(\.self) {
      guard try want(file, &snapshot) else {
        throw Failure(.missingInput, at: repo.id, "has no \(file), which its list names", hint: "start again")
      }
    }
    try cache.setRef(repo, revision: name.revision, commit: listing.commit)
    return DatasetTables(
      snapshot: snapshot, train: "\(snapshot.path)/\(files.train)",
      validation: "\(snapshot.path)/\(files.validation)", test: files.test.map { "\(snapshot.path)/\($0)" })
  }

  /// The commit and files of a repository, from the server or, where that cannot be reached, from the cache.
  func listing(_ name: HubName) throws(Failure) -> RepositoryListing {
    let (repo, revision) = (name.repo, name.revision)
    let cached = cachedListing(name)
    if isHex(revision, count: 40), let cached { return cached }
    if settings.isOffline {
      if let cached { return cached }
      throw Failure(
        .missingInput, at: repo.id, "is not in \(cache.folder(repo)), and HF_HUB_OFFLINE is set",
        hint:
          "on a machine with a network fetch it, and copy that folder; or --train-file and --validation-file name files"
      )
    }
    let path = "/api/\(repo.kind.rawValue)s/\(repo.id)/revision/\(Self.escapedRevision(revision))"
    do throws(Failure) {
      let bytes = try json(path, of: repo, revision: revision, tries: cached == nil ? Self.tries : 1)
      return try RepositoryListing(bytes, path: settings.endpoint + path)
    } catch {
      guard error.status == .unavailable, let cached else { throw error }
      progress.note(
        "note: \(error.place.map { "\($0): " } ?? "")\(error.message); taking what the cache has of \(repo.id)")
      return cached
    }
  }

  private func cachedListing(_ name: HubName) -> RepositoryListing? {
    guard let commit = cache.commit(name.repo, revision: name.revision) else { return nil }
    let files = cache.files(in: cache.snapshot(name.repo, commit: commit))
    return files.isEmpty ? nil : RepositoryListing(commit: commit, files: files)
  }
}
