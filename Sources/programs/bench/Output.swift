import FileSystem
import FoundationEssentials
import Glibc

/// Standard output.
enum Output {
  static func write(_ text: String) throws(Failure) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw Failure(.ioError, at: "standard output", "writing failed: \(lastSystemError())") }
      rest = rest.dropFirst(count)
    }
  }

  /// Writes `value` as JSON, for people and programs.
  static func write(json value: some Encodable) throws(Failure) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    do {
      try write(String(decoding: encoder.encode(value), as: UTF8.self) + "\n")
    } catch let failure as Failure {
      throw failure
    } catch {
      throw Failure(.internalError, "a result that JSON cannot hold: \(error)")
    }
  }
}
