import Glibc
import System

/// Whether others can change a file that decides what runs.
package enum FileSafety {
  /// Who can, and how to mend it; nil where only this user and root can.
  package static func danger(_ path: String) -> (who: String, remedy: String)? {
    var info = stat()
    guard stat(path, &info) == 0 else { return nil }
    if info.st_mode & 0o002 != 0 { return ("everybody may write to it", "chmod o-w") }
    if info.st_uid != 0 && info.st_uid != geteuid() { return ("it belongs to user \(info.st_uid)", "chown it") }
    // Many systems give each user a group of the same number, of which nobody else is a member.
    if info.st_mode & 0o020 != 0 && info.st_gid != 0 && info.st_gid != getegid() {
      return ("group \(info.st_gid) may write to it", "chmod g-w")
    }
    return nil
  }
}
