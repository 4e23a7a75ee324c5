import System

/// Where models and data come from and where they are kept: read once from the environment, with the names and the
/// meanings of `huggingface_hub`.
public struct HubSettings: Sendable {
  /// The folder of the cache: `HF_HUB_CACHE`, else `HF_HOME/hub`, else `$XDG_CACHE_HOME/huggingface/hub`, else
  /// `~/.cache/huggingface/hub`.
  public var cache: String
  /// The address of the hub, without a slash at its end: `HF_ENDPOINT`, else huggingface.co.
  public var endpoint: String
  /// The address of the host that has GLUE's own files: `LOCKSTEP_GLUE_ENDPOINT`, else ``GLUESource/standardEndpoint``.
  public var glueEndpoint: String
  /// Whether the published sums of GLUE's files and their rows count: not where the user named another server.
  public var checksGLUE: Bool
  /// `HF_TOKEN`, else what is in the file `HF_TOKEN_PATH` or `HF_HOME/token`.
  public var token: String?
  /// `HF_HUB_OFFLINE`: nothing is asked of any server.
  public var isOffline: Bool
  /// Proxies by the scheme of the address that is asked for.
  public var proxies: [String: String]
  /// Hosts that are asked without a proxy, with commas between them.
  public var noProxy: String?
  /// A file of certificates to trust instead of the system's.
  public var certificates: String?
  /// How long to wait for a connection, and for each piece of an answer.
  public var timeoutSeconds: Int
  /// `HF_HUB_DISABLE_PROGRESS_BARS`.
  public var showsProgress: Bool
  /// The pause before the second try; each further one is twice as long.
  public var pauseSeconds = 0.5

  public static let standardEndpoint = "https://huggingface.co"

  /// - Parameter variable: the value of a variable of the environment.
  /// - Throws: `.usage` for a variable that makes no sense, `.missingInput` where there is no folder for the cache.
  public init(_ variable: (String) -> String?) throws(Failure) {
    // As in Python, an empty value is none.
    func value(_ name: String) -> String? { variable(name).flatMap { $0.isEmpty ? nil : $0 } }
    func isOn(_ name: String) -> Bool { ["1", "ON", "YES", "TRUE"].contains((value(name) ?? "").uppercased()) }
    let user = value("HOME")
    func path(_ text: String) -> String {
      guard let user, text == "~" || text.hasPrefix("~/") else { return text }
      return user + text.dropFirst()
    }
    let home =
      value("HF_HOME").map(path)
      ?? (value("XDG_CACHE_HOME").map(path) ?? user.map { "\($0)/.cache" }).map { "\($0)/huggingface" }
    guard let cache = (value("HF_HUB_CACHE") ?? value("HUGGINGFACE_HUB_CACHE")).map(path) ?? home.map({ "\($0)/hub" })
    else {
      throw Failure(
        .missingInput, at: "HOME", "is not set, and so there is no folder for models", hint: "set HF_HOME to one")
    }
    self.cache = cache
    endpoint = try Self.address(value("HF_ENDPOINT") ?? Self.standardEndpoint, "HF_ENDPOINT")
    glueEndpoint = try Self.address(
      value("LOCKSTEP_GLUE_ENDPOINT") ?? GLUESource.standardEndpoint, "LOCKSTEP_GLUE_ENDPOINT")
    checksGLUE = glueEndpoint == GLUESource.standardEndpoint
    isOffline = isOn("HF_HUB_OFFLINE") || isOn("TRANSFORMERS_OFFLINE")
    showsProgress = !isOn("HF_HUB_DISABLE_PROGRESS_BARS")
    proxies = [:]
    for scheme in ["http", "https"] {
      let names = ["\(scheme)_proxy", "all_proxy"].flatMap { [$0, $0.uppercased()] }
      proxies[scheme] = names.compactMap(value).first
    }
    noProxy = value("no_proxy") ?? value("NO_PROXY")
    certificates = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"].compactMap(value).first
    let timeout = value("HF_HUB_DOWNLOAD_TIMEOUT")
    guard let seconds = Int(timeout ?? "10"), 1...86_400 ~= seconds else {
      throw Failure(.usage, at: "HF_HUB_DOWNLOAD_TIMEOUT", "\"\(timeout ?? "")\", expected whole seconds from 1")
    }
    timeoutSeconds = seconds
    token = nil
    if !isOn("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
      let file = value("HF_TOKEN_PATH").map(path) ?? home.map { "\($0)/token" }
      token = try Self.token(value("HF_TOKEN") ?? value("HUGGING_FACE_HUB_TOKEN"), file: file)
    }
  }

  /// An address without the slashes at its end.
  private static func address(_ text: String, _ name: String) throws(Failure) -> String {
    var bytes = Array(text.utf8)
    while bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
    let address = String(decoding: bytes, as: UTF8.self)
    guard let url = WebAddress(address), url.path.isEmpty || url.path.utf8.allSatisfy({ $0 != UInt8(ascii: "?") })
    else {
      throw Failure(.usage, at: name, "\"\(text)\", expected an address such as https://huggingface.co")
    }
    return address
  }

  /// The token without the white space around it. One that could end a header line is refused.
  private static func token(_ given: String?, file: String?) throws(Failure) -> String? {
    var bytes = given.map { Array($0.utf8) } ?? []
    var place = "HF_TOKEN"
    if given == nil, let file, exists(file) {
      bytes = try readBytes(file, limitBytes: 1 << 16)
      place = file
    }
    let isSpace = { (byte: UInt8) in byte <= 0x20 }
    let text = bytes.drop(while: isSpace)
    guard let last = text.lastIndex(where: { !isSpace($0) }) else { return nil }
    guard text[...last].allSatisfy({ (0x21...0x7E).contains($0) }) else {
      throw Failure(.usage, at: place, "is no token, expected one word of ASCII such as hf_…")
    }
    return String(decoding: text[...last], as: UTF8.self)
  }
}
