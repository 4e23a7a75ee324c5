/// A program's arguments as bytes, of which options are looked up by name: `--data X` or `--data=X`, with dashes or
/// underscores in the name.
struct GivenArguments {
  private(set) var bytes: [[UInt8]]

  init(_ bytes: [[UInt8]]) { self.bytes = bytes }

  private struct Place {
    var index: Int
    /// Where the value begins in the word; nil where it is the next word.
    var start: Int?
  }

  /// The last one counts, as in the programs.
  private func places(_ names: [String]) -> [Place] {
    let wanted = Set(names.map { Array($0.utf8) })
    var places: [Place] = []
    for (index, word) in bytes.enumerated() {
      if word == Array("--".utf8) { break }
      let end = word.firstIndex(of: UInt8(ascii: "=")) ?? word.endIndex
      let name = word[..<end].map { $0 == UInt8(ascii: "_") ? UInt8(ascii: "-") : $0 }
      if wanted.contains(name) { places.append(Place(index: index, start: end < word.endIndex ? end + 1 : nil)) }
    }
    return places
  }

  func has(_ names: [String]) -> Bool { !places(names).isEmpty }

  /// The value of the last option of these names; nil where there is none.
  func value(_ names: [String]) -> String? {
    guard let place = places(names).last else { return nil }
    if let start = place.start { return String(decoding: bytes[place.index][start...], as: UTF8.self) }
    return place.index + 1 < bytes.count ? String(decoding: bytes[place.index + 1], as: UTF8.self) : nil
  }

  /// Removes all options of these names, and returns the last one's value.
  mutating func take(_ names: [String]) -> String? {
    let value = value(names)
    // One without a value stays, for the program to refuse.
    guard value != nil else { return nil }
    for place in places(names).reversed() {
      if place.start == nil && place.index + 1 < bytes.count { bytes.remove(at: place.index + 1) }
      bytes.remove(at: place.index)
    }
    return value
  }

  /// Gives the option another value.
  mutating func replace(_ name: String, by value: String) {
    guard let place = places([name]).last else { return }
    if let start = place.start {
      bytes[place.index] = bytes[place.index][..<start] + Array(value.utf8)
    } else if place.index + 1 < bytes.count {
      bytes[place.index + 1] = Array(value.utf8)
    }
  }

  /// The word at `index`; nil past the end.
  func word(_ index: Int) -> String? {
    index < bytes.count ? String(decoding: bytes[index], as: UTF8.self) : nil
  }

  /// The first word from `start` on that is neither an option nor an option's value.
  ///
  /// - Parameter flags: the options that have no value.
  func plainWord(from start: Int, flags: [String]) -> Int? {
    var index = start
    while let word = word(index) {
      if word == "--" { return index + 1 < bytes.count ? index + 1 : nil }
      guard word.hasPrefix("-") else { return index }
      index += word.utf8.contains(UInt8(ascii: "=")) || flags.contains(word) ? 1 : 2
    }
    return nil
  }

  /// Gives the word at `index` another text.
  mutating func replace(wordAt index: Int, by value: String) { bytes[index] = Array(value.utf8) }

  mutating func append(_ name: String, _ value: String) {
    let new = [Array(name.utf8), Array(value.utf8)]
    let end = bytes.firstIndex(of: Array("--".utf8)) ?? bytes.endIndex
    bytes.insert(contentsOf: new, at: end)
  }
}
