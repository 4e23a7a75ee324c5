import Glibc
import System

extension Failure.Cause {
  /// A checkpoint that this user or this version of the program cannot read. Nothing says that it is damaged, so it is
  /// neither passed over nor removed.
  public static let checkpointOutOfReach = Failure.Cause("a checkpoint is out of reach")
}

/// Looks at files and folders, and tells what is not there from what cannot be looked at.
package enum Reach {
  package enum Kind: Sendable { case nothing, folder, file, link, other }

  /// What is at a path.
  ///
  /// - Parameter follows: whether it is what a link leads to.
  /// - Throws: where the system does not say: `.permission`, or `.ioError`.
  package static func kind(of path: String, follows: Bool = true) throws(Failure) -> Kind {
    var info = stat()
    let answer = follows ? stat(path, &info) : lstat(path, &info)
    guard answer == 0 else {
      let code = errno
      guard saysNothingIsThere(code) else { throw failure(code, at: path) }
      return .nothing
    }
    switch info.st_mode & S_IFMT {
    case S_IFDIR: return .folder
    case S_IFREG: return .file
    case S_IFLNK: return .link
    default: return .other
    }
  }

  /// The names in a folder, sorted; none where no folder is there.
  ///
  /// - Throws: where it cannot be read: `.permission`, or `.ioError`.
  package static func names(in path: String) throws(Failure) -> [String] {
    let (names, code) = list(path)
    guard code == 0 || saysNothingIsThere(code) else { throw failure(code, at: path) }
    return names
  }

  /// Opens a file.
  ///
  /// - Throws: where it cannot be read: `.permission`, or `.ioError`; and what `InputFile` throws.
  static func input(_ path: String) throws(Failure) -> InputFile {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    if descriptor >= 0 {
      close(descriptor)
    } else {
      let code = errno
      guard saysNothingIsThere(code) else { throw failure(code, at: path) }
    }
    return try InputFile(path)
  }

  /// A failure of reading: where the system could not read, nothing says that the content is wrong.
  static func named(_ failure: Failure) -> Failure {
    guard failure.status == .ioError else { return failure }
    var failure = failure
    failure.cause = .checkpointOutOfReach
    failure.hint = failure.hint ?? diskHint
    return failure
  }

  /// Tries once more to remove what is at a path, as far as that goes.
  ///
  /// - Returns: the first thing that cannot be removed, with the system's error; nil where nothing is left.
  static func obstacle(_ path: String) -> (path: String, code: Int32)? {
    if unlink(path) == 0 { return nil }
    let code = errno
    if code == ENOENT { return nil }
    var info = stat()
    guard lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else { return (path, code) }
    let (names, listCode) = list(path)
    if listCode != 0 { return (path, listCode) }
    for name in names {
      if let found = obstacle("\(path)/\(name)") { return found }
    }
    if rmdir(path) == 0 { return nil }
    let lastCode = errno
    return lastCode == ENOENT ? nil : (path, lastCode)
  }

  /// What cannot be removed, and why.
  static func removalFailure(_ code: Int32, at path: String) -> Failure {
    Failure(
      status(code), at: path, "cannot be removed: \(text(code))",
      hint: isForbidden(code) ? "remove it as the user to whom it belongs" : nil)
  }

  private static let diskHint = "that does not make the checkpoint wrong; mend the disk, or name an earlier checkpoint"

  private static func failure(_ code: Int32, at path: String) -> Failure {
    Failure(
      status(code), at: path, "cannot be read: \(text(code))",
      hint: isForbidden(code) ? "allow this user to read it, or start as the user to whom it belongs" : diskHint,
      cause: .checkpointOutOfReach)
  }

  private static func status(_ code: Int32) -> ExitStatus { isForbidden(code) ? .permission : .ioError }

  private static func isForbidden(_ code: Int32) -> Bool { code == EACCES || code == EPERM }

  private static func saysNothingIsThere(_ code: Int32) -> Bool {
    [ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG].contains(code)
  }

  private static func text(_ code: Int32) -> String { String(cString: strerror(code)) }

  /// The names in a folder, sorted, and the system's error, or 0.
  private static func list(_ path: String) -> (names: [String], code: Int32) {
    guard let stream = opendir(path) else { return ([], errno) }
    defer { closedir(stream) }
    var names: [String] = []
    while true {
      errno = 0
      guard let entry = readdir(stream) else {
        let code = errno
        return (names.sorted(), code)
      }
      let bytes = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
      let name = String(decoding: bytes, as: UTF8.self)
      if name != "." && name != ".." { names.append(name) }
    }
  }
}
