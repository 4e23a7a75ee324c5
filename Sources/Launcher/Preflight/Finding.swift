import System

/// One thing that was looked at before a job.
public struct Finding: Sendable, Equatable {
  public enum Kind: String, Sendable { case fine, warning, error }

  public var kind: Kind
  /// What was found, with its cause and the way out; for `.fine` only the place and the message count.
  public var failure: Failure

  public static func fine(_ message: String) -> Finding { Finding(kind: .fine, failure: Failure(.success, message)) }

  static func error(_ status: ExitStatus, at place: String, _ message: String, hint: String) -> Finding {
    Finding(kind: .error, failure: Failure(status, at: place, message, hint: hint))
  }

  static func warning(_ place: String, _ message: String, hint: String) -> Finding {
    Finding(kind: .warning, failure: Failure(.configuration, at: place, message, hint: hint))
  }
}
