import FoundationEssentials
import System

/// Standard output.
enum Output {
  /// Writes `value` as JSON, for people and programs.
  static func write(json value: some Encodable) throws(Failure) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    do {
      try writeToStandardOutput(encoder.encode(value) + [UInt8(ascii: "\n")])
    } catch let failure as Failure {
      throw failure
    } catch {
      throw Failure(.internalError, "a result that JSON cannot hold: \(error)")
    }
  }
}
