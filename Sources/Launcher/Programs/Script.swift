import Glibc
import System

/// What the kernel makes of a program's file, which it tells by "No such file or directory" or not at all.
enum Script {
  /// Refuses the file at `path` where it is a script that no interpreter can be found for.
  ///
  /// - Parameter find: the path of a program on the PATH.
  static func check(_ path: String, find: (String) -> String?) throws(Failure) {
    guard let start = firstBytes(path) else { return }
    guard start.starts(with: "#!".utf8) else { return try checkProgram(start, path) }
    let line = start.dropFirst(2).prefix { $0 != 0x0A }
    let words = line.split { $0 == 0x20 || $0 == 0x09 }.map { String(decoding: $0, as: UTF8.self) }
    guard let interpreter = words.first else {
      throw Failure(.missingInput, at: path, "names no interpreter after #!", hint: "#!/bin/sh")
    }
    if line.last == 0x0D {
      throw Failure(
        .missingInput, at: path,
        "its first line ends in a carriage return, and so names the interpreter \"\(words.joined(separator: " "))\"",
        hint: "dos2unix mends it")
    }
    guard access(interpreter, X_OK) == 0 else {
      throw Failure(
        .missingInput, at: path, "its interpreter \(interpreter) cannot be run: \(lastSystemError())",
        hint: "name another after #!")
    }
    guard interpreter.hasSuffix("/env"), let name = words.dropFirst().first(where: { !isOfEnv($0) }), find(name) == nil
    else { return }
    throw Failure(.missingInput, at: path, "its interpreter \(name) is not on the PATH", hint: "name another after #!")
  }

  /// Options of env, and variables that it sets.
  private static func isOfEnv(_ word: String) -> Bool {
    word.utf8.first == UInt8(ascii: "-") || word.utf8.contains(UInt8(ascii: "="))
  }

  /// Text without `#!` is run by shells only. Formats that the kernel was told of are its own affair.
  private static func checkProgram(_ start: [UInt8], _ path: String) throws(Failure) {
    let isText = start.allSatisfy { $0 >= 0x20 || (0x09...0x0D).contains($0) || $0 == 0x1B }
    guard isText else { return }
    let what = start.isEmpty ? "is empty" : "has no #! line that names its interpreter"
    throw Failure(.missingInput, at: path, "\(what), expected a program or a script", hint: "#!/bin/sh in front")
  }

  private static func firstBytes(_ path: String) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    // One that may be run but not read.
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var buffer = [UInt8](repeating: 0, count: 256)
    let count = read(descriptor, &buffer, buffer.count)
    return count < 0 ? nil : Array(buffer[..<count])
  }
}
