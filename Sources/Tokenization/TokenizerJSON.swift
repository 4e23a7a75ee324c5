import JSON
import System

/// A tokenizer.json, as far as it decides ids; its normalizer, pre-tokenizer and post-processor are read where they count.
struct TokenizerJSON {
  /// The object `model.vocab`.
  var vocabulary: JSONNode
  var unknownToken: [UInt8]
  var continuationPrefix: [UInt8]
  var longestWordCharacters: Int
  var normalizer: JSONNode?
  var preTokenizer: JSONNode?
  var postProcessor: JSONNode?
  var addedTokens: [(id: Int, token: AddedToken)] = []
  /// The side of the section `truncation`; its length does not count, for every call sets one.
  var truncatesLeft: Bool?
  /// The token of the section `padding`, which is the class's where no other is named.
  var paddingToken: ConfiguredToken?

  /// The object `model` where it is byte-pair encoding; nil for WordPiece.
  var bytePairs: JSONNode?

  /// Refuses a model that is neither WordPiece nor byte-pair encoding, by its name.
  init(_ json: JSONNode) throws(Failure) {
    let model = try json.requiredMember("model")
    if try Self.isBytePairs(model) { bytePairs = model }
    vocabulary = try model.requiredMember("vocab")
    guard vocabulary.kind == .object else { throw vocabulary.unexpected("an object with tokens and their numbers") }
    if bytePairs == nil {
      unknownToken = try model.requiredMember("unk_token").utf8()
      continuationPrefix = try model.requiredMember("continuing_subword_prefix").utf8()
      longestWordCharacters = try model.requiredMember("max_input_chars_per_word").int(0...(.max))
    } else {
      // Read with the pairs, where this file's model counts as a whole.
      (unknownToken, continuationPrefix, longestWordCharacters) = ([], [], .max)
    }
    normalizer = try json.member("normalizer")
    preTokenizer = try json.member("pre_tokenizer")
    postProcessor = try json.member("post_processor")
    let added = try json.member("added_tokens")
    for token in try added?.elements() ?? [] {
      addedTokens.append((try token.requiredMember("id").int(0...Int(Int32.max)), try AddedToken(token)))
    }
    if let added, addedTokens.count > TokenGathering.mostTokens {
      throw added.failure("has more than \(TokenGathering.mostTokens) added tokens")
    }
    if let side = try json.member("truncation")?.member("direction") {
      switch try side.string() {
      case "Left": truncatesLeft = true
      case "Right": truncatesLeft = false
      default: throw side.unexpected("Left or Right")
      }
    }
    if let token = try json.member("padding")?.member("pad_token") { paddingToken = .text(try token.utf8()) }
  }

  /// Whether the model is byte-pair encoding. Older files name no type; the keys tell then.
  private static func isBytePairs(_ model: JSONNode) throws(Failure) -> Bool {
    if let type = try model.member("type") {
      let name = try type.string()
      guard name == "WordPiece" || name == "BPE" else {
        throw type.unexpected("WordPiece or BPE", hint: "tokenizers of other kinds are not supported")
      }
      return name == "BPE"
    }
    if try model.member("merges") != nil { return true }
    guard try model.member("continuing_subword_prefix") != nil else {
      throw model.failure("the model names no type and is not WordPiece")
    }
    return false
  }

  /// Refuses a model that is not what the tokenizer's class has.
  func requireWordPiece() throws(Failure) {
    guard let bytePairs else { return }
    if let type = try bytePairs.member("type") {
      throw type.unexpected("WordPiece", hint: "tokenizer_class names a tokenizer of BERT's kind")
    }
    throw bytePairs.failure("the model names no type and is not WordPiece")
  }
}
