import Glibc
import System

/// What is copied to hosts that have no Swift: the programs, which carry its runtime, and samples.
public enum Package {
  public struct File: Sendable {
    /// The path inside the package.
    public var name: String
    public var bytes: [UInt8]
    public var isExecutable: Bool
    /// Whether it is a binary, which needs no symbols where nobody debugs it.
    public var isProgram = false
  }

  /// What became of the programs.
  public struct Sizes: Sendable, Equatable {
    /// Bytes of all programs as they were built.
    public var built = 0
    /// The same as they are in the package.
    public var packed = 0
    /// Why they keep their symbols; nil where they do not.
    public var note: String?
  }

  /// The launcher, the programs beside it but for the examples, the samples of hostfiles, and a page on what to do with
  /// them.
  public static func files(programs: any ProgramFinder) throws(Failure) -> [File] {
    var files: [File] = []
    let wanted = ["launch"] + Programs.own.filter { !$0.isExample }.map(\.name)
    for name in wanted where exists("\(programs.folder)/\(name)") {
      files.append(
        File(name: name, bytes: try readBytes("\(programs.folder)/\(name)"), isExecutable: true, isProgram: true))
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

  /// Writes `files` into the new folder `folder`, the programs without their symbols where `machine` has what removes them.
  ///
  /// - Throws: `.cannotCreate` where the folder exists and is not empty.
  public static func write(_ files: [File], to folder: String, on machine: Machine) throws(Failure) -> Sizes {
    guard names(in: folder).isEmpty else {
      throw Failure(
        .cannotCreate, at: folder, "is not empty, expected a new folder", hint: "remove it, or name another")
    }
    var sizes = Sizes()
    for file in files {
      let path = "\(folder)/\(file.name)"
      try makeDirectory(parent(of: path))
      try writeAtomically(file.bytes, to: path)
      guard chmod(path, file.isExecutable ? 0o755 : 0o644) == 0 else {
        throw Failure(.cannotCreate, at: path, "its mode cannot be set: \(lastSystemError())")
      }
      guard file.isProgram else { continue }
      if sizes.note == nil { sizes.note = removeSymbols(of: path, on: machine) }
      sizes.built += file.bytes.count
      sizes.packed += try InputFile(path).byteCount
    }
    return sizes
  }

  /// Why the program at `path` keeps its symbols; nil where they are gone.
  private static func removeSymbols(of path: String, on machine: Machine) -> String? {
    let ways = [("strip", ["--strip-all"]), ("objcopy", ["--strip-all"])]
    let found = ways.lazy.compactMap { name, options in machine.programs.find(name).map { [$0] + options } }.first
    guard let words = found else {
      return "neither strip nor objcopy is on the PATH, so the programs keep their symbols (apt-get install binutils)"
    }
    // What they print is a complaint.
    guard let said = capturedOutput(words + [path], environment: machine.environment, seconds: 60) else {
      return "\(words[0]) does not end within 60 s, so programs keep their symbols"
    }
    let line = said.split(separator: "\n").first.map(String.init)
    return line.map { "programs keep their symbols, for \(words[0]) says: \($0.shortened)" }
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
