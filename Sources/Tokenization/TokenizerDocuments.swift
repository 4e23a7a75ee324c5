import JSON
import System

/// The JSON files that decide a tokenizer, read strictly; nil where a file is not there.
struct TokenizerDocuments {
  /// Where they are, for messages.
  let folder: String
  var tokenizer: JSONNode?
  var configuration: JSONNode?
  var specialTokensMap: JSONNode?
  var addedTokens: JSONNode?
  var modelConfiguration: JSONNode?

  init(_ files: TokenizerFiles) throws(Failure) {
    folder = files.folder
    func read(_ bytes: [UInt8]?, _ name: String) throws(Failure) -> JSONNode? {
      guard let bytes else { return nil }
      let root = try JSONDocument(bytes, path: files.path(name)).root
      guard root.kind == .object else { throw root.unexpected("an object") }
      return root
    }
    func read(_ name: String) throws(Failure) -> JSONNode? { try read(files.bytes(name), name) }
    tokenizer = try read("tokenizer.json")
    configuration = try read("tokenizer_config.json")
    specialTokensMap = try read("special_tokens_map.json")
    addedTokens = try read("added_tokens.json")
    modelConfiguration = try read(files.modelConfiguration, "config.json")
    try refuseUnsupported()
  }

  /// Keys of tokenizer_config.json that change what transformers reads or builds, and that no saved tokenizer has.
  private func refuseUnsupported() throws(Failure) {
    guard let configuration else { return }
    for key in ["vocab", "merges", "tokenizer_object", "gguf_file", "post_processor", "model_specific_special_tokens"] {
      if let node = try configuration.member(key) { throw node.failure("the key \"\(key)\" is not supported") }
    }
    if let inputs = try configuration.member("init_inputs"), try !inputs.elements().isEmpty {
      throw inputs.failure("\"init_inputs\" that are not empty are not supported")
    }
    for file in try configuration.member("fast_tokenizer_files")?.elements() ?? [] {
      guard try file.string() == "tokenizer.json" else { throw file.unexpected("tokenizer.json alone") }
    }
  }
}

/// What tokenizer_config.json says beside tokens.
struct TokenizerOptions {
  var lowercases = true
  var stripsAccents: Bool?
  var separatesIdeographs = true
  /// `model_max_length`, in tokens with the special ones; nil where there is no limit.
  var maxLength: Int?
  /// Whether special tokens that a text spells out are split like any text.
  var splitsSpecials = false
  /// Whether a row that is too long loses its start.
  var truncatesLeft: Bool?
  /// Nil: as the class has it.
  var returnsTokenTypes: Bool?
  /// Keys that are there and do nothing, in transformers neither.
  var ignored: [String] = []

  init(_ json: JSONNode?) throws(Failure) {
    guard let json else { return }
    // Null is an error to transformers where it is none here.
    if let node = try json.rawMember("do_lower_case") { lowercases = try node.bool() }
    if let node = try json.rawMember("tokenize_chinese_chars") { separatesIdeographs = try node.bool() }
    if let node = try json.rawMember("split_special_tokens") { splitsSpecials = try node.bool() }
    stripsAccents = try json.member("strip_accents")?.bool()
    let lengthNode =
      if let node = try json.rawMember("model_max_length") { node } else { try json.rawMember("max_len") }
    if let node = lengthNode, !node.isNull { maxLength = try Self.length(node) }
    for (key, isLeft) in [("truncation_side", true), ("padding_side", false)] {
      guard let node = try json.rawMember(key) else { continue }
      let side = try node.string()
      guard side == "left" || side == "right" else { throw node.unexpected("\"left\" or \"right\"") }
      // Rows are packed and never padded, so the padding's side does not matter.
      if isLeft { truncatesLeft = side == "left" }
    }
    if let names = try json.rawMember("model_input_names") {
      var returnsTypes = false
      for name in try names.elements() where try name.string() == "token_type_ids" { returnsTypes = true }
      returnsTokenTypes = returnsTypes
    }
    if let node = try json.member("never_split") {
      let isEmpty = node.kind == .array ? try node.elements().isEmpty : false
      if !isEmpty { ignored.append("never_split") }
    }
    if let node = try json.member("do_basic_tokenize"), try !node.bool() { ignored.append("do_basic_tokenize") }
    if let node = try json.member("clean_text"), try !node.bool() { ignored.append("clean_text") }
    if let node = try json.member("wordpieces_prefix"), try node.string() != "##" {
      ignored.append("wordpieces_prefix")
    }
  }

  /// Where there is no limit, transformers writes int(1e30); it takes what is above 1e20 for none.
  private static func length(_ node: JSONNode) throws(Failure) -> Int? {
    let value = try node.double()
    return value >= 1e18 ? nil : try node.int(1...(.max))
  }
}
