import JSON
import System

/// A token that is found in a text as a whole, before the text is cut into words.
struct AddedToken: Sendable, Equatable {
  var content: [UInt8]
  /// Found only where no letter or digit stands next to it.
  var isSingleWord = false
  /// Takes the white space before it, or behind it, along.
  var stripsLeft = false
  var stripsRight = false
  /// Looked for in the normalized text, itself normalized; otherwise in the text as it is.
  var isNormalized: Bool
  var isSpecial: Bool

  /// What transformers makes of a plain string.
  init(special content: [UInt8]) {
    self.content = content
    isNormalized = false
    isSpecial = true
  }

  /// What added_tokens.json means by a token.
  init(legacy content: [UInt8], isSpecial: Bool) {
    self.content = content
    isNormalized = !isSpecial
    self.isSpecial = isSpecial
  }

  /// Reads an object with `content` and flags, as tokenizer.json and tokenizer_config.json have it.
  ///
  /// - Parameter isSpecial: overrides the file's `special`.
  init(_ json: JSONNode, isSpecial: Bool? = nil) throws(Failure) {
    func flag(_ key: String) throws(Failure) -> Bool? { try json.member(key)?.bool() }
    guard let text = try json.member("content") else { throw json.failure("has no \"content\", expected a token") }
    content = try text.utf8()
    isSingleWord = try flag("single_word") ?? false
    stripsLeft = try flag("lstrip") ?? false
    stripsRight = try flag("rstrip") ?? false
    let fileSays = try flag("special")
    self.isSpecial = isSpecial ?? fileSays ?? false
    isNormalized = try flag("normalized") ?? !self.isSpecial
  }
}

/// A token in a configuration file: a string, or an object with flags. They are different to transformers even where
/// their texts are equal.
enum ConfiguredToken: Sendable, Equatable {
  case text([UInt8])
  case added(AddedToken)

  var content: [UInt8] {
    switch self {
    case .text(let content): content
    case .added(let token): token.content
    }
  }

  /// Reads a string, or an object that says `"__type": "AddedToken"`, without which transformers takes none.
  init(_ json: JSONNode) throws(Failure) {
    switch json.kind {
    case .string: self = .text(try json.utf8())
    case .object where try json.member("__type")?.string() == "AddedToken": self = .added(try AddedToken(json))
    default:
      throw json.unexpected(
        "a token",
        hint: json.kind == .object
          ? "transformers takes an object in this file only with \"__type\": \"AddedToken\"; write the string" : nil)
    }
  }
}
