import Glibc

/// The names in the folder `path`, in no order, without `.` and `..`; none where it cannot be read.
public func names(in path: String) -> [String] {
  let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
  guard descriptor >= 0 else { return [] }
  return names(readingAndClosing: descriptor).map { String(decoding: $0, as: UTF8.self) }
}

/// The names in the open folder `descriptor`, in no order, without `.` and `..`. Names are bytes: not every name is UTF-8.
public func names(inFolder descriptor: Int32) -> [[UInt8]] {
  // The stream closes its descriptor, and the one that it reads moves on.
  names(readingAndClosing: openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC))
}

private func names(readingAndClosing descriptor: Int32) -> [[UInt8]] {
  guard descriptor >= 0 else { return [] }
  guard let stream = fdopendir(descriptor) else {
    close(descriptor)
    return []
  }
  defer { closedir(stream) }
  var names: [[UInt8]] = []
  while let entry = readdir(stream) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
    if name != [0x2E] && name != [0x2E, 0x2E] { names.append(name) }
  }
  return names
}

/// A folder held open, so that what is done in it stays in it whatever becomes of its path.
///
/// Names are bytes: not every name is UTF-8.
final class OpenFolder {
  let descriptor: Int32

  /// Nil where `path` is no folder that can be opened; errno says why.
  convenience init?(_ path: String) { self.init(Array(path.utf8), in: AT_FDCWD, follows: true) }

  /// The folder `name` of the folder `descriptor`; a link is none.
  init?(_ name: [UInt8], in descriptor: Int32, follows: Bool = false) {
    let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (follows ? 0 : O_NOFOLLOW)
    self.descriptor = openat(descriptor, name.terminated, flags)
    if self.descriptor < 0 { return nil }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Sorted.
  var names: [[UInt8]] { System.names(inFolder: descriptor).sorted { $0.lexicographicallyPrecedes($1) } }

  func has(_ name: String) -> Bool { faccessat(descriptor, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 }

  func isOnDevice(of other: OpenFolder) -> Bool {
    var (own, others) = (stat(), stat())
    return fstat(descriptor, &own) == 0 && fstat(other.descriptor, &others) == 0 && own.st_dev == others.st_dev
  }

  /// Gives what is called `name` here the same name in `other`; false with errno where that fails.
  func move(_ name: [UInt8], to other: OpenFolder) -> Bool {
    renameat(descriptor, name.terminated, other.descriptor, name.terminated) == 0
  }

  /// Removes everything in the folder but `kept`; follows no link. False where something stays.
  @discardableResult
  func removeContents(but kept: String? = nil) -> Bool {
    var isEmpty = true
    for name in names where !(kept.map { name.elementsEqual($0.utf8) } ?? false) {
      isEmpty = remove(name) && isEmpty
    }
    return isEmpty
  }

  /// Removes what is called `name` here with all that is in it; follows no link. False where something stays.
  @discardableResult
  func remove(_ name: [UInt8]) -> Bool {
    if unlinkat(descriptor, name.terminated, 0) == 0 || errno == ENOENT { return true }
    var info = stat()
    // A file system that cannot be written says so of what is not there, too.
    guard fstatat(descriptor, name.terminated, &info, AT_SYMLINK_NOFOLLOW) == 0 else { return errno == ENOENT }
    guard info.st_mode & S_IFMT == S_IFDIR else { return false }
    // A folder that its owner may not list is removed all the same.
    if info.st_mode & 0o700 != 0o700 { _ = fchmodat(descriptor, name.terminated, 0o700, 0) }
    if let folder = OpenFolder(name, in: descriptor) { folder.removeContents() }
    return unlinkat(descriptor, name.terminated, AT_REMOVEDIR) == 0
  }
}

extension [UInt8] {
  /// As a C string.
  fileprivate var terminated: [CChar] { map { CChar(bitPattern: $0) } + [0] }
}
