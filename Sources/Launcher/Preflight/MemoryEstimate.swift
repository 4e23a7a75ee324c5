import Yams

/// What the self-test says about memory.
public enum MemoryEstimate {
  /// Bytes of a rank, as the program `words` estimates and prints in JSON; nil where it does not.
  public static func rankBytes(_ words: [String], environment: Environment) -> Int? {
    guard let text = capturedOutput(words, environment: environment, seconds: 20) else { return nil }
    // JSON is YAML.
    let root = try? Yams.compose(yaml: text)
    return (root?.mapping?["rank_bytes"]?.scalar?.string).flatMap { Int($0) }.flatMap { 0...1 << 45 ~= $0 ? $0 : nil }
  }
}
