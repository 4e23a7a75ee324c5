import CCurl
import System

/// An answer's status and headers; the body went elsewhere.
struct HTTPAnswer: Sendable {
  var status: Int
  /// Names in lower case.
  var headers: [String: String]

  subscript(_ name: String) -> String? { headers[name] }
}

/// Why there was no whole answer.
struct HTTPTrouble: Error {
  /// libcurl's words.
  var reason: String
  /// Whether another try may help: a name that nobody knows or a certificate that is wrong stay so.
  var isPassing: Bool
}

/// What an exchange ended with, besides the body: an answer, trouble on the way, or a failure of the one who takes the body.
enum HTTPEnd {
  case answer(HTTPAnswer)
  /// With the answer as far as it came.
  case trouble(HTTPTrouble, HTTPAnswer?)
  case failure(Failure)
}

/// One request.
struct HTTPRequest {
  var address: WebAddress
  var isHead = false
  /// Lines `Name: value`.
  var headers: [String] = []
}

/// libcurl, opened at first use. One exchange at a time.
final class Curl {
  private var functions: lockstep_curl
  private let handle: UnsafeMutableRawPointer
  private let settings: HubSettings

  /// The libraries that will do, best first: Debian's two, of OpenSSL and of GnuTLS.
  static let libraries = ["libcurl.so.4", "libcurl-gnutls.so.4"]

  /// - Throws: `.unavailable` where there is no libcurl.
  init(_ settings: HubSettings) throws(Failure) {
    var functions = lockstep_curl()
    guard Self.libraries.contains(where: { lockstep_curl_open($0, &functions) == 0 }),
      let handle = lockstep_curl_begin(&functions)
    else {
      throw Failure(
        .unavailable, at: Self.libraries[0], "is not installed, and without it nothing can be downloaded",
        hint: "apt-get install libcurl4, or name a local folder")
    }
    self.functions = functions
    self.handle = handle
    self.settings = settings
  }

  deinit { lockstep_curl_end(&functions, handle) }

  /// The numbers of curl/curl.h.
  private enum Option {
    static let writeData: Int32 = 10_001
    static let url: Int32 = 10_002
    static let proxy: Int32 = 10_004
    static let httpHeader: Int32 = 10_023
    static let headerData: Int32 = 10_029
    static let caInfo: Int32 = 10_065
    static let noProxy: Int32 = 10_177
    static let writeFunction: Int32 = 20_011
    static let headerFunction: Int32 = 20_079
    static let lowSpeedLimit: Int32 = 19
    static let lowSpeedTime: Int32 = 20
    static let noBody: Int32 = 44
    static let connectTimeout: Int32 = 78
    static let noSignal: Int32 = 99
    static let protocols: Int32 = 181
    static let bufferSize: Int32 = 98
  }

  /// Codes of errors that stay however often one tries: of the address, the certificate, and a taker that refuses.
  private static let lasting: Set<Int32> = [1, 3, 23, 35, 51, 53, 54, 58, 59, 60, 66, 77, 80, 82, 83, 90, 91]

  /// The state of an exchange, which libcurl's callbacks get a pointer to.
  private final class Exchange {
    var answer: HTTPAnswer?
    var failure: Failure?
    /// Called with the answer's head when its last line has come, before the first piece of its body.
    let begin: (HTTPAnswer) throws(Failure) -> Void
    let take: (UnsafeRawBufferPointer) throws(Failure) -> Void
    private var hasBegun = false

    init(
      begin: @escaping (HTTPAnswer) throws(Failure) -> Void,
      take: @escaping (UnsafeRawBufferPointer) throws(Failure) -> Void
    ) {
      self.begin = begin
      self.take = take
    }

    func header(_ line: UnsafeRawBufferPointer) -> Bool {
      let bytes = line.prefix { $0 != 0x0D && $0 != 0x0A }
      if bytes.starts(with: "HTTP/".utf8) {
        // Of a proxy, of 100 Continue, or the answer's own: the last one counts.
        let words = bytes.split(separator: UInt8(ascii: " "))
        let status = words.count > 1 ? Int(String(decoding: words[1], as: UTF8.self)) : nil
        answer = HTTPAnswer(status: status ?? 0, headers: [:])
      } else if let colon = bytes.firstIndex(of: UInt8(ascii: ":")), (answer?.headers.count ?? 0) < 200 {
        let name = String(decoding: bytes[..<colon], as: UTF8.self).lowercased()
        let value = bytes[(colon + 1)...].drop { $0 == 0x20 || $0 == 0x09 }
        let end = value.lastIndex { $0 != 0x20 && $0 != 0x09 }.map { $0 + 1 } ?? value.startIndex
        answer?.headers[name] = String(decoding: value[..<end], as: UTF8.self)
      }
      return true
    }

    func body(_ bytes: UnsafeRawBufferPointer) -> Bool {
      do throws(Failure) {
        if !hasBegun, let answer {
          hasBegun = true
          try begin(answer)
        }
        try take(bytes)
        return true
      } catch {
        failure = error
        return false
      }
    }
  }

  /// Sends `request`, and has the pieces of the answer's body taken as they come.
  func send(
    _ request: HTTPRequest, begin: @escaping (HTTPAnswer) throws(Failure) -> Void = { (_) throws(Failure) in },
    take: @escaping (UnsafeRawBufferPointer) throws(Failure) -> Void = { (_) throws(Failure) in }
  ) -> HTTPEnd {
    // Connections stay open over it.
    lockstep_curl_reset(&functions, handle)
    let exchange = Exchange(begin: begin, take: take)
    let context = Unmanaged.passUnretained(exchange).toOpaque()
    var list: UnsafeMutableRawPointer?
    for line in request.headers + ["User-Agent: lockstep/1", "Accept-Encoding: identity"] {
      list = lockstep_curl_append(&functions, list, line)
    }
    defer { lockstep_curl_free(&functions, list) }
    let seconds = settings.timeoutSeconds
    var codes = [
      set(Option.url, request.address.text), set(Option.proxy, settings.proxies[request.address.scheme] ?? ""),
      set(Option.noSignal, 1), set(Option.connectTimeout, seconds), set(Option.lowSpeedLimit, 1),
      // HTTP and HTTPS.
      set(Option.lowSpeedTime, seconds), set(Option.protocols, 3),
      lockstep_curl_set_pointer(&functions, handle, Option.httpHeader, list),
      lockstep_curl_set_pointer(&functions, handle, Option.writeData, context),
      lockstep_curl_set_pointer(&functions, handle, Option.headerData, context),
      lockstep_curl_set_taker(&functions, handle, Option.writeFunction) { bytes, size, count, context in
        Curl.exchange(context).body(UnsafeRawBufferPointer(start: bytes, count: size * count)) ? size * count : 0
      },
      lockstep_curl_set_taker(&functions, handle, Option.headerFunction) { bytes, size, count, context in
        Curl.exchange(context).header(UnsafeRawBufferPointer(start: bytes, count: size * count)) ? size * count : 0
      },
    ]
    // Refused after a connection that failed, whose buffer is kept; only speed hangs on it.
    _ = set(Option.bufferSize, 1 << 18)
    if request.isHead { codes.append(set(Option.noBody, 1)) }
    if let noProxy = settings.noProxy { codes.append(set(Option.noProxy, noProxy)) }
    if let certificates = settings.certificates { codes.append(set(Option.caInfo, certificates)) }
    if let code = codes.first(where: { $0 != 0 }) {
      return .trouble(HTTPTrouble(reason: text(code), isPassing: false), nil)
    }
    let code = withExtendedLifetime(exchange) { lockstep_curl_perform(&functions, handle) }
    if let failure = exchange.failure { return .failure(failure) }
    guard code == 0, let answer = exchange.answer else {
      return .trouble(HTTPTrouble(reason: text(code), isPassing: !Self.lasting.contains(code)), exchange.answer)
    }
    return .answer(answer)
  }

  private static func exchange(_ context: UnsafeMutableRawPointer?) -> Exchange {
    Unmanaged<Exchange>.fromOpaque(context!).takeUnretainedValue()
  }

  private func set(_ option: Int32, _ value: Int) -> Int32 {
    lockstep_curl_set_number(&functions, handle, option, value)
  }

  private func set(_ option: Int32, _ value: String) -> Int32 {
    lockstep_curl_set_text(&functions, handle, option, value)
  }

  private func text(_ code: Int32) -> String {
    lockstep_curl_text(&functions, code).map { String(cString: $0) } ?? "error \(code)"
  }
}
