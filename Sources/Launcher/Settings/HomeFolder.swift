import Glibc
import System

/// A user's home: `HOME`, or what the system's list of users says; nil where neither knows one.
public func userHome(_ environment: Environment) -> String? {
  if let home = environment["HOME"], !home.isEmpty { return home }
  return home(of: getpwuid(getuid()))
}

private func home(of user: UnsafeMutablePointer<passwd>?) -> String? {
  guard let text = user?.pointee.pw_dir.map({ String(cString: $0) }), !text.isEmpty else { return nil }
  return text
}

/// `path` with `~` or `~user` in front replaced, which shells do for words of their own only: not in files, and not after
/// `--hostfile=`.
public func expandingHome(_ path: String, _ environment: Environment) throws(Failure) -> String {
  guard path.utf8.first == UInt8(ascii: "~") else { return path }
  let name = path.dropFirst().prefix { $0 != "/" }
  let folder = name.isEmpty ? userHome(environment) : home(of: getpwnam(String(name)))
  guard let folder else {
    // A file may well have such a name.
    if exists(path) || !name.isEmpty { return path }
    throw Failure(.missingInput, at: path, "has no meaning: HOME is not set, and the user is not in /etc/passwd")
  }
  return folder + path.dropFirst(1 + name.count)
}
