import Glibc
import JSON
import System

/// What a server says of a file before it is fetched.
struct HubFile: Sendable, Equatable {
  var commit: String
  /// 40 digits: the SHA-1 of git's blob; 64: the SHA-256 of the bytes.
  var etag: String
  /// Nil where the server does not say.
  var byteCount: Int?
}

/// Asks a hub, again where that may help, with the token for its own host only.
public final class HubClient {
  public let settings: HubSettings
  public let cache: HubCache
  let progress: HubProgress
  private var curl: Curl?

  /// The most tries of one request, or of a download without progress between them.
  static let tries = 5
  /// Progress that makes up for a failed try.
  static let progressBytes = 1 << 20
  private static let longestPause = 300.0
  private static let longestRedirection = 10

  /// - Parameter say: shows a line to the user.
  public init(_ settings: HubSettings, say: @escaping (String) -> Void) {
    self.settings = settings
    cache = HubCache(settings.cache)
    progress = HubProgress(isShown: settings.showsProgress, say: say)
  }

  /// libcurl, opened when it is first needed.
  func transport() throws(Failure) -> Curl {
    if let curl { return curl }
    let new = try Curl(settings)
    curl = new
    return new
  }

  // MARK: Addresses

  func address(of path: String, in repo: HubRepo, revision: String) throws(Failure) -> WebAddress {
    try address(
      settings.endpoint,
      "/\(repo.addressPrefix)\(repo.id)/resolve/\(Self.escapedRevision(revision))/\(WebAddress.escaped(path))")
  }

  func address(_ endpoint: String, _ path: String) throws(Failure) -> WebAddress {
    guard let address = WebAddress(endpoint + path) else {
      throw Failure(.usage, at: endpoint, "is no address, expected one such as https://huggingface.co")
    }
    return address
  }

  /// A branch's slashes are part of one name.
  static func escapedRevision(_ revision: String) -> String {
    WebAddress.escaped(revision).replacing("/", with: "%2F")
  }

  /// The token, for the endpoint's own scheme, host and port.
  func authorization(for address: WebAddress) -> [String] {
    guard let token = settings.token, let own = WebAddress(settings.endpoint), own.origin == address.origin else {
      return []
    }
    return ["Authorization: Bearer \(token)"]
  }

  // MARK: Asking

  /// What the server says of a file; nil where the repository has no such file.
  ///
  /// - Parameter tries: 1 where there is something to fall back to.
  func head(
    _ path: String, in repo: HubRepo, revision: String, tries: Int = HubClient.tries
  ) throws(Failure) -> HubFile? {
    var address = try address(of: path, in: repo, revision: revision)
    for _ in 0..<Self.longestRedirection {
      let request = HTTPRequest(address: address, isHead: true, headers: authorization(for: address))
      let answer = try answer(to: request, of: repo, revision: revision, tries: tries)
      if (300...399).contains(answer.status), let location = answer["location"] {
        // A renamed repository. An absolute one is where the file lies, which this answer describes already.
        if WebAddress.isRelative(location), let next = address.following(location) {
          address = next
          continue
        }
      } else if answer.status == 404, answer["x-error-code"] == "EntryNotFound" {
        return nil
      } else if answer.status != 200 {
        throw refusal(answer, path, of: repo, revision: revision)
      }
      return try description(answer, path, of: repo, revision: revision)
    }
    throw Failure(.unavailable, at: address.host, "leads in circles: more than \(Self.longestRedirection) redirections")
  }

  private func description(
    _ answer: HTTPAnswer, _ path: String, of repo: HubRepo, revision: String
  ) throws(Failure) -> HubFile {
    let place = "\(repo.id)/\(path)"
    // What stands for itself needs nobody to say so.
    let commit = isHex(revision, count: 40) ? revision : answer["x-repo-commit"]
    guard let commit else {
      throw Failure(
        .unavailable, at: place, "\(settings.endpoint) says no commit (X-Repo-Commit), as some mirrors and proxies do",
        hint: "name a commit of 40 digits: \(repo.id)@COMMIT, or unset HF_ENDPOINT")
    }
    guard isHex(commit, count: 40) else {
      throw Failure(.badData, at: place, "has X-Repo-Commit \"\(commit)\", expected 40 hexadecimal digits")
    }
    var etag = answer["x-linked-etag"] ?? answer["etag"] ?? ""
    if etag.hasPrefix("W/") { etag.removeFirst(2) }
    etag = String(etag.drop { $0 == "\"" }.prefix { $0 != "\"" })
    guard isHex(etag, count: 40) || isHex(etag, count: 64) else {
      throw Failure(
        .badData, at: place,
        "has the ETag \"\(etag)\", which is neither a SHA-1 nor a SHA-256: its bytes cannot be checked",
        hint: "unset HF_ENDPOINT to ask the hub itself")
    }
    let length = answer["x-linked-size"] ?? (answer.status == 200 ? answer["content-length"] : nil)
    let byteCount = length.flatMap { Int($0) }
    return HubFile(commit: commit, etag: etag, byteCount: byteCount.flatMap { $0 >= 0 ? $0 : nil })
  }

  /// The body of a JSON answer of the hub's API.
  func json(_ path: String, of repo: HubRepo, revision: String, tries: Int = HubClient.tries) throws(Failure) -> [UInt8]
  {
    var address = try address(settings.endpoint, path)
    for _ in 0..<Self.longestRedirection {
      var body: [UInt8] = []
      let request = HTTPRequest(address: address, headers: authorization(for: address))
      let answer = try answer(to: request, of: repo, revision: revision, tries: tries, begin: { _ in body = [] }) {
        (bytes) throws(Failure) in
        body += bytes
        guard body.count <= 1 << 26 else { throw Failure(.badData, at: path, "has more than 64 MB, expected a list") }
      }
      if (300...399).contains(answer.status), let next = answer["location"].flatMap(address.following),
        next.origin == address.origin
      {
        address = next
        continue
      }
      guard answer.status == 200 else { throw refusal(answer, "", of: repo, revision: revision) }
      return body
    }
    throw Failure(.unavailable, at: address.host, "leads in circles: more than \(Self.longestRedirection) redirections")
  }

  /// The answer to `request`, of whatever status that another try would not change.
  private func answer(
    to request: HTTPRequest, of repo: HubRepo, revision: String, tries: Int,
    begin: @escaping (HTTPAnswer) -> Void = { _ in },
    take: @escaping (UnsafeRawBufferPointer) throws(Failure) -> Void = { (_) throws(Failure) in }
  ) throws(Failure) -> HTTPAnswer {
    var trial = 1
    while true {
      let pause: Double?
      let reason: String
      switch try transport().send(request, begin: { (answer) throws(Failure) in begin(answer) }, take: take) {
      case .failure(let failure): throw failure
      case .answer(let answer):
        guard Self.isPassing(answer.status) else { return answer }
        reason = "answers \(answer.status)"
        pause = Self.retryAfter(answer)
      case .trouble(let trouble, _):
        guard trouble.isPassing else {
          throw HubTrouble.failure(request.address, trouble.reason, tries: trial)
        }
        reason = trouble.reason
        pause = nil
      }
      guard trial < tries else { throw HubTrouble.failure(request.address, reason, tries: trial) }
      try wait(afterTry: trial, asked: pause, request.address, reason)
      trial += 1
    }
  }

  /// Statuses that say: later.
  static func isPassing(_ status: Int) -> Bool { status == 408 || status == 429 || (500...599).contains(status) }

  static func retryAfter(_ answer: HTTPAnswer) -> Double? {
    answer["retry-after"].flatMap { Int($0) }.map { Double(max(0, $0)) }
  }

  /// Sleeps before the next try.
  func wait(afterTry trial: Int, asked: Double?, _ address: WebAddress, _ reason: String) throws(Failure) {
    let seconds = max(asked ?? 0, settings.pauseSeconds * Double(1 << min(trial - 1, 10)))
    guard seconds <= Self.longestPause else {
      throw Failure(
        .unavailable, at: address.host, "\(reason) and asks to wait \(Int(seconds)) s", hint: "start again then")
    }
    progress.note("\(address.host): \(reason); trying again in \(formatted(seconds, digits: 1)) s")
    usleep(UInt32(seconds * 1e6))
  }

  /// The error for an answer that is final.
  func refusal(_ answer: HTTPAnswer, _ path: String, of repo: HubRepo, revision: String) -> Failure {
    let page = "\(settings.endpoint)/\(repo.addressPrefix)\(repo.id)"
    let hasToken = settings.token != nil
    switch (answer.status, answer["x-error-code"]) {
    case (_, "GatedRepo"):
      return Failure(
        .permission, at: repo.id, "is gated: its owners grant access",
        hint: "ask for it on \(page), then set HF_TOKEN" + (hasToken ? "; the present token has no access" : ""))
    case (401, _) where !hasToken, (404, "RepoNotFound") where !hasToken:
      return Failure(
        .missingInput, at: repo.id, "there is no such \(repo.kind.rawValue) on \(settings.endpoint), or it is private",
        hint: "check the name; for a private one set HF_TOKEN")
    case (401, "RepoNotFound"), (404, "RepoNotFound"):
      return Failure(
        .missingInput, at: repo.id,
        "there is no such \(repo.kind.rawValue) on \(settings.endpoint), or the token has no access to it",
        hint: "check the name and HF_TOKEN")
    case (401, _), (403, _):
      return Failure(
        .permission, at: repo.id, "\(settings.endpoint) refuses access (\(answer.status))",
        hint: hasToken ? "check HF_TOKEN" : "set HF_TOKEN")
    case (404, "RevisionNotFound"):
      return Failure(
        .missingInput, at: repo.id, "has no revision \(revision)", hint: "\(page)/tree/main lists branches and tags")
    case (404, _):
      return Failure(
        .missingInput, at: repo.id, "\(settings.endpoint) has no \(path.isEmpty ? "such repository" : path) there",
        hint: "check the name")
    default:
      return Failure(
        .unavailable, at: repo.id, "\(settings.endpoint) answers \(answer.status), expected 200",
        hint: "check HF_ENDPOINT and the proxy")
    }
  }
}

/// The error for a server that could not be reached, or that stays out of order.
enum HubTrouble {
  static func failure(_ address: WebAddress, _ reason: String, tries: Int) -> Failure {
    Failure(
      .unavailable, at: address.origin, "\(reason)" + (tries > 1 ? ", after \(tries) tries" : ""),
      hint: "check the network, HF_ENDPOINT and https_proxy")
  }
}
