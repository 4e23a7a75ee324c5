import BERT
import Glibc
import Hub
import System
import TestSupport
import Testing
import Tokenization

/// Hashes, archives, addresses, names and settings.
@Suite struct PartsTests {
  @Test("the models that are fetched are those that can be trained, with all files of their tokenizers") func families()
  {
    #expect(ModelFiles.knownTypes == ModelFamily.all.map(\.modelType))
    #expect(Set(ModelFiles.tokenizer) == Set(TokenizerFiles.names))
  }

  @Test("SHA-1 of the standard's own examples, in pieces of any size") func hashes() {
    let text = Array("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".utf8)
    for size in [1, 7, 55, 56, 63, 64] {
      var sha = SHA1()
      for start in stride(from: 0, to: text.count, by: size) {
        sha.update(Array(text[start..<min(start + size, text.count)]))
      }
      #expect(sha.hexDigest == "84983e441c3bd26ebaae4aa1f95129e5e54670f1")
    }
    #expect(SHA1().hexDigest == "da39a3ee5e6b4b0d3255bfef95601890afd80709")
    // git hash-object of an empty file.
    #expect(gitSHA1([]) == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")
    #expect(checksum(Array("123456789".utf8)) == 0xCBF4_3926)
  }

  @Test(
    "archives that Python made, stored and compressed, are unpacked, and broken ones refused",
    .needs(.program("python3")))
  func archives() throws {
    let folder = try TemporaryFolder()
    let script = """
      import zipfile, random
      random.seed(1)
      text = ''.join(random.choice(['the ', 'otter ', 'kettle\\t', 'a\\n']) for _ in range(200000))
      with zipfile.ZipFile('\(folder.path)/a.zip', 'w') as z:
        for level, name in [(0, 'T/none.tsv'), (1, 'T/fast.tsv'), (9, 'T/best.tsv')]:
          kind = zipfile.ZIP_STORED if level == 0 else zipfile.ZIP_DEFLATED
          z.writestr(name, text, kind, level or None)
        z.writestr('T/noise.tsv', random.randbytes(70000), zipfile.ZIP_DEFLATED)
        z.writestr('T/empty.tsv', '', zipfile.ZIP_DEFLATED)
      open('\(folder.path)/text', 'w').write(text)
      """
    #expect(try Program.run(["python3", "-c", script]).status == 0)
    let text = try readBytes("\(folder.path)/text")
    let bytes = try readBytes("\(folder.path)/a.zip")
    let archive = try ZipArchive(bytes, path: "a.zip")
    #expect(archive.entries.map(\.name) == ["none", "fast", "best", "noise", "empty"].map { "T/\($0).tsv" })
    for entry in archive.entries.prefix(3) { #expect(try archive.bytes(of: entry) == text, "\(entry.name)") }
    #expect(try archive.bytes(of: #require(archive.entries.last)) == [])
    // A byte of the second file's data.
    var broken = bytes
    broken[text.count + 4000] ^= 8
    let second = try #require(archive.entries.dropFirst().first)
    let error = failure { () throws(Failure) in try ZipArchive(broken, path: "a.zip").bytes(of: second) }
    #expect(error?.status == .badData, "\(error.debugDescription)")
    #expect(
      failure { () throws(Failure) in try ZipArchive(Array(bytes.dropLast(30)), path: "a.zip") }?.status == .badData)
  }

  @Test(
    "names that the hub has, and others",
    arguments: [
      ("bert-base-uncased", true), ("google-bert/bert-base-uncased", true), ("a.b/c_d", true), ("a/b/c", false),
      ("../x", false), ("/x", false), ("a--b", false), ("x.git", false), ("", false), ("a/", false), ("a b", false),
      ("-x/y", false), ("a..b", false), ("é", false),
    ])
  func names(id: String, isName: Bool) { #expect((HubRepo(.model, id: id) != nil) == isName) }

  @Test("a revision stands behind the name or beside it, not both") func revisions() throws {
    #expect(try HubName(.model, "a/b@v1").revision == "v1")
    #expect(try HubName(.model, "a/b", revision: "v1") == HubName(.model, "a/b@v1"))
    #expect(try HubName(.model, "a/b").revision == "main")
    #expect(failure { () throws(Failure) in try HubName(.model, "a/b@v1", revision: "v2") }?.status == .usage)
    #expect(failure { () throws(Failure) in try HubName(.model, "a/b@../../x") }?.status == .usage)
  }

  @Test("the cache, the token and the proxies are where huggingface_hub looks for them") func settings() throws {
    func made(_ variables: [String: String]) throws -> HubSettings {
      let all = ["HOME": "/nonexistent"].merging(variables) { $1 }
      return try HubSettings { all[$0] }
    }
    #expect(try made([:]).cache == "/nonexistent/.cache/huggingface/hub")
    #expect(try made(["XDG_CACHE_HOME": "/x"]).cache == "/x/huggingface/hub")
    #expect(try made(["XDG_CACHE_HOME": "/x", "HF_HOME": "/h"]).cache == "/h/hub")
    #expect(try made(["HF_HOME": "~/h", "HF_HUB_CACHE": ""]).cache == "/nonexistent/h/hub")
    #expect(try made(["HF_HOME": "/h", "HF_HUB_CACHE": "/c"]).cache == "/c")
    #expect(try made([:]).endpoint == "https://huggingface.co")
    #expect(try made(["HF_ENDPOINT": "http://m/"]).endpoint == "http://m")
    #expect(
      failure { () throws(Failure) in try HubSettings { $0 == "HOME" ? "/" : $0 == "HF_ENDPOINT" ? "m" : nil } }?.status
        == .usage)
    #expect(try made(["HF_HUB_OFFLINE": "true"]).isOffline && !made(["HF_HUB_OFFLINE": "0"]).isOffline)
    let proxies = try made(["HTTPS_PROXY": "http://p:1", "all_proxy": "http://q:2", "NO_PROXY": "x"])
    #expect(proxies.proxies == ["https": "http://p:1", "http": "http://q:2"] && proxies.noProxy == "x")
    let folder = try TemporaryFolder()
    try folder.write(" hf_file\n", "token")
    #expect(try made(["HF_HOME": folder.path]).token == "hf_file")
    #expect(try made(["HF_HOME": folder.path, "HF_TOKEN": "hf_own"]).token == "hf_own")
    #expect(try made(["HF_TOKEN_PATH": "\(folder.path)/token"]).token == "hf_file")
    #expect(
      failure { () throws(Failure) in try HubSettings { $0 == "HOME" ? "/" : $0 == "HF_TOKEN" ? "a\r\nX: b" : nil } }?
        .status == .usage)
    #expect(failure { () throws(Failure) in try HubSettings { _ in nil } }?.status == .missingInput)
  }

  @Test("what is relative stays on the server, and a token's origin has scheme, host and port") func addresses() throws
  {
    let base = try #require(WebAddress("http://Host:80/a/b?q"))
    #expect(base.following("/c")?.text == "http://host:80/c" && base.following("c")?.text == "http://host:80/a/c")
    #expect(base.following("https://x/y")?.text == "https://x/y")
    #expect(!WebAddress.isRelative("//evil/x") && base.following("//evil/x")?.host == "evil")
    #expect(!WebAddress.isRelative("/\\evil") && !WebAddress.isRelative("http://x") && WebAddress.isRelative("/a:b"))
    #expect(base.origin == "http://host" && WebAddress("http://host:81/")?.origin == "http://host:81")
    #expect(WebAddress("https://host/")?.origin != base.origin)
    #expect(WebAddress("http://me@host/") == nil && WebAddress("ftp://host/") == nil && WebAddress("http:///x") == nil)
    #expect(WebAddress.escaped("a b/é#") == "a%20b/%C3%A9%23")
  }
}
