import Glibc
import System

/// How the server hears and speaks.
extension HubServer {
  /// The next request of a connection; `input` keeps what comes behind it.
  static func read(_ connection: Int32, _ input: inout [UInt8]) -> Request? {
    let end = Array("\r\n\r\n".utf8)
    while true {
      if let place = input.indices.first(where: { input[$0...].starts(with: end) }) {
        let lines = String(decoding: input[..<place], as: UTF8.self).split(separator: "\r\n").map(String.init)
        input.removeFirst(place + 4)
        let words = (lines.first ?? "").split(separator: " ").map(String.init)
        guard words.count == 3 else { return nil }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
          let parts = line.split(separator: ":", maxSplits: 1).map(String.init)
          guard parts.count == 2 else { continue }
          headers[parts[0].lowercased()] = String(parts[1].drop { $0 == " " })
        }
        return Request(method: words[0], target: words[1], headers: headers, isElsewhere: false)
      }
      var block = [UInt8](repeating: 0, count: 4096)
      let count = recv(connection, &block, block.count, 0)
      guard count > 0 else { return nil }
      input += block[..<count]
    }
  }

  /// False where the other end is gone.
  func put(_ connection: Int32, _ bytes: ArraySlice<UInt8>) -> Bool {
    bytes.withUnsafeBytes { buffer in
      var done = 0
      while done < buffer.count {
        let count = Glibc.send(
          connection, buffer.baseAddress! + done, buffer.count - done, Int32(MSG_NOSIGNAL))
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { return false }
        done += count
      }
      return true
    }
  }

  /// A socket that listens on a free port.
  static func listen(on address: UInt32) throws -> (descriptor: Int32, port: UInt16) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_addr.s_addr = address.bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafeMutablePointer(to: &name) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        bind(descriptor, pointer, size) == 0 && Glibc.listen(descriptor, 64) == 0
          && getsockname(descriptor, pointer, &size) == 0
      }
    }
    guard result else { throw Failure(.unavailable, "no server can be started: \(lastSystemError())") }
    return (descriptor, UInt16(bigEndian: name.sin_port))
  }
}

/// Runs `body` in a thread of its own, which nobody waits for.
func inThread(_ body: @escaping @Sendable () -> Void) {
  var thread = pthread_t()
  let box = Unmanaged.passRetained(Body(body))
  let error = pthread_create(
    &thread, nil,
    { context in
      if let context { Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run() }
      return nil
    }, box.toOpaque())
  if error == 0 { pthread_detach(thread) } else { box.release() }
}

private final class Body: Sendable {
  let run: @Sendable () -> Void
  init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}
