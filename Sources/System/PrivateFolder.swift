import CFileSystem
import Glibc

/// Folders that only their owner may enter, which appear under their names whole and durable, or not at all.
public enum PrivateFolder {
  /// Makes the empty folder `path`, which only the user may enter. Removes what a dead run left under that name; a link
  /// that somebody planted there is removed and not followed.
  public static func make(_ path: String) throws(Failure) {
    guard remove(path), mkdir(path, 0o700) == 0 else {
      throw Failure(outputStatus(), at: path, "folder cannot be made: \(lastSystemError())")
    }
  }

  /// Lets nobody but the user read the file `path`.
  public static func restrict(file path: String) throws(Failure) {
    guard chmod(path, 0o600) == 0 else {
      throw Failure(outputStatus(), at: path, "its mode cannot be changed: \(lastSystemError())")
    }
  }

  /// Gives the folder `path` the name `name` beside it. Nothing, or an empty folder, may have that name.
  public static func rename(_ path: String, to name: String) throws(Failure) {
    guard Glibc.rename(path, name) == 0 else {
      throw Failure(outputStatus(), at: name, "cannot be renamed into place: \(lastSystemError())")
    }
  }

  /// Puts the folder `path` in place of `name` in one step, and removes what had that name.
  public static func replace(_ name: String, by path: String) throws(Failure) {
    guard exists(name) else { return try rename(path, to: name) }
    if lockstep_exchange_names(path, name) != 0 {
      // The file system does not know how.
      guard remove(name) else {
        throw Failure(outputStatus(), at: name, "cannot be replaced: \(lastSystemError())")
      }
      return try rename(path, to: name)
    }
    remove(path)
  }

  /// Removes what is at `path` with all that is in it; follows no link. False where something stays.
  @discardableResult
  public static func remove(_ path: String) -> Bool {
    guard let folder = OpenFolder(parent(of: path)) else { return errno == ENOENT }
    return folder.remove(Array(lastComponent(of: path).utf8))
  }

  /// The names in the folder `path`, sorted; none where it cannot be read.
  public static func names(in path: String) -> [String] {
    System.names(in: path).sorted()
  }

  /// Whether a regular file, and no link to one, is at `path`.
  public static func hasFile(_ path: String) -> Bool {
    var info = stat()
    return lstat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFREG
  }
}
