import Glibc
import Hub
import Synchronization
import System
import TestSupport

/// A server that behaves like the hub, on 127.0.0.1, with a second host for large files on 127.0.0.2.
final class HubServer: Sendable {
  /// A file of a repository.
  struct File: Sendable {
    var bytes: [UInt8]
    /// Kept in the large store: its ETag is the SHA-256, and it lies on the other host.
    var isLarge = false
    /// Instead of the true one.
    var etag: String?
  }

  /// What goes wrong with one request.
  enum Fault: Sendable {
    /// An answer with this status.
    case status(Int, headers: [String: String] = [:])
    /// The connection ends after so many bytes of the body.
    case cut(after: Int)
    /// One bit of this byte of the body is another.
    case wrongByte(Int)
    /// The body has so many bytes more than it says, or fewer.
    case longer(Int)
    /// A pause after each so many bytes.
    case drip(bytes: Int, microseconds: UInt32)
    /// The whole file, whatever range was asked for.
    case noRange
    /// Another size in the header, and nothing that is wrong beside it.
    case size(Int)
  }

  struct Request: Sendable, Equatable, CustomStringConvertible {
    var method: String
    /// As it was asked for: with host where the server is a proxy.
    var target: String
    var headers: [String: String]
    /// Whether it came to the host for large files.
    var isElsewhere: Bool
    var description: String { "\(method) \(target)\(isElsewhere ? " elsewhere" : "")" }
  }

  private struct State {
    /// By `models/acme/tiny` or `datasets/acme/pairs`, then by path.
    var repositories: [String: [String: File]] = [:]
    /// Files that are no repository's, by path.
    var plain: [String: [UInt8]] = [:]
    /// For the next requests of a method and path that ends so.
    var faults: [(method: String, suffix: String, fault: Fault)] = []
    var requests: [Request] = []
    var commit = String(repeating: "c0ffee12", count: 5)
    var saysCommit = true
    /// Names that have become others.
    var renamed: [String: String] = [:]
    /// Repositories that are there for this token only, and those whose owners have to be asked.
    var secret: [String: String] = [:]
    var gated: Set<String> = []
    var isDown = false
  }

  private let state = Mutex(State())
  private let listeners: [Int32]
  let port: UInt16
  let elsewherePort: UInt16
  var endpoint: String { "http://127.0.0.1:\(port)" }
  var commit: String { state.withLock { $0.commit } }

  init() throws {
    signal(SIGPIPE, SIG_IGN)
    let own = try Self.listen(on: 0x7F00_0001)
    let other = try Self.listen(on: 0x7F00_0002)
    listeners = [own.descriptor, other.descriptor]
    (port, elsewherePort) = (own.port, other.port)
    for (index, listener) in listeners.enumerated() {
      inThread { [weak self] in
        while true {
          let connection = accept(listener, nil, nil)
          if connection < 0 && errno == EINTR { continue }
          guard connection >= 0 else { return }
          guard let self else {
            close(connection)
            return
          }
          inThread { self.serve(connection, isElsewhere: index == 1) }
        }
      }
    }
  }

  deinit { stop() }

  /// Takes no more connections.
  func stop() {
    state.withLock { $0.isDown = true }
    for listener in listeners { shutdown(listener, Int32(SHUT_RDWR)) }
  }

  // MARK: What it has

  func add(_ repository: String, _ files: [String: File]) {
    state.withLock { $0.repositories[repository, default: [:]].merge(files) { $1 } }
  }

  /// The files of a folder, weights as large ones.
  func add(_ repository: String, folder: String) throws {
    for name in TemporaryFolder.entries(folder) {
      let bytes = try readBytes("\(folder)/\(name)")
      add(repository, [name: File(bytes: bytes, isLarge: name.hasSuffix(".safetensors") || name.hasSuffix(".bin"))])
    }
  }

  func addPlain(_ path: String, _ bytes: [UInt8]) { state.withLock { $0.plain[path] = bytes } }
  func fail(_ method: String, _ suffix: String, _ faults: Fault...) {
    state.withLock { state in state.faults += faults.map { (method, suffix, $0) } }
  }
  func rename(_ old: String, to new: String) { state.withLock { $0.renamed[old] = new } }
  func hide(_ repository: String, token: String) { state.withLock { $0.secret[repository] = token } }
  func gate(_ repository: String) { state.withLock { _ = $0.gated.insert(repository) } }
  func saysNoCommit() { state.withLock { $0.saysCommit = false } }
  func moveOn() { state.withLock { $0.commit = String(repeating: "deadbe11", count: 5) } }

  var requests: [Request] { state.withLock { $0.requests } }
  func forget() { state.withLock { $0.requests = [] } }
  /// Requests for bytes of a file that ends so.
  func gets(_ suffix: String) -> [Request] { requests.filter { $0.method == "GET" && $0.target.hasSuffix(suffix) } }

  /// A client of it with a cache in `folder`.
  func client(_ folder: String, _ variables: [String: String] = [:]) throws(Failure) -> (
    client: HubClient, lines: Lines
  ) {
    let lines = Lines()
    return (HubClient(try settings(folder, variables), say: lines.add), lines)
  }

  func settings(_ folder: String, _ variables: [String: String] = [:]) throws(Failure) -> HubSettings {
    let all = self.variables(folder).merging(variables) { $1 }
    var settings = try HubSettings { all[$0] }
    settings.pauseSeconds = 0.001
    return settings
  }

  /// What a program needs to know of it.
  func variables(_ folder: String) -> [String: String] {
    ["HF_HOME": folder, "HF_ENDPOINT": endpoint, "LOCKSTEP_GLUE_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"]
  }

  // MARK: Answering

  private func serve(_ connection: Int32, isElsewhere: Bool) {
    defer { close(connection) }
    var input: [UInt8] = []
    while let request = Self.read(connection, &input) {
      var request = request
      request.isElsewhere = isElsewhere
      let isDown = state.withLock { state in
        if !state.isDown { state.requests.append(request) }
        return state.isDown
      }
      if isDown || !answer(request, connection) { return }
    }
  }

  /// False where the connection has to end.
  private func answer(_ request: Request, _ connection: Int32) -> Bool {
    var path = request.target
    // Asked as a proxy.
    if path.hasPrefix("http://") { path = "/" + path.dropFirst(7).drop { $0 != "/" }.dropFirst() }
    let fault = state.withLock { state -> Fault? in
      let index = state.faults.firstIndex { $0.method == request.method && path.hasSuffix($0.suffix) }
      return index.map { state.faults.remove(at: $0).fault }
    }
    if case .status(let status, let headers) = fault {
      return send(connection, request, status, headers.merging(["X-Test": "fault"]) { $1 }, [])
    }
    let state = state.withLock { $0 }
    if let bytes = state.plain[path] { return send(connection, request, 200, [:], bytes, fault) }
    if path.hasPrefix("/large/") { return large(path, request, connection, state, fault) }
    if path.hasPrefix("/api/") { return list(path, request, connection, state) }
    guard let (repository, file) = Self.parts(path) else { return send(connection, request, 404, [:], []) }
    if let new = state.renamed[repository] {
      let old = String(repository.dropFirst("models/".count))
      return send(connection, request, 307, ["Location": path.replacing("/\(old)/", with: "/\(new)/")], [])
    }
    if let refusal = refusal(repository, request, state) { return send(connection, request, refusal.0, refusal.1, []) }
    let commit = state.saysCommit ? ["X-Repo-Commit": state.commit] : [:]
    guard let found = state.repositories[repository]?[file] else {
      return send(connection, request, 404, commit.merging(["X-Error-Code": "EntryNotFound"]) { $1 }, [])
    }
    var headers = commit
    let etag = found.etag ?? Self.etag(found)
    var size = found.bytes.count
    if case .size(let other) = fault { size = other }
    if found.isLarge {
      headers["X-Linked-Etag"] = "\"\(etag)\""
      headers["X-Linked-Size"] = "\(size)"
      headers["Location"] = "http://127.0.0.2:\(elsewherePort)/large/\(repository)/\(file)"
      return send(connection, request, 302, headers, [])
    }
    headers["ETag"] = "\"\(etag)\""
    return send(connection, request, 200, headers, found.bytes, fault)
  }

  private func refusal(_ repository: String, _ request: Request, _ state: State) -> (Int, [String: String])? {
    if state.gated.contains(repository) { return (401, ["X-Error-Code": "GatedRepo"]) }
    let token = state.secret[repository]
    let isOpen = state.repositories[repository] != nil && token == nil
    if isOpen || token != nil && request.headers["authorization"] == "Bearer \(token ?? "")" { return nil }
    // As the hub: whoever says nothing of himself is not told what is private and what is not there.
    return (request.headers["authorization"] == nil ? 401 : 404, ["X-Error-Code": "RepoNotFound"])
  }

  private func large(
    _ path: String, _ request: Request, _ connection: Int32, _ state: State, _ fault: Fault?
  ) -> Bool {
    for (name, files) in state.repositories where path.hasPrefix("/large/\(name)/") {
      guard let file = files[String(path.dropFirst("/large/\(name)/".count))] else { break }
      return send(connection, request, 200, ["ETag": "\"elsewhere\""], file.bytes, fault)
    }
    return send(connection, request, 404, [:], [])
  }

  private func list(_ path: String, _ request: Request, _ connection: Int32, _ state: State) -> Bool {
    // /api/models/acme/tiny/revision/main
    let parts = path.split(separator: "/").map(String.init)
    let end = parts.firstIndex(of: "revision") ?? parts.count
    let name = parts[1..<end].joined(separator: "/")
    if let refusal = refusal(name, request, state) { return send(connection, request, refusal.0, refusal.1, []) }
    let siblings = (state.repositories[name] ?? [:]).keys.sorted().map { "{\"rfilename\": \"\($0)\"}" }
    let text =
      "{\"id\": \"\(name)\", \"sha\": \"\(state.commit)\", \"siblings\": [\(siblings.joined(separator: ", "))]}"
    return send(connection, request, 200, ["Content-Type": "application/json"], Array(text.utf8))
  }

  /// `models/acme/tiny` and `config.json` of `/acme/tiny/resolve/main/config.json`.
  private static func parts(_ path: String) -> (repository: String, file: String)? {
    let parts = path.split(separator: "/").map(String.init)
    guard let index = parts.firstIndex(of: "resolve"), index > 0, index + 2 < parts.count else { return nil }
    let name = parts[..<index].joined(separator: "/")
    let file = parts[(index + 2)...].joined(separator: "/")
    return (name.hasPrefix("datasets/") ? name : "models/\(name)", file)
  }

  static func etag(_ file: File) -> String {
    if file.isLarge { return SHA256.hexDigest(file.bytes) }
    return gitSHA1(file.bytes)
  }

  private func send(
    _ connection: Int32, _ request: Request, _ status: Int, _ headers: [String: String], _ bytes: [UInt8],
    _ fault: Fault? = nil
  ) -> Bool {
    var (status, start) = (status, 0)
    var head = ""
    for (name, value) in headers { head += "\(name): \(value)\r\n" }
    var isRanged = true
    if case .noRange = fault { isRanged = false }
    if status == 200, isRanged, let range = request.headers["range"], range.hasPrefix("bytes="), range.hasSuffix("-") {
      start = Int(range.dropFirst(6).dropLast()) ?? 0
      guard start < bytes.count else { return send(connection, request, 416, [:], []) }
      status = 206
      head += "Content-Range: bytes \(start)-\(bytes.count - 1)/\(bytes.count)\r\n"
    }
    var body = bytes[start...]
    var count = body.count
    var (end, piece, pause) = (body.count, 1 << 20, UInt32(0))
    switch fault {
    case .cut(let after): end = min(end, after)
    case .wrongByte(let place): if place >= start, place < bytes.count { body[place] ^= 1 }
    case .longer(let more):
      body += [UInt8](repeating: 0, count: max(0, more))
      end = body.count + min(0, more)
      count = end
    case .drip(let bytes, let microseconds): (piece, pause) = (bytes, microseconds)
    case .size(let other): count = other
    default: break
    }
    head = "HTTP/1.1 \(status) Test\r\nContent-Length: \(count)\r\n\(head)\r\n"
    guard put(connection, Array(head.utf8)[...]) else { return false }
    if request.method == "HEAD" { return true }
    body = body.prefix(end)
    while !body.isEmpty {
      guard put(connection, body.prefix(piece)) else { return false }
      body = body.dropFirst(piece)
      if pause > 0 { usleep(pause) }
    }
    return end == count
  }
}

/// Lines that were shown.
final class Lines: Sendable {
  private let lines = Mutex<[String]>([])
  var all: [String] { lines.withLock { $0 } }
  func add(_ line: String) { lines.withLock { $0.append(line) } }
}
