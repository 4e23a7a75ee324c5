import Glibc
import System

/// Where the tables of a task of GLUE's can be had, apart from the hub.
public struct GLUESource: Sendable {
  /// A file to fetch.
  public struct File: Sendable {
    /// Below the endpoint.
    public var path: String
    /// What it is called in the folder of the task; nil for an archive, whose tables are unpacked.
    public var name: String?
    /// A published MD5; nil where none is known.
    public var md5: String?

    public init(_ path: String, name: String? = nil, md5: String? = nil) {
      (self.path, self.name, self.md5) = (path, name, md5)
    }
  }

  /// The task's name, such as `mrpc`.
  public var task: String
  public var files: [File]

  public init(task: String, files: [File]) { (self.task, self.files) = (task, files) }

  public static let standardEndpoint = "https://dl.fbaipublicfiles.com"

  /// All addresses in one place, for links rot. The sums of MRPC's are those that `datasets` published.
  public static let all: [GLUESource] =
    [
      GLUESource(
        task: "mrpc",
        files: [
          File(
            "/senteval/senteval_data/msr_paraphrase_train.txt", name: "msr_paraphrase_train.txt",
            md5: "793daf7b6224281e75fe61c1f80afe35"),
          File(
            "/senteval/senteval_data/msr_paraphrase_test.txt", name: "msr_paraphrase_test.txt",
            md5: "e437fdddb92535b820fe8852e2df8a49"),
          File("/glue/data/mrpc_dev_ids.tsv", name: "dev_ids.tsv"),
        ]),
      GLUESource(task: "ax", files: [File("/glue/data/AX.tsv", name: "diagnostic.tsv")]),
    ]
    + [
      ("cola", "CoLA"), ("sst2", "SST-2"), ("qqp", "QQP-clean"), ("stsb", "STS-B"), ("mnli", "MNLI"),
      ("qnli", "QNLIv2"),
      ("rte", "RTE"), ("wnli", "WNLI"),
    ].map { GLUESource(task: $0, files: [File("/glue/data/\($1).zip")]) }
}

extension HubClient {
  /// The folder of a task's tables in the cache, fetched from ``HubSettings/glueEndpoint`` where they are not there.
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
        guard error.status == .unavailable || error.status == .missingInput else { throw error }
        var failure = error
        failure.hint = "\(bring); LOCKSTEP_GLUE_ENDPOINT names another server"
        throw failure
      }
    }
  }

  private func fetchGLUE(
    _ source: GLUESource, _ repo: HubRepo, _ check: (_ folder: String) throws(Failure) -> Void
  ) throws(Failure) -> String {
    var tables: [(name: String, sha256: String)] = []
    for file in source.files {
      let stem = "\(cache.folder(repo))/blobs/\(lastComponent(of: file.path))"
      let partial = try cache.writing { () throws(Failure) in try PartialFile(stem) }
      let digests = FileDigests()
      try fetch(
        Wanted(
          name: "\(source.task)/\(lastComponent(of: file.path))",
          address: try address(settings.glueEndpoint, file.path), byteCount: nil, etag: nil),
        into: partial, restart: { digests.restart() }
      ) { digests.update($0) }
      if let md5 = file.md5, settings.checksGLUE, digests.md5.hexDigest != md5 {
        throw Failure(
          .badData, at: "\(settings.glueEndpoint)\(file.path)",
          "arrived with other bytes: its MD5 is \(digests.md5.hexDigest), expected \(md5)",
          hint: "it was removed; start again, or give --data a folder with the tables")
      }
      if let name = file.name {
        let sha256 = digests.sha256.hexDigest
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

/// The digests of a file whose hash nobody says beforehand.
private final class FileDigests {
  private(set) var md5 = MD5()
  private(set) var sha256 = SHA256()

  func update(_ bytes: UnsafeRawBufferPointer) {
    md5.update(bytes)
    sha256.update(bytes)
  }

  func restart() { (md5, sha256) = (MD5(), SHA256()) }
}
