import Glibc

/// The folder that holds `path`: everything before the last `/`, or `.`.
public func parent(of path: String) -> String {
  let bytes = Array(path.utf8)
  guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return "." }
  return slash == 0 ? "/" : String(decoding: bytes[..<slash], as: UTF8.self)
}

/// The name of `path` in its folder: everything behind the last `/`.
public func lastComponent(of path: String) -> String {
  let bytes = Array(path.utf8)
  guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return path }
  return String(decoding: bytes[(slash + 1)...], as: UTF8.self)
}

/// The path with links and dots resolved, or as it is where nothing is there.
public func realPath(_ path: String) -> String {
  guard let resolved = realpath(path, nil) else { return path }
  defer { free(resolved) }
  return String(cString: resolved)
}

/// The real path of `path`, or where it would be: links and dots are resolved as far as something is there.
func futurePath(_ path: String) -> String {
  if let resolved = realpath(path, nil) {
    defer { free(resolved) }
    return String(cString: resolved)
  }
  let above = parent(of: path)
  guard above != path, !path.isEmpty else { return path }
  let folder = futurePath(above)
  switch lastComponent(of: path) {
  case "", ".": return folder
  case "..": return parent(of: folder)
  case let name: return folder == "/" ? "/\(name)" : "\(folder)/\(name)"
  }
}

/// Whether `inner` is `outer` or lies in it, whatever links and mounts lead there. Neither has to exist.
public func isInside(_ inner: String, _ outer: String) -> Bool {
  let (inner, outer) = (futurePath(inner), futurePath(outer))
  if inner.utf8.elementsEqual(outer.utf8) || outer == "/" { return true }
  if inner.utf8.starts(with: "\(outer)/".utf8) { return true }
  var target = stat()
  guard stat(outer, &target) == 0 else { return false }
  var path = inner
  while true {
    var info = stat()
    if stat(path, &info) == 0, info.st_dev == target.st_dev, info.st_ino == target.st_ino { return true }
    let above = parent(of: path)
    if above == path { return false }
    path = above
  }
}
