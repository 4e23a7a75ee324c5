import Glibc

/// A file that a run writes beside its model, as the user named it: metrics, a timeline, gradients.
public enum ReportFile {
  /// Refuses a path where something is that no such run has written, before anything is opened for writing.
  ///
  /// What is no regular file is not opened at all: a FIFO would wait for a reader, and a device is not there to be filled.
  ///
  /// - Parameters:
  ///   - option: that named it, for messages.
  ///   - folders: where it must not be, with the options that named them.
  ///   - others: files that it must not be, likewise.
  ///   - allowsNull: whether it may be `/dev/null`.
  ///   - isOwn: whether the file at a path is an earlier one of the same kind.
  public static func check(
    _ path: String, option: String, notIn folders: [(option: String, path: String?)] = [],
    notAs others: [(option: String, path: String?)] = [], allowsNull: Bool = false, isOwn: (String) -> Bool
  ) throws(Failure) {
    guard !path.isEmpty else { throw Failure(.usage, at: option, "the name of the file is empty") }
    for (other, folder) in folders {
      if let folder, isInside(path, folder) {
        throw Failure(
          .usage, at: option, "\(path) is in the folder of \(other)", hint: "name a file outside of \(folder)")
      }
    }
    for (other, file) in others {
      if let file, isInside(path, file) || isInside(file, path) {
        throw Failure(.usage, at: option, "\(path) is the file of \(other), too", hint: "name two files")
      }
    }
    var info = stat()
    guard stat(path, &info) == 0 else {
      if errno == ENOENT { return }
      throw Failure(.cannotCreate, at: path, "cannot be written (\(option)): \(lastSystemError())")
    }
    if allowsNull && isNullDevice(info) { return }
    guard info.st_mode & S_IFMT == S_IFREG else {
      throw Failure(.cannotCreate, at: path, "is \(kind(info)), expected a file or nothing (\(option))")
    }
    for stream in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] {
      var own = stat()
      guard fstat(stream, &own) == 0, own.st_dev == info.st_dev, own.st_ino == info.st_ino else { continue }
      throw Failure(
        .cannotCreate, at: path, "is the program's own input or output (\(option))", hint: "name another file")
    }
    guard info.st_size == 0 || isOwn(path) else {
      throw Failure(
        .cannotCreate, at: path, "is a file of another kind, which would be lost (\(option))",
        hint: "name another file, or remove this one")
    }
  }

  /// Opens the file, which `check` has let pass, cuts it to its first `kept` bytes, behind which it is written, and keeps
  /// other runs away from it.
  public static func open(_ path: String, option: String, keepingBytes kept: Int = 0) throws(Failure) -> Int32 {
    let flags = O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC
    let descriptor = Glibc.open(path, flags, 0o644)
    guard descriptor >= 0 else {
      throw Failure(.cannotCreate, at: path, "cannot be written (\(option)): \(lastSystemError())")
    }
    var info = stat()
    guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG || isNullDevice(info) else {
      close(descriptor)
      throw Failure(.cannotCreate, at: path, "is \(kind(info)), expected a file or nothing (\(option))")
    }
    guard info.st_mode & S_IFMT == S_IFREG else { return descriptor }
    if flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK {
      close(descriptor)
      throw Failure(.cannotCreate, at: path, "another run writes to it (\(option))", hint: "name another file")
    }
    guard ftruncate(descriptor, off_t(kept)) == 0, lseek(descriptor, off_t(kept), SEEK_SET) == kept else {
      let reason = lastSystemError()
      close(descriptor)
      throw Failure(.cannotCreate, at: path, "cannot be emptied (\(option)): \(reason)")
    }
    return descriptor
  }

  private static func isNullDevice(_ info: stat) -> Bool {
    // Linux's device 1:3.
    info.st_mode & S_IFMT == S_IFCHR && info.st_rdev == 0x103
  }

  private static func kind(_ info: stat) -> String {
    switch info.st_mode & S_IFMT {
    case S_IFDIR: "a folder"
    case S_IFIFO: "a FIFO"
    case S_IFSOCK: "a socket"
    default: "a device"
    }
  }
}
