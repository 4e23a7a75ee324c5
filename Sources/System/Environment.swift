import Glibc

/// An environment as the kernel has it: `NAME=value` in bytes, for values need not be UTF-8.
public struct Environment: Sendable, Equatable {
  package var entries: [[UInt8]]

  package init(entries: [[UInt8]]) { self.entries = entries }

  /// The environment with `variables`, by name.
  public init(_ variables: [String: String] = [:]) {
    entries = variables.sorted { $0.key < $1.key }.map { Array("\($0.key)=\($0.value)".utf8) }
  }

  /// The environment of this process. A program reads it once, at its door, and hands it down.
  public static func ofThisProcess() -> Environment {
    var entries: [[UInt8]] = []
    var next = environ
    while let entry = next.pointee {
      entries.append(Array(UnsafeBufferPointer(start: entry, count: strlen(entry))).map { UInt8(bitPattern: $0) })
      next += 1
    }
    return Environment(entries: entries)
  }

  /// The value of the variable `name`; setting nil removes it.
  public subscript(name: String) -> String? {
    get {
      let prefix = Array("\(name)=".utf8)
      return entries.first { $0.starts(with: prefix) }.map {
        String(decoding: $0.dropFirst(prefix.count), as: UTF8.self)
      }
    }
    set {
      let prefix = Array("\(name)=".utf8)
      entries.removeAll { $0.starts(with: prefix) }
      if let newValue { entries.append(prefix + Array(newValue.utf8)) }
    }
  }

  /// The variables whose names start with `prefix`, by name.
  public func variables(withPrefix prefix: String) -> [(name: String, value: String)] {
    entries.filter { $0.starts(with: prefix.utf8) }.map { entry in
      let at = entry.firstIndex(of: UInt8(ascii: "=")) ?? entry.endIndex
      return (
        String(decoding: entry[..<at], as: UTF8.self), String(decoding: entry[at...].dropFirst(), as: UTF8.self)
      )
    }.sorted { $0.name < $1.name }
  }
}
