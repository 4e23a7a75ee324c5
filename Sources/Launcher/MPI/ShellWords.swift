import System

/// `word` as a shell reads it back as one word.
public func shellQuoted(_ word: String) -> String {
  let isPlain = { (byte: UInt8) in
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: "-_./=:,+@%".utf8.contains(byte)
    }
  }
  guard word.isEmpty || !word.utf8.allSatisfy(isPlain) else { return word }
  // Over scalars: a quote with a combining mark is one Character, and another one.
  var quoted = "'"
  for scalar in word.unicodeScalars {
    if scalar == "'" { quoted += "'\\''" } else { quoted.unicodeScalars.append(scalar) }
  }
  return quoted + "'"
}

/// `word` as it is shown to be copied into bash: as above, but what would control a terminal is written with escapes.
public func shellShown(_ word: String) -> String {
  let escaped = word.escapingControlCharacters
  guard escaped != word else { return shellQuoted(word) }
  var quoted = "$'"
  for scalar in word.unicodeScalars {
    let text = String(scalar)
    if text.escapingControlCharacters != text {
      for byte in text.utf8 { quoted += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16) }
    } else {
      quoted += scalar == "'" || scalar == "\\" ? "\\" + text : text
    }
  }
  return quoted + "'"
}
