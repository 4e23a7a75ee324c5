import Glibc
import System

/// Writes a file in place.
func overwrite(_ path: String, _ bytes: [UInt8]) throws {
  let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
  guard file >= 0 else { throw Failure(.cannotCreate, at: path, lastSystemError()) }
  defer { close(file) }
  var done = 0
  while done < bytes.count {
    let count = bytes.withUnsafeBytes { write(file, $0.baseAddress! + done, $0.count - done) }
    guard count > 0 else { throw Failure(.ioError, at: path, lastSystemError()) }
    done += count
  }
}

/// A number of `/proc/self/status` in bytes, such as `VmHWM`.
func statusBytes(_ name: String) -> Int {
  guard let file = fopen("/proc/self/status", "r") else { return 0 }
  defer { fclose(file) }
  var line = [CChar](repeating: 0, count: 256)
  while fgets(&line, 256, file) != nil {
    let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    if text.hasPrefix("\(name):") { return (Int(text.filter(\.isNumber)) ?? 0) * 1024 }
  }
  return 0
}

/// Lets the kernel count the peak of this process's memory anew.
func resetPeak() {
  // Swift's Glibc does not have malloc.h.
  if let trim = dlsym(nil, "malloc_trim") {
    _ = unsafeBitCast(trim, to: (@convention(c) (Int) -> Int32).self)(0)
  }
  guard let file = fopen("/proc/self/clear_refs", "w") else { return }
  fputs("5", file)
  fclose(file)
}

/// Writes a line to standard output at once: a trap does not lose it.
func say(_ line: String) {
  let bytes = Array("\(line)\n".utf8)
  _ = bytes.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
}
