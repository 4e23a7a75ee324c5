import Glibc
import System

extension HubClient {
  /// What is fetched, for the messages and the checks.
  struct Wanted {
    /// What the user calls it.
    var name: String
    var address: WebAddress
    /// Nil where nobody says beforehand.
    var byteCount: Int?
    /// The digest that the bytes must have; nil where the caller checks.
    var etag: String?
  }

  /// Fetches into `file`, going on where a broken connection stopped; `body` sees all bytes in order, and `restart` is
  /// called before they come again from the first one on.
  ///
  /// - Returns: the server's last answer.
  @discardableResult
  func fetch(
    _ wanted: Wanted, into file: PartialFile, restart: @escaping () -> Void,
    _ body: @escaping (UnsafeRawBufferPointer) -> Void
  ) throws(Failure) -> HTTPAnswer {
    var trial = 1
    var total = wanted.byteCount
    var version: String?
    progress.begin(wanted.name, done: file.byteCount, total: total)
    while true {
      let before = file.byteCount
      var reason: String
      var pause: Double?
      let request = HTTPRequest(
        address: wanted.address,
        headers: before > 0
          ? ["Range: bytes=\(before)-"] + (wanted.etag == nil ? version.map { ["If-Range: \($0)"] } ?? [] : []) : [])
      let end = try follow(request) { (answer) throws(Failure) in
        switch answer.status {
        case 200:
          if file.byteCount > 0 {
            try file.clear()
            restart()
          }
          total = try self.total(answer["content-length"].flatMap { Int($0) }, wanted)
          version = answer["etag"].flatMap { $0.hasPrefix("W/") ? nil : $0 }
        case 206:
          guard Self.start(answer["content-range"]) == file.byteCount else {
            throw Failure(
              .badData, at: wanted.name,
              "was asked for from byte \(file.byteCount) on, and comes as \"\(answer["content-range"] ?? "")\"",
              hint: "start again")
          }
          total = try self.total(Self.size(answer["content-range"]), wanted)
        default: break
        }
      } take: { (status, bytes) throws(Failure) in
        guard status == 200 || status == 206 else { return }
        if let total, file.byteCount + bytes.count > total {
          throw Failure(
            .badData, at: wanted.name, "has more than the \(total) bytes that the server says", hint: "start again")
        }
        try self.cache.writing { () throws(Failure) in try file.write(bytes) }
        body(bytes)
        self.progress.update(file.byteCount)
      }
      switch end {
      case .failure(let failure): throw failure
      case .answer(let answer) where answer.status == 200 || answer.status == 206:
        if total == nil || file.byteCount == total {
          progress.end(file.byteCount)
          return answer
        }
        reason = "ended after \(file.byteCount) of \(total ?? 0) bytes"
      case .answer(let answer) where answer.status == 416 && file.byteCount > 0:
        // What is there does not fit what the server has.
        try file.clear()
        restart()
        reason = "has no byte \(before)"
      case .answer(let answer):
        guard Self.isPassing(answer.status) else {
          throw Failure(
            answer.status == 404 ? .missingInput : .unavailable, at: wanted.name,
            "\(wanted.address.origin) answers \(answer.status), expected 200", hint: "check the name and HF_ENDPOINT")
        }
        reason = "answers \(answer.status)"
        pause = Self.retryAfter(answer)
      case .trouble(let trouble, _):
        guard trouble.isPassing else { throw HubTrouble.failure(wanted.address, trouble.reason, tries: trial) }
        reason = trouble.reason
      }
      if file.byteCount - before >= Self.progressBytes { trial = 1 }
      guard trial < Self.tries else { throw HubTrouble.failure(wanted.address, reason, tries: trial) }
      try wait(afterTry: trial, asked: pause, wanted.address, reason)
      trial += 1
    }
  }

  /// The size that an answer says, which must be the one that is known.
  private func total(_ said: Int?, _ wanted: Wanted) throws(Failure) -> Int? {
    guard let known = wanted.byteCount else { return said }
    guard let said, said != known else { return known }
    throw Failure(.badData, at: wanted.name, "comes with \(said) bytes, expected \(known)", hint: "start again")
  }

  /// Sends `request` where it leads, with the token on the endpoint's own host only.
  private func follow(
    _ request: HTTPRequest, begin: @escaping (HTTPAnswer) throws(Failure) -> Void,
    take: @escaping (Int, UnsafeRawBufferPointer) throws(Failure) -> Void
  ) throws(Failure) -> HTTPEnd {
    var address = request.address
    let curl = try transport()
    for _ in 0..<10 {
      var status = 0
      let end = curl.send(
        HTTPRequest(address: address, headers: request.headers + authorization(for: address)),
        begin: { (answer) throws(Failure) in
          status = answer.status
          try begin(answer)
        }, take: { (bytes) throws(Failure) in try take(status, bytes) })
      guard case .answer(let answer) = end, (300...399).contains(answer.status), answer.status != 304,
        let location = answer["location"]
      else {
        // An empty file has no body that would call `begin`.
        if case .answer(let answer) = end, status == 0 { try begin(answer) }
        return end
      }
      guard let next = address.following(location), next.scheme == "https" || address.scheme == "http" else {
        throw Failure(
          .unavailable, at: address.origin, "leads to \"\(location)\", expected an address as safe as its own")
      }
      address = next
    }
    throw Failure(.unavailable, at: request.address.host, "leads in circles: more than 10 redirections")
  }

  /// The first byte of `bytes 5-9/10`.
  private static func start(_ range: String?) -> Int? {
    guard let range, range.hasPrefix("bytes ") else { return nil }
    return Int(range.dropFirst(6).prefix { $0 != "-" })
  }

  /// The size of the whole in `bytes 5-9/10`.
  private static func size(_ range: String?) -> Int? {
    range?.split(separator: "/", omittingEmptySubsequences: false).last.flatMap { Int($0) }
  }

  /// Fetches a blob into the cache, unless it is there. Of several processes one does.
  func fetchBlob(
    _ description: HubFile, _ path: String, of repo: HubRepo
  ) throws(Failure) {
    let blob = cache.blob(repo, etag: description.etag)
    if exists(blob) { return }
    try cache.prepare(repo)
    let lock = try HubLock("\(settings.cache)/.locks/\(repo.folderName)/\(description.etag).lock") {
      progress.note("waiting for another process, which fetches \(repo.id)/\(path)")
    }
    try withExtendedLifetime(lock) { () throws(Failure) in
      if exists(blob) { return }
      guard let byteCount = description.byteCount else {
        throw Failure(
          .badData, at: "\(repo.id)/\(path)", "the server does not say its size (X-Linked-Size, Content-Length)",
          hint: "unset HF_ENDPOINT to ask the hub itself")
      }
      try requireRoom(byteCount)
      let wanted = Wanted(
        name: "\(repo.id)/\(path)", address: try address(of: path, in: repo, revision: description.commit),
        byteCount: byteCount, etag: description.etag)
      var isFresh = false
      while true {
        let file = try cache.writing { () throws(Failure) in try PartialFile(blob) }
        let etag = description.etag
        var digest = HubDigest(etag: etag, byteCount: byteCount)
        if !isFresh { try file.takeOver(blob, limit: byteCount) { digest.update($0) } }
        let taken = file.byteCount
        if taken > 0 { progress.note("going on with \(repo.id)/\(path) after \(HubProgress.megabytes(taken))") }
        do throws(Failure) {
          try fetch(wanted, into: file, restart: { digest = HubDigest(etag: etag, byteCount: byteCount) }) {
            digest.update($0)
          }
        } catch {
          // Bytes that are wrong would be so again; those of a broken connection serve the next start.
          if error.status == .unavailable { file.keep() }
          throw error
        }
        if digest.hexDigest == etag {
          try cache.writing { () throws(Failure) in try file.commit(as: blob) }
          return
        }
        guard taken > 0, !isFresh else {
          throw Failure(
            .badData, at: "\(repo.id)/\(path)",
            "arrived with other bytes: its \(etag.utf8.count == 40 ? "git SHA-1" : "SHA-256") is \(digest.hexDigest), expected \(etag)",
            hint: "it was removed; start again, or unset HF_ENDPOINT if a mirror changes files")
        }
        // What a dead process left may have been wrong.
        isFresh = true
      }
    }
  }

  /// Refuses to begin what the disk has no room for.
  func requireRoom(_ byteCount: Int) throws(Failure) {
    var info = statvfs()
    guard statvfs(settings.cache, &info) == 0 else { return }
    let (free, isHuge) = Int(clamping: info.f_bavail).multipliedReportingOverflow(by: Int(clamping: info.f_frsize))
    guard !isHuge, free < byteCount else { return }
    throw Failure(
      .ioError, at: settings.cache,
      "has \(HubProgress.megabytes(free)) free, and \(HubProgress.megabytes(byteCount)) are to come",
      hint: "free some room, or set HF_HOME to a folder with more")
  }
}
