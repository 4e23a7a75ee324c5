import Glibc
import System

/// Where the tables of a task of GLUE's can be had.
public struct GLUESource: Sendable {
  /// A file to fetch.
  public struct File: Sendable {
    /// Below the endpoint.
    public var path: String
    /// What it is called in the folder of the task; nil for an archive, whose tables are unpacked.
    public var name: String?
    /// The published SHA-256.
    public var sha256: String

    public init(_ path: String, name: String? = nil, sha256: String) {
      (self.path, self.name, self.sha256) = (path, name, sha256)
    }
  }

  /// The task's name, such as `mrpc`.
  public var task: String
  public var files: [File]
  /// A data set on the hub with the same rows, for when the files cannot be had; nil where none is known.
  public var copy: String?

  public init(task: String, files: [File], copy: String? = nil) {
    (self.task, self.files, self.copy) = (task, files, copy)
  }

  public static let standardEndpoint = "https://dl.fbaipublicfiles.com"

  /// All addresses in one place, for links rot. The sums are those that `datasets` published in its dataset_infos.json.
  /// Copies are of tasks with one file for each split: MNLI's second validation rows, AX and CoLA have none in JSON lines.
  public static let all: [GLUESource] = [
    GLUESource(
      task: "mrpc",
      files: [
        File(
          "/senteval/senteval_data/msr_paraphrase_train.txt", name: "msr_paraphrase_train.txt",
          sha256: "60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89"),
        File(
          "/senteval/senteval_data/msr_paraphrase_test.txt", name: "msr_paraphrase_test.txt",
          sha256: "a04e271090879aaba6423d65b94950c089298587d9c084bf9cd7439bd785f784"),
        File(
          "/glue/data/mrpc_dev_ids.tsv", name: "dev_ids.tsv",
          sha256: "971d7767d81b997fd9060ade0ec23c4fc31cbb226a55d1bd4a1bac474eb81dc7"),
      ], copy: "SetFit/mrpc"),
    GLUESource(
      task: "ax",
      files: [
        File(
          "/glue/data/AX.tsv", name: "diagnostic.tsv",
          sha256: "0e13510b1bb14436ff7e2ee82338f0efb0133ecf2e73507a697dc210db3f05fd")
      ]),
    archive("cola", "CoLA", "f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff"),
    archive("sst2", "SST-2", "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa", copy: "SetFit/sst2"),
    archive("qqp", "QQP-clean", "40e7c862c04eb26ee04b67fd900e76c45c6ba8e6d8fab4f8f1f8072a1a3fbae0", copy: "SetFit/qqp"),
    archive("stsb", "STS-B", "e60a6393de5a8b5b9bac5020a1554b54e3691f9d600b775bd131e613ac179c85", copy: "SetFit/stsb"),
    archive("mnli", "MNLI", "e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633"),
    archive("qnli", "QNLIv2", "e634e78627a29adaecd4f955359b22bf5e70f2cbd93b493f2d624138a0c0e5f5", copy: "SetFit/qnli"),
    archive("rte", "RTE", "6bf86de103ecd335f3441bd43574d23fef87ecc695977a63b82d5efb206556ee", copy: "SetFit/rte"),
    archive("wnli", "WNLI", "ae0e8e4d16f4d46d4a0a566ec7ecceccfd3fbfaa4a7a4b4e02848c0f2561ac46", copy: "SetFit/wnli"),
  ]

  private static func archive(_ task: String, _ name: String, _ sha256: String, copy: String? = nil) -> GLUESource {
    GLUESource(task: task, files: [File("/glue/data/\(name).zip", sha256: sha256)], copy: copy)
  }
}

extension HubClient {
  /// The folder of a task's tables in the cache, fetched from ``HubSettings/glueEndpoint`` where they are not there, or
  /// else from the copy on the hub.
  ///
  /// They lie as a data set of the hub's does, under a name that begins with the server's, which no name on the hub does.
  /// The commit is made of the files' names and hashes.
  ///
  /// Published sums count where the user did not name another server.
  ///
  /// - Parameter check: refuses a folder with the task's tables, before it gets its name.
  public func glue(
    _ source: GLUESource, check: (_ folder: String) throws(Failure) -> Void
  ) throws(Failure) -> String {
    let host = WebAddress(settings.glueEndpoint)?.authority ?? "glue"
    let owner = String(decoding: host.utf8.map { $0 == UInt8(ascii: ":") ? UInt8(ascii: "_") : $0 }, as: UTF8.self)
    guard let repo = HubRepo(.dataset, id: "\(owner)/glue-\(source.task)") else {
      throw Failure(.usage, at: settings.glueEndpoint, "is no address of a host", hint: "LOCKSTEP_GLUE_ENDPOINT")
    }
    func cached() -> String? {
      cache.commit(repo, revision: HubName.standardRevision).map { cache.snapshot(repo, commit: $0) }
        .flatMap { isDirectory($0) ? $0 : nil }
    }
    if let folder = cached() { return folder }
    // Whoever fetched it may not have counted its rows.
    if let folder = cachedCopy(of: source), (try? check(folder)) != nil { return folder }
    let names = source.files.compactMap(\.name).joined(separator: ", ")
    let bring = "put \(names.isEmpty ? "the task's TSV files" : names) into any folder, and give --data that folder"
    if settings.isOffline {
      throw Failure(
        .missingInput, at: source.task, "its tables are not in \(cache.folder(repo)), and HF_HUB_OFFLINE is set",
        hint: "on a machine with a network fetch them, and copy that folder; or \(bring)")
    }
    try cache.prepare(repo)
    let lock = try HubLock("\(settings.cache)/.locks/\(repo.folderName)/tables.lock") {
      progress.note("waiting for another process, which fetches the tables of \(source.task)")
    }
    return try withExtendedLifetime(lock) { () throws(Failure) in
      if let folder = cached() { return folder }
      do throws(Failure) { return try fetchGLUE(source, repo, check) } catch {
        // A disk that is full stays so.
        guard [.unavailable, .missingInput, .badData].contains(error.status) else { throw error }
        return try fetchCopy(of: source, after: error, bring: bring, check)
      }
    }
  }

  /// What the cache has of the task's copy, where it has all splits.
  private func cachedCopy(of source: GLUESource) -> String? {
    guard let copy = source.copy, let repo = HubRepo(.dataset, id: copy),
      let commit = cache.commit(repo, revision: HubName.standardRevision)
    else { return nil }
    let folder = cache.snapshot(repo, commit: commit)
    let files = try? DatasetFiles.splits(of: cache.files(in: folder), configuration: nil, place: copy)
    return files?.test == nil ? nil : folder
  }

  /// The folder of the task's copy on the hub, whose files the hub gives the hashes of.
  ///
  /// - Parameters:
  ///   - failure: why the first source would not do, which is said.
  ///   - bring: which files a person can bring.
  private func fetchCopy(
    of source: GLUESource, after failure: Failure, bring: String, _ check: (_ folder: String) throws(Failure) -> Void
  ) throws(Failure) -> String {
    var failure = failure
    let reason = "\(failure.place.map { "\($0): " } ?? "")\(failure.message)"
    if let copy = source.copy {
      progress.note("note: \(reason); taking \(copy) from \(settings.endpoint) instead")
      do throws(Failure) {
        let folder = try dataset(HubName(.dataset, copy)).snapshot.path
        try check(folder)
        return folder
      } catch {
        failure.message += ", and \(error.place.map { "\($0): " } ?? "")\(error.message)"
      }
    }
    failure.hint = "\(bring); LOCKSTEP_GLUE_ENDPOINT names another server"
    throw failure
  }

  private func fetchGLUE(
    _ source: GLUESource, _ repo: HubRepo, _ check: (_ folder: String) throws(Failure) -> Void
  ) throws(Failure) -> String {
    var tables: [(name: String, sha256: String)] = []
    for file in source.files {
      let stem = "\(cache.folder(repo))/blobs/\(lastComponent(of: file.path))"
      let partial = try cache.writing { () throws(Failure) in try PartialFile(stem) }
      let digest = FileDigest()
      try fetch(
        Wanted(
          name: "\(source.task)/\(lastComponent(of: file.path))",
          address: try address(settings.glueEndpoint, file.path), byteCount: nil, etag: nil),
        into: partial, restart: { digest.restart() }
      ) { digest.update($0) }
      let sha256 = digest.sha256.hexDigest
      guard sha256 == file.sha256 || !settings.checksGLUE else {
        throw Failure(
          .badData, at: "\(settings.glueEndpoint)\(file.path)",
          "arrived with other bytes: its SHA-256 is \(sha256), expected \(file.sha256)")
      }
      if let name = file.name {
        try cache.writing { () throws(Failure) in try partial.commit(as: cache.blob(repo, etag: sha256)) }
        tables.append((name, sha256))
      } else {
        tables += try unpack(partial.path, named: "\(settings.glueEndpoint)\(file.path)", repo)
      }
    }
    tables.sort { $0.name < $1.name }
    var identity = SHA1()
    for table in tables { identity.update(Array("\(table.name) \(table.sha256)\n".utf8)) }
    let commit = identity.hexDigest
    for table in tables { try cache.link(repo, commit: commit, table.name, etag: table.sha256) }
    let folder = cache.snapshot(repo, commit: commit)
    do throws(Failure) { try check(folder) } catch {
      for table in tables {
        unlink("\(folder)/\(table.name)")
        unlink(cache.blob(repo, etag: table.sha256))
      }
      rmdir(folder)
      throw error
    }
    try cache.setRef(repo, revision: HubName.standardRevision, commit: commit)
    return folder
  }

  /// Unpacks the tables in the first folder of an archive.
  private func unpack(
    _ path: String, named name: String, _ repo: HubRepo
  ) throws(Failure) -> [(name: String, sha256: String)] {
    let archive = try ZipArchive(readBytes(path), path: name)
    var tables: [(name: String, sha256: String)] = []
    for entry in archive.entries {
      let parts = entry.name.split(separator: "/", omittingEmptySubsequences: false)
      guard parts.count == 2, !parts[0].hasPrefix("_"), isPlainPath(entry.name), parts[1].hasSuffix(".tsv"),
        !tables.contains(where: { $0.name == parts[1] })
      else { continue }
      let bytes = try archive.bytes(of: entry)
      let sha256 = SHA256.hexDigest(bytes)
      try cache.writing { () throws(Failure) in try writeAtomically(bytes, to: cache.blob(repo, etag: sha256)) }
      tables.append((String(parts[1]), sha256))
    }
    guard !tables.isEmpty else {
      throw Failure(.badData, at: name, "holds no folder with .tsv files, expected GLUE's own archive")
    }
    return tables
  }
}

/// The digest of a file whose hash the server does not say.
private final class FileDigest {
  private(set) var sha256 = SHA256()

  func update(_ bytes: UnsafeRawBufferPointer) { sha256.update(bytes) }

  func restart() { sha256 = SHA256() }
}
