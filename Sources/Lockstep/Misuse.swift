import System

/// An error of a program that says which status the program ends with.
public protocol ErrorWithStatus: Error {
  /// 1 to 255; anything else becomes 70, a mistake of the program.
  var exitStatus: Int32 { get }
}

/// A mistake in a program that uses the library, named after the call.
func misuse(_ call: String, _ problem: String, hint: String? = nil) -> Failure {
  Failure(.internalError, at: call, problem, hint: hint)
}

/// Any error of a program as a failure: with its own status where it has one.
func failure(of error: any Error) -> Failure {
  if let failure = error as? Failure { return failure }
  guard let error = error as? any ErrorWithStatus, 1...255 ~= error.exitStatus else {
    return Failure(.internalError, "\(error)")
  }
  return Failure(ExitStatus(rawValue: error.exitStatus), "\(error)")
}
