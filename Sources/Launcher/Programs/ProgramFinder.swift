import System

/// How names of programs become paths, and what they are: ``Programs`` asks this machine, a test answers by itself.
public protocol ProgramFinder: Sendable {
  /// The folder that holds this package's programs.
  var folder: String { get }
  /// The path of the program `name`: a path as it is, one of the package's programs, or an executable on the PATH.
  func path(of name: String) throws(Failure) -> String
  /// The same, for a program that the kernel knows how to start.
  func startable(_ name: String) throws(Failure) -> String
  /// The path of the executable `name` on the PATH.
  func find(_ name: String) -> String?
  /// Whose `mpirun` is at `path`.
  func flavour(ofMPIRun path: String, _ environment: Environment) throws(Failure) -> MPIFlavour
}

extension ProgramFinder {
  /// Whether the program at `path` is one that was built with this launcher.
  public func isOwn(_ path: String) -> Bool { path.utf8.starts(with: "\(folder)/".utf8) }
}

extension Programs: ProgramFinder {
  public func flavour(ofMPIRun path: String, _ environment: Environment) throws(Failure) -> MPIFlavour {
    try MPIFlavour(mpirun: path, environment: environment)
  }
}
