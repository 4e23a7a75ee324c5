import Glibc

/// The bytes of a file of the kernel's (/proc, /sys), whose size is not known before it is read; nil where it cannot be.
public func systemFile(_ path: String) -> [UInt8]? {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { return nil }
  defer { close(descriptor) }
  var bytes: [UInt8] = []
  let blockBytes = 16_384
  while true {
    var count = 0
    let start = bytes.count
    bytes.append(contentsOf: repeatElement(0, count: blockBytes))
    bytes.withUnsafeMutableBytes { buffer in
      repeat { count = read(descriptor, buffer.baseAddress! + start, blockBytes) } while count < 0 && errno == EINTR
    }
    bytes.removeLast(blockBytes - max(count, 0))
    if count <= 0 { return count < 0 ? nil : bytes }
  }
}

/// The text of a kernel's file without white space at its ends.
public func systemText(_ path: String) -> String? {
  guard let bytes = systemFile(path) else { return nil }
  let isSpace = { (byte: UInt8) in byte == 0x20 || (0x09...0x0D).contains(byte) }
  let end = bytes.lastIndex { !isSpace($0) }.map { $0 + 1 } ?? 0
  let start = bytes.firstIndex { !isSpace($0) } ?? end
  return String(decoding: bytes[min(start, end)..<end], as: UTF8.self)
}

/// The number behind `Name:` in a kernel's file of such lines, in the file's unit, which is mostly kB; nil where there is
/// none.
public func systemNumber(_ name: String, in path: String) -> Int? {
  let line = systemText(path)?.split(separator: "\n").first { $0.hasPrefix("\(name):") }
  return line?.dropFirst(name.count + 1).split { $0 == " " || $0 == "\t" }.first.flatMap { Int($0) }
}

/// What the kernel calls the first processor; nil where it does not say.
public func processorName() -> String? {
  let line = systemText("/proc/cpuinfo")?.split(separator: "\n").first { $0.hasPrefix("model name") }
  guard let line, let colon = line.firstIndex(of: ":") else { return nil }
  return String(line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" })
}
