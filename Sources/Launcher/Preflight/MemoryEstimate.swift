import JSON
import System

/// What the self-test says about memory.
public enum MemoryEstimate {
  /// Bytes of a rank, as the program `words` estimates and prints in JSON; nil where it does not.
  public static func rankBytes(_ words: [String], environment: Environment) -> Int? {
    guard let text = capturedOutput(words, environment: environment, seconds: 20) else { return nil }
    let document = try? JSONDocument(Array(text.utf8), path: words.first ?? "")
    return try? document?.root.member("rank_bytes")?.int(0...1 << 45)
  }
}
