import Glibc
import System

/// What is copied to hosts that have no Swift: the programs, which carry its runtime, and samples.
public enum Package {
  public struct File: Sendable {
    /// The path inside the package.
    public var name: String
    public var bytes: [UInt8]
    public var isExecutable: Bool
  }

  /// The launcher, the programs beside it, the samples of hostfiles, and a page on what to do with them.
  public static func files(programs: any ProgramFinder) throws(Failure) -> [File] {
    var files: [File] = []
    for name in ["launch"] + Programs.own.map(\.name) where exists("\(programs.folder)/\(name)") {
      files.append(File(name: name, bytes: try readBytes("\(programs.folder)/\(name)"), isExecutable: true))
    }
    guard let samples = samples(from: programs.folder) else {
      throw Failure(.missingInput, at: programs.folder, "no hostfiles folder here or above, expected the package's")
    }
    for name in names(in: samples).sorted() {
      let path = "\(samples)/\(name)"
      files.append(
        File(name: "hostfiles/\(name)", bytes: try readBytes(path), isExecutable: access(path, X_OK) == 0))
    }
    for name in ["LICENSE", "NOTICE"] {
      files.append(File(name: name, bytes: try readBytes("\(parent(of: samples))/\(name)"), isExecutable: false))
    }
    files.append(File(name: "README", bytes: Array(page.utf8), isExecutable: false))
    return files
  }

  /// Writes `files` into the new folder `folder`.
  ///
  /// - Throws: `.cannotCreate` where the folder exists and is not empty.
  public static func write(_ files: [File], to folder: String) throws(Failure) {
    guard names(in: folder).isEmpty else {
      throw Failure(
        .cannotCreate, at: folder, "is not empty, expected a new folder", hint: "remove it, or name another")
    }
    for file in files {
      let path = "\(folder)/\(file.name)"
      try makeDirectory(parent(of: path))
      try writeAtomically(file.bytes, to: path)
      guard chmod(path, file.isExecutable ? 0o755 : 0o644) == 0 else {
        throw Failure(.cannotCreate, at: path, "its mode cannot be set: \(lastSystemError())")
      }
    }
  }

  /// The folder of samples: beside the programs in a package, above them where they were built.
  private static func samples(from folder: String) -> String? {
    var folder = folder
    while folder.utf8.count > 1 {
      if exists("\(folder)/hostfiles/two-hosts") { return "\(folder)/hostfiles" }
      folder = parent(of: folder)
    }
    return nil
  }

  private static let page = """
    Lockstep, packed: programs that need Open MPI (openmpi-bin) and OpenBLAS (libopenblas0), but no Swift.
    Copy this folder to the same path on each host, then: ./launch test --hostfile hostfiles/two-hosts

    """
}
