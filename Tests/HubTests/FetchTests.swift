import Glibc
import Hub
import System
import TestSupport
import Testing

/// A model from a server that behaves like the hub, and misbehaves.
@Suite struct FetchTests {
  let folder: TemporaryFolder
  let server: HubServer
  var home: String { "\(folder.path)/home" }

  init() throws {
    folder = try TemporaryFolder()
    server = try HubServer()
  }

  /// A model with weights of some megabytes, which come from the other host.
  private func addModel(_ count: Int = 3 << 20) -> [UInt8] {
    let weights = noise(count)
    server.add("models/acme/tiny", description(weights: weights))
    return weights
  }

  @Test("an empty cache is filled as huggingface_hub fills it; a second time costs one call, a commit none")
  func layout() throws {
    try server.add("models/acme/tiny", folder: tinyFolder)
    let (client, lines) = try server.client(home)
    let snapshot = try client.model("acme/tiny")
    let root = "\(home)/hub/models--acme--tiny"
    #expect(snapshot.path == "\(root)/snapshots/\(server.commit)")
    #expect(try String(decoding: readBytes("\(root)/refs/main"), as: UTF8.self) == server.commit)
    for name in ["config.json", "tokenizer_config.json", "vocab.txt", "model.safetensors"] {
      let bytes = try readBytes("\(tinyFolder)/\(name)")
      let etag = name == "model.safetensors" ? SHA256.hexDigest(bytes) : gitSHA1(bytes)
      var target = [CChar](repeating: 0, count: 200)
      let count = readlink("\(snapshot.path)/\(name)", &target, target.count)
      #expect(
        String(decoding: target.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
          == "../../blobs/\(etag)")
      #expect(try readBytes("\(snapshot.path)/\(name)") == bytes)
      #expect(exists("\(home)/hub/.locks/models--acme--tiny/\(etag).lock"))
    }
    #expect(exists("\(root)/.no_exist/\(server.commit)/tokenizer.json") && exists("\(home)/hub/CACHEDIR.TAG"))
    #expect(lines.all.contains { $0.hasPrefix("fetched acme/tiny/model.safetensors, ") }, "\(lines.all)")
    server.forget()
    #expect(try server.client(home).client.model("acme/tiny") == snapshot)
    #expect(server.requests.map(\.description) == ["HEAD /acme/tiny/resolve/main/config.json"])
    server.forget()
    #expect(try server.client(home).client.model("acme/tiny@\(server.commit)").path == snapshot.path)
    #expect(try server.client(home, ["HF_HUB_OFFLINE": "1"]).client.model("acme/tiny").path == snapshot.path)
    #expect(server.requests == [])
  }

  @Test("a branch that moved on is fetched anew, and files that stayed the same are not") func movedBranch() throws {
    _ = addModel()
    let first = try server.client(home).client.model("acme/tiny")
    server.moveOn()
    server.add("models/acme/tiny", ["vocab.txt": .init(bytes: Array("other\n".utf8))])
    server.forget()
    let second = try server.client(home).client.model("acme/tiny")
    #expect(second.commit != first.commit && exists(first.path))
    #expect(
      server.requests.filter { $0.method == "GET" }.map(\.target) == ["/acme/tiny/resolve/\(second.commit)/vocab.txt"])
  }

  @Test("a renamed repository is followed, under the name that was asked for") func renamed() throws {
    try server.add("models/google-bert/small", folder: tinyFolder)
    server.rename("models/small", to: "google-bert/small")
    let snapshot = try server.client(home).client.model("small")
    #expect(snapshot.path.contains("/models--small/snapshots/"))
  }

  @Test("weights in shards, in the old format, and none") func weights() throws {
    var files = description(weights: [])
    files["model.safetensors"] = nil
    server.add("models/acme/none", files)
    let error = failure { () throws(Failure) in try server.client(home).client.model("acme/none") }
    #expect(error?.status == .missingInput && error?.message.contains("has no weights") == true)
    files["pytorch_model.bin"] = .init(bytes: noise(5000), isLarge: true)
    server.add("models/acme/old", files)
    #expect(try server.client(home).client.model("acme/old").files.last == "pytorch_model.bin")
    for index in 1...2 {
      files["model-\(index).safetensors"] = .init(bytes: noise(3000, seed: UInt64(index)), isLarge: true)
    }
    files["model.safetensors.index.json"] = .init(
      bytes: Array("{\"weight_map\": {\"a\": \"model-1.safetensors\", \"b\": \"model-2.safetensors\"}}".utf8))
    server.add("models/acme/shards", files)
    let shards = try server.client(home).client.model("acme/shards").files
    #expect(shards.suffix(3) == ["model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors"])
    #expect(!shards.contains("pytorch_model.bin") && server.gets("/acme/shards/pytorch_model.bin") == [])
    files["model.safetensors.index.json"] = .init(bytes: Array("{\"weight_map\": {\"a\": \"../x\"}}".utf8))
    server.add("models/acme/evil", files)
    #expect(failure { () throws(Failure) in try server.client(home).client.model("acme/evil") }?.status == .badData)
  }

  @Test("a model of another kind is refused before anything else of it is fetched") func otherKind() throws {
    var files = description(weights: noise(1000))
    files["config.json"] = .init(bytes: Array("{\"model_type\": \"gpt2\"}".utf8))
    server.add("models/openai/gpt2", files)
    let outcome = try launch(["download", "openai/gpt2"], server.variables(home))
    #expect(
      outcome.status == 78 && outcome.errors.contains("openai/gpt2: is a model of the kind \"gpt2\""),
      "\(outcome.errors)")
    #expect(server.requests.allSatisfy { $0.target.hasSuffix("/config.json") })
  }

  @Test("a token goes to the endpoint and to no other host, port or scheme") func token() throws {
    let weights = addModel(1000)
    server.hide("models/acme/tiny", token: "hf_secret")
    let snapshot = try server.client(home, ["HF_TOKEN": "hf_secret"]).client.model("acme/tiny")
    #expect(try readBytes("\(snapshot.path)/model.safetensors") == weights)
    let elsewhere = server.requests.filter(\.isElsewhere)
    #expect(!elsewhere.isEmpty && elsewhere.allSatisfy { $0.headers["authorization"] == nil })
    #expect(server.requests.filter { !$0.isElsewhere }.allSatisfy { $0.headers["authorization"] == "Bearer hf_secret" })
  }

  @Test("too many requests, time-outs and errors of the server are tried again, as long as it asks for")
  func statuses() throws {
    _ = addModel(1000)
    server.fail("HEAD", "/config.json", .status(429, headers: ["Retry-After": "1"]), .status(408), .status(500))
    server.fail("GET", "/model.safetensors", .status(503), .status(500), .status(429))
    let (client, lines) = try server.client(home)
    _ = try client.model("acme/tiny")
    #expect(lines.all.contains { $0.contains("answers 429; trying again in 1.0 s") }, "\(lines.all)")
    #expect(lines.all.filter { $0.contains("trying again") }.count == 6)
    server.fail("HEAD", "/config.json", .status(429, headers: ["Retry-After": "100000"]))
    server.add("models/acme/second", description(weights: noise(10)))
    let error = failure { () throws(Failure) in try server.client(home).client.model("acme/second") }
    #expect(error?.status == .unavailable && error?.message.contains("asks to wait 100000 s") == true)
  }

  @Test(
    "a server that stays out of order: where nothing is cached, an error with the files to bring; else what is cached")
  func outOfOrder() throws {
    _ = addModel(1000)
    let faults = [HubServer.Fault](repeating: .status(502), count: 5)
    for fault in faults { server.fail("HEAD", "/config.json", fault) }
    let error = try #require(failure { () throws(Failure) in try server.client(home).client.model("acme/tiny") })
    #expect(error.status == .unavailable && error.message == "answers 502, after 5 tries")
    #expect(error.hint?.contains("copy its folder models--acme--tiny to \(home)/hub/models--acme--tiny") == true)
    #expect(error.hint?.contains("config.json") == true && error.hint?.contains("model.safetensors") == true)
    let snapshot = try server.client(home).client.model("acme/tiny")
    server.stop()
    let (client, lines) = try server.client(home)
    #expect(try client.model("acme/tiny").path == snapshot.path)
    #expect(lines.all.contains { $0.contains("taking what the cache has of acme/tiny") }, "\(lines.all)")
  }

  @Test("a server that is not there, or whose name nobody knows, is asked again by the same client") func notThere()
    throws
  {
    server.stop()
    // A part of a name has 63 letters at most: no name server is asked.
    let unknown = "http://\(String(repeating: "a", count: 64)).test"
    for endpoint in [server.endpoint, unknown] {
      let (client, lines) = try server.client(home, ["HF_ENDPOINT": endpoint])
      let error = try #require(failure { () throws(Failure) in try client.model("acme/tiny") })
      #expect(error.message.hasSuffix(", after 5 tries"), "\(error)")
      #expect(lines.all.filter { $0.contains("trying again") }.count == 4, "\(lines.all)")
    }
  }

  @Test("through two cuts a file goes on where it was, and is whole") func cuts() throws {
    let weights = addModel(40 << 20)
    server.fail("GET", "/large/models/acme/tiny/model.safetensors", .cut(after: 15_000_001), .cut(after: 17_000_000))
    let snapshot = try server.client(home).client.model("acme/tiny")
    #expect(try readBytes("\(snapshot.path)/model.safetensors") == weights)
    let ranges = server.requests.filter(\.isElsewhere).map { $0.headers["range"] ?? "all" }
    #expect(ranges == ["all", "bytes=15000001-", "bytes=32000001-"])
    #expect(incomplete(HubCache("\(home)/hub")) == [])
  }

  @Test("a server without ranges begins again, and nothing is there twice") func noRange() throws {
    let weights = addModel()
    server.fail("GET", "/large/models/acme/tiny/model.safetensors", .cut(after: 2_000_000), .noRange)
    let snapshot = try server.client(home).client.model("acme/tiny")
    #expect(try readBytes("\(snapshot.path)/model.safetensors") == weights)
  }

  @Test("a drip that is slow, but comes, is waited for") func drip() throws {
    let weights = addModel(3000)
    server.fail("GET", "/large/models/acme/tiny/model.safetensors", .drip(bytes: 500, microseconds: 400_000))
    let snapshot = try server.client(home, ["HF_HUB_DOWNLOAD_TIMEOUT": "1"]).client.model("acme/tiny")
    #expect(try readBytes("\(snapshot.path)/model.safetensors") == weights)
    #expect(server.requests.filter(\.isElsewhere).count == 1)
  }

  @Test("a server that stops in the middle is left, and asked for the rest") func stops() throws {
    let weights = addModel(3000)
    server.fail("GET", "/large/models/acme/tiny/model.safetensors", .drip(bytes: 2000, microseconds: 20_000_000))
    let snapshot = try server.client(home, ["HF_HUB_DOWNLOAD_TIMEOUT": "1"]).client.model("acme/tiny")
    #expect(try readBytes("\(snapshot.path)/model.safetensors") == weights)
    #expect(server.requests.filter(\.isElsewhere).last?.headers["range"] == "bytes=2000-")
  }

  @Test(
    "one changed byte is refused and removed, in a plain file and a large one; the next start fetches it right",
    arguments: [
      "/tiny/resolve/\(String(repeating: "c0ffee12", count: 5))/vocab.txt", "/large/models/acme/tiny/model.safetensors",
    ])
  func wrongByte(suffix: String) throws {
    let weights = addModel()
    server.fail("GET", suffix, .wrongByte(3))
    let error = failure { () throws(Failure) in try server.client(home).client.model("acme/tiny") }
    #expect(
      error?.status == .badData && error?.message.hasPrefix("arrived with other bytes") == true,
      "\(error.debugDescription)")
    #expect(incomplete(HubCache("\(home)/hub")) == [])
    #expect(!exists("\(home)/hub/models--acme--tiny/snapshots/\(server.commit)/\(lastComponent(of: suffix))"))
    let snapshot = try server.client(home).client.model("acme/tiny")
    #expect(try readBytes("\(snapshot.path)/model.safetensors") == weights)
  }

  @Test("a length other than the one that was said is refused", arguments: [5000, -5000]) func wrongLength(more: Int)
    throws
  {
    _ = addModel()
    server.fail("GET", "/large/models/acme/tiny/model.safetensors", .longer(more))
    let error = failure { () throws(Failure) in try server.client(home).client.model("acme/tiny") }
    #expect(
      error?.status == .badData && error?.message.contains("expected 3145728") == true, "\(error.debugDescription)")
    #expect(incomplete(HubCache("\(home)/hub")) == [])
  }

  @Test("an ETag that is no hash, and an answer without a commit, are refused; a commit needs no answer to name it")
  func headers() throws {
    server.add("models/acme/tag", ["config.json": .init(bytes: [1], etag: "abc-2")])
    let error = failure { () throws(Failure) in try server.client(home).client.model("acme/tag") }
    #expect(error?.status == .badData && error?.message.contains("neither a SHA-1 nor a SHA-256") == true)
    server.add("models/acme/up", ["config.json": .init(bytes: [1], etag: "../../../../x")])
    #expect(failure { () throws(Failure) in try server.client(home).client.model("acme/up") }?.status == .badData)
    _ = addModel(1000)
    server.saysNoCommit()
    let missing = failure { () throws(Failure) in try server.client(home).client.model("acme/tiny") }
    #expect(missing?.status == .unavailable && missing?.message.contains("X-Repo-Commit") == true)
    _ = try server.client(home).client.model("acme/tiny@\(server.commit)")
  }

  @Test("what is not there, not permitted or not granted says so, each in its own line") func refusals() throws {
    _ = addModel(1000)
    server.hide("models/acme/secret", token: "hf_right")
    server.gate("models/acme/gated")
    func error(_ name: String, _ token: String? = nil) throws -> Failure {
      let variables = token.map { ["HF_TOKEN": $0] } ?? [:]
      return try #require(failure { () throws(Failure) in try server.client(home, variables).client.model(name) })
    }
    let none = try error("acme/none")
    #expect(
      none.status == .missingInput && none.message.contains("or it is private")
        && none.hint?.contains("HF_TOKEN") == true)
    #expect(try error("acme/secret") == Failure(none.status, at: "acme/secret", none.message, hint: none.hint))
    #expect(try error("acme/secret", "hf_wrong").message.contains("the token has no access"))
    let gated = try error("acme/gated")
    #expect(gated.status == .permission && gated.hint?.contains("\(server.endpoint)/acme/gated") == true)
    server.fail("HEAD", "/config.json", .status(404, headers: ["X-Error-Code": "RevisionNotFound"]))
    let revision = try error("acme/tiny@v9")
    #expect(revision.status == .missingInput && revision.message == "has no revision v9")
    server.fail("HEAD", "/config.json", .status(401, headers: [:]))
    #expect(try error("acme/tiny", "hf_old").status == .permission)
  }

  @Test("offline, nothing is asked, and the message names the files and their place") func offline() throws {
    _ = addModel(1000)
    let error = try #require(
      failure { () throws(Failure) in try server.client(home, ["HF_HUB_OFFLINE": "1"]).client.model("acme/tiny") })
    #expect(error.status == .missingInput && server.requests == [])
    #expect(error.hint?.contains("./launch download acme/tiny") == true && error.hint?.contains("vocab.txt") == true)
    #expect(error.hint?.contains("\(home)/hub/models--acme--tiny") == true)
  }

  @Test("a proxy is asked, but for hosts that need none") func proxy() throws {
    _ = addModel(1000)
    let proxy = ["http_proxy": "http://127.0.0.1:\(server.port)"]
    _ = try server.client(home, proxy.merging(["HF_ENDPOINT": "http://hub.invalid", "NO_PROXY": "127.0.0.2"]) { $1 })
      .client
      .model("acme/tiny")
    let asked = server.requests.filter { !$0.isElsewhere }
    #expect(!asked.isEmpty && asked.allSatisfy { $0.target.hasPrefix("http://hub.invalid/acme/tiny/") })
    #expect(server.requests.contains { $0.isElsewhere && $0.target.hasPrefix("/large/") })
  }
}
