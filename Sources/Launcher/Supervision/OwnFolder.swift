import Glibc
import System

/// An open folder in which only what belongs to this user is read or removed, step by step and without following links.
package final class OwnFolder {
  private let descriptor: Int32
  private let device: dev_t
  /// Deeper trees are not Open MPI's.
  package static let mostLevels = 16

  /// The folder for temporary files at `path`, which may be a link, and may be another user's.
  package init?(temporary path: String) {
    descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    var info = stat()
    guard descriptor >= 0, fstat(descriptor, &info) == 0 else {
      if descriptor >= 0 { close(descriptor) }
      return nil
    }
    device = info.st_dev
  }

  private init?(_ name: String, in parent: OwnFolder) {
    guard Self.isPlain(name) else { return nil }
    descriptor = openat(parent.descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    device = parent.device
    var info = stat()
    guard descriptor >= 0, fstat(descriptor, &info) == 0, info.st_uid == geteuid(), info.st_dev == device else {
      if descriptor >= 0 { close(descriptor) }
      return nil
    }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  private static func isPlain(_ name: String) -> Bool {
    !name.isEmpty && name != "." && name != ".." && !name.utf8.contains(UInt8(ascii: "/"))
  }

  /// This user's folder `name` in this one.
  package func child(_ name: String) -> OwnFolder? { OwnFolder(name, in: self) }

  /// The first bytes of this user's regular file `name`.
  func content(_ name: String, limitBytes: Int) -> [UInt8]? {
    guard Self.isPlain(name) else { return nil }
    let file = openat(descriptor, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var info = stat()
    guard fstat(file, &info) == 0, info.st_mode & S_IFMT == S_IFREG, info.st_uid == geteuid() else { return nil }
    var bytes = [UInt8](repeating: 0, count: limitBytes)
    let count = read(file, &bytes, limitBytes)
    return count < 0 ? nil : Array(bytes[..<count])
  }

  /// The names in it, without those that are no UTF-8.
  var names: [String] {
    System.names(inFolder: descriptor).compactMap { String(validating: $0, as: UTF8.self) }.filter(Self.isPlain)
  }

  /// Removes this user's `name`, unless it is a folder.
  package func removeFile(_ name: String) {
    var info = stat()
    guard Self.isPlain(name), fstatat(descriptor, name, &info, AT_SYMLINK_NOFOLLOW) == 0, info.st_uid == geteuid()
    else { return }
    unlinkat(descriptor, name, 0)
  }

  /// Removes this user's folder `name` with all of this user's that is in it; of a link, the link.
  package func removeTree(_ name: String, levels: Int = OwnFolder.mostLevels) {
    guard levels > 0, let folder = child(name) else { return removeFile(name) }
    for inner in folder.names { folder.removeTree(inner, levels: levels - 1) }
    unlinkat(descriptor, name, AT_REMOVEDIR)
  }
}
