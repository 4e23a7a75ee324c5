import Glibc
import System

/// A folder with a file of each rank's output and one of its errors.
struct RankLogs {
  private let folder: String
  private var files: [String: Int32] = [:]
  /// Why no more is written; the first file that fails ends all.
  private(set) var failure: Failure?

  /// The file of the last collectives.
  static let collectives = "collectives.txt"

  /// Makes the folder. One that holds links or pipes under the names of these files is refused.
  init(_ folder: String) throws(Failure) {
    self.folder = folder
    try checkWritable(folder)
    for name in names(in: folder) where name.hasPrefix("rank-") || name == Self.collectives {
      if let reason = Self.objection("\(folder)/\(name)") {
        throw Failure(.cannotCreate, at: "\(folder)/\(name)", reason, hint: "remove it, or name another folder")
      }
    }
  }

  /// Adds `bytes` to the file of the rank's output or errors.
  mutating func write(_ bytes: [UInt8], rank: Int, isError: Bool) {
    guard failure == nil else { return }
    let path = "\(folder)/rank-\(rank).\(isError ? "err" : "out")"
    do throws(Failure) {
      let file = if let file = files[path] { file } else { try open(path) }
      files[path] = file
      try writeAll(bytes, to: file, at: path)
    } catch {
      failure = error
    }
  }

  /// Writes the last collectives, a line each, unless something else is there under their name.
  func write(collectives lines: [String]) {
    let path = "\(folder)/\(Self.collectives)"
    guard Self.objection(path) == nil else { return }
    try? writeAtomically(Array(lines.map { $0 + "\n" }.joined().utf8), to: path)
  }

  mutating func close() {
    for file in files.values { Glibc.close(file) }
    files = [:]
  }

  private func open(_ path: String) throws(Failure) -> Int32 {
    let file = Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o644)
    guard file >= 0 else { throw Failure(.cannotCreate, at: path, "cannot be written: \(lastSystemError())") }
    var info = stat()
    if fstat(file, &info) == 0, let reason = Self.objection(info) {
      Glibc.close(file)
      throw Failure(.cannotCreate, at: path, reason)
    }
    return file
  }

  /// Why nothing is written to `path`: a link leads to another file, a pipe waits for a reader. Nil where nothing, or a
  /// regular file of no other name, is there.
  private static func objection(_ path: String) -> String? {
    var info = stat()
    guard lstat(path, &info) == 0 else { return nil }
    return objection(info)
  }

  private static func objection(_ info: stat) -> String? {
    switch info.st_mode & S_IFMT {
    case S_IFREG: info.st_nlink > 1 ? "is another file's second name, expected a file of its own" : nil
    case S_IFLNK: "is a link, expected a file of its own"
    default: "is not a regular file"
    }
  }
}
