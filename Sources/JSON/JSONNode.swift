import System

/// A value in a document. It knows its place, so what reads it can say where a wrong one stands.
public struct JSONNode: Sendable {
  let document: JSONDocument
  let index: Int
  /// The keys and indices that lead here, joined by points: `id2label.1`. Empty at the root.
  public let name: String

  public enum Kind: Sendable { case null, bool, number, string, array, object }

  private var entry: JSONEntry { document.entries[index] }

  public var kind: Kind {
    switch entry.kind {
    case .null: .null
    case .bool: .bool
    case .number: .number
    case .string: .string
    case .array: .array
    case .object: .object
    }
  }

  public var isNull: Bool { entry.kind == .null }

  /// The value as it was written, `1.0` for instance.
  public var source: ArraySlice<UInt8> { document.bytes[Int(entry.start)..<Int(entry.end)] }

  /// Where it stands: `path:line:column`.
  public var place: String {
    "\(document.path):\(JSON.place(of: Int(entry.start), in: document.bytes, firstLine: document.firstLine))"
  }

  /// An error about this value: "`name` is `value`, expected `expectation`".
  public func unexpected(_ expectation: String, hint: String? = nil) -> Failure {
    let subject = name.isEmpty ? "" : "\"\(name)\" "
    return Failure(document.status, at: place, "\(subject)is \(shown), expected \(expectation)", hint: hint)
  }

  /// An error about this value in words of the caller's, with its place and the file's status.
  public func failure(_ message: String, hint: String? = nil) -> Failure {
    Failure(document.status, at: place, message, hint: hint)
  }

  /// The value, short enough for a message.
  private var shown: String {
    switch entry.kind {
    case .array: "a list"
    case .object: "an object"
    default:
      source.count > 60
        ? String(decoding: source.prefix(60), as: UTF8.self) + "…" : String(decoding: source, as: UTF8.self)
    }
  }
}

// MARK: Plain values

extension JSONNode {
  public func bool() throws(Failure) -> Bool {
    guard entry.kind == .bool else { throw unexpected("true or false") }
    return source.first == UInt8(ascii: "t")
  }

  /// A number, of whatever form. A magnitude that is too large for a `Double` is refused.
  public func double() throws(Failure) -> Double {
    guard entry.kind == .number, let value = Double(String(decoding: source, as: UTF8.self)), value.isFinite else {
      throw unexpected("a number")
    }
    return value
  }

  /// A whole number without point and exponent, as other readers ask of one.
  public func int(_ range: ClosedRange<Int> = .min ... .max) throws(Failure) -> Int {
    guard entry.kind == .number, let value = Int(String(decoding: source, as: UTF8.self)), range.contains(value) else {
      switch (range.lowerBound, range.upperBound) {
      case (.min, .max): throw unexpected("a whole number")
      case (let least, .max): throw unexpected("a whole number of at least \(least)")
      default: throw unexpected("a whole number from \(range.lowerBound) to \(range.upperBound)")
      }
    }
    return value
  }

  /// The text of a string.
  public func string() throws(Failure) -> String { String(decoding: try utf8(), as: UTF8.self) }

  /// The bytes of a string: to be preferred where two texts are compared, for `String` compares by canonical equivalence.
  public func utf8() throws(Failure) -> [UInt8] {
    guard entry.kind == .string else { throw unexpected("a string") }
    return document.bytes.withUnsafeBufferPointer { unescaped($0, entry) }
  }
}

// MARK: Containers

extension JSONNode {
  /// The value of `key`; nil where the object has no such key, or null there.
  ///
  /// Looks at the keys one by one: for many of a large object, go through ``members()``.
  public func member(_ key: String) throws(Failure) -> JSONNode? {
    guard let node = try rawMember(key), !node.isNull else { return nil }
    return node
  }

  /// The value of `key`, null included; nil where the object has no such key.
  public func rawMember(_ key: String) throws(Failure) -> JSONNode? {
    guard entry.kind == .object else { throw unexpected("an object") }
    return document.bytes.withUnsafeBufferPointer { bytes in
      var index = index + 1
      while index < Int(entry.next) {
        if unescaped(bytes, document.entries[index]).elementsEqual(key.utf8) { return child(index + 1, key) }
        index = Int(document.entries[index + 1].next)
      }
      return nil
    }
  }

  /// Keys and values of an object, in the order of the text.
  public func members() throws(Failure) -> [(key: [UInt8], value: JSONNode)] {
    guard entry.kind == .object else { throw unexpected("an object") }
    return document.bytes.withUnsafeBufferPointer { bytes in
      var result: [(key: [UInt8], value: JSONNode)] = []
      var index = index + 1
      while index < Int(entry.next) {
        let key = unescaped(bytes, document.entries[index])
        result.append((key, child(index + 1, String(decoding: key, as: UTF8.self))))
        index = Int(document.entries[index + 1].next)
      }
      return result
    }
  }

  /// Calls `body` with each key and value of an object, in the order of the text: for objects of which a list would be
  /// too large.
  public func forEachMember(_ body: (_ key: [UInt8], _ value: JSONNode) throws(Failure) -> Void) throws(Failure) {
    guard entry.kind == .object else { throw unexpected("an object") }
    var index = index + 1
    while index < Int(entry.next) {
      let key = document.bytes.withUnsafeBufferPointer { unescaped($0, document.entries[index]) }
      try body(key, child(index + 1, String(decoding: key, as: UTF8.self)))
      index = Int(document.entries[index + 1].next)
    }
  }

  /// The values of a list.
  public func elements() throws(Failure) -> [JSONNode] {
    guard entry.kind == .array else { throw unexpected("a list") }
    var result: [JSONNode] = []
    var index = index + 1
    while index < Int(entry.next) {
      result.append(child(index, "\(result.count)"))
      index = Int(document.entries[index].next)
    }
    return result
  }

  private func child(_ index: Int, _ key: String) -> JSONNode {
    JSONNode(document: document, index: index, name: name.isEmpty ? key : "\(name).\(key)")
  }
}
