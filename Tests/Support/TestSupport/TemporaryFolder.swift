import Glibc
import System

/// A folder that is removed with all that is in it when released.
package final class TemporaryFolder {
  package let path: String

  package init(in folder: String = "/tmp") throws {
    var template = Array("\(folder)/lockstep-test.XXXXXX\0".utf8CString)
    guard mkdtemp(&template) != nil else { throw Failure(.cannotCreate, "mkdtemp: \(lastSystemError())") }
    path = String(decoding: template.dropLast(2).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { Self.remove(path) }

  private static func remove(_ path: String) {
    if unlink(path) == 0 { return }
    chmod(path, 0o755)
    for name in entries(path) { remove("\(path)/\(name)") }
    rmdir(path)
  }

  /// The names in a folder, sorted.
  package static func entries(_ path: String) -> [String] {
    guard let folder = opendir(path) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  package static func removeFile(_ path: String) throws {
    guard unlink(path) == 0 else { throw Failure(.ioError, at: path, lastSystemError()) }
  }

  /// Writes a file and returns its path.
  @discardableResult
  package func write(_ bytes: [UInt8], _ name: String) throws -> String {
    let path = "\(path)/\(name)"
    try writeAtomically(bytes, to: path)
    return path
  }

  @discardableResult
  package func write(_ text: String, _ name: String) throws -> String { try write(Array(text.utf8), name) }

  /// Copies the files of `folder` into the folder `name` of this one, and returns its path.
  package func copy(_ folder: String, as name: String) throws -> String {
    let target = "\(path)/\(name)"
    try makeDirectory(target)
    for file in Self.entries(folder) where !isDirectory("\(folder)/\(file)") {
      try writeAtomically(readBytes("\(folder)/\(file)"), to: "\(target)/\(file)")
    }
    return target
  }
}

/// What `body` throws, or nil.
package func failure<Value>(_ body: () throws(Failure) -> Value) -> Failure? {
  do throws(Failure) {
    _ = try body()
    return nil
  } catch {
    return error
  }
}
