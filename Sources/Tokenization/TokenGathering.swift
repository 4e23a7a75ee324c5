import JSON
import System

/// The special and added tokens that the files of a folder name, gathered as transformers 5 gathers them
/// (`PreTrainedTokenizerBase._from_pretrained` and the `__init__` of its classes, version 5.24).
///
/// Where tokenizer_config.json has `added_tokens_decoder`, the other files do not count. Otherwise
/// special_tokens_map.json goes before tokenizer_config.json, and the added tokens are those of added_tokens.json and
/// tokenizer.json.
struct TokenGathering {
  /// The special tokens that have names, in the order in which transformers adds them. Nil: explicitly none.
  private(set) var named: [(key: String, token: ConfiguredToken?)] = []
  /// `additional_special_tokens`, called `extra_special_tokens` by version 5.
  private(set) var extra: [ConfiguredToken] = []
  /// By the number in the file, which decides their order and nothing else.
  private(set) var added: [Int: AddedToken] = [:]
  /// The flags that a token of this text was last read with, whether or not another has its number by now.
  private var flags: [[UInt8]: AddedToken] = [:]
  private(set) var warnings: [String] = []

  /// The most tokens under keys of their own and in lists; also the most that are added.
  static let mostTokens = 10_000

  static let standardKeys = [
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
  ]

  /// The values of standard keys in tokenizer_config.json, until it is known that they count.
  private var pending: [String: JSONNode] = [:]
  /// What a file gives under a key: a token, or explicitly none.
  private var standard: [String: ConfiguredToken?] = [:]
  /// Tokens under other keys that end in `_token`, and those of an object `extra_special_tokens`: the latter override.
  private var modelSpecific: [(key: String, token: ConfiguredToken)] = []
  private var explicit: [(key: String, token: ConfiguredToken)] = []
  /// Lists under their keys, kept apart because version 5 drops the old name where both are there.
  private var additional: [ConfiguredToken]?
  private var isExtraThere = false

  init(_ files: TokenizerDocuments) throws(Failure) {
    try readConfiguration(files.configuration)
    if let decoder = try files.configuration?.rawMember("added_tokens_decoder") {
      for (key, value) in try decoder.members() {
        guard let number = Int(String(decoding: key, as: UTF8.self)), number >= 0 else {
          throw value.failure("\"added_tokens_decoder\" has the key \(quoted(key)), expected a number")
        }
        note(try AddedToken(value), number)
      }
      try takePending()
      try noteUnread(files)
    } else {
      try readSpecialTokensMap(files.specialTokensMap)
      try takePending()
      try readAddedTokens(files.addedTokens)
      for token in try files.tokenizer?.member("added_tokens")?.elements() ?? [] {
        note(try AddedToken(token), try token.requiredMember("id").int(0...Int(Int32.max)))
      }
    }
    guard max(extra.count, additional?.count ?? 0, modelSpecific.count + explicit.count, added.count) <= Self.mostTokens
    else {
      throw Failure(.configuration, at: files.folder, "has more than \(Self.mostTokens) added or special tokens")
    }
    takeFlags()
    if !isExtraThere, let additional { extra = additional }
    for (key, token) in explicit { Self.set(key, token, in: &modelSpecific) }
  }

  private mutating func note(_ token: AddedToken, _ number: Int) {
    added[number] = token
    flags[token.content] = token
  }

  // MARK: tokenizer_config.json

  private mutating func readConfiguration(_ json: JSONNode?) throws(Failure) {
    guard let json else { return }
    for key in Self.standardKeys { pending[key] = try json.rawMember(key) }
    // Any other key that ends so names a token of its own.
    for (key, value) in try json.members() {
      let name = String(decoding: key, as: UTF8.self)
      guard name.hasSuffix("_token"), !Self.standardKeys.contains(name) else { continue }
      if value.kind == .string {
        explicit.append((name, .text(try value.utf8())))
      } else if value.kind == .object, try value.member("__type") != nil {
        modelSpecific.append((name, try ConfiguredToken(value)))
      }
    }
    if let list = try json.rawMember("extra_special_tokens") {
      isExtraThere = true
      try takeExtra(list)
    }
    if let list = try json.rawMember("additional_special_tokens") {
      if extra.isEmpty {
        isExtraThere = true
        try takeExtra(list)
      } else {
        let tokens = list.isNull ? [] : try configuredTokens(list)
        additional = tokens
      }
    }
  }

  /// Takes the tokens of tokenizer_config.json that special_tokens_map.json has not replaced.
  private mutating func takePending() throws(Failure) {
    for (key, node) in pending { standard[key] = .some(try token(node)) }
  }

  /// The token at a standard key; nil for null.
  private func token(_ node: JSONNode) throws(Failure) -> ConfiguredToken? {
    guard !node.isNull else { return nil }
    let token = try ConfiguredToken(node)
    guard !token.content.isEmpty else { throw node.unexpected("a token") }
    return token
  }

  private func configuredTokens(_ list: JSONNode) throws(Failure) -> [ConfiguredToken] {
    var result: [ConfiguredToken] = []
    for node in try list.elements() { result.append(try ConfiguredToken(node)) }
    return result
  }

  /// `extra_special_tokens`: a list, or an object of tokens with names.
  private mutating func takeExtra(_ json: JSONNode) throws(Failure) {
    switch json.kind {
    case .null: break
    case .object:
      for (key, value) in try json.members() {
        Self.set(String(decoding: key, as: UTF8.self), try ConfiguredToken(value), in: &explicit)
      }
      isExtraThere = false
    default: extra = try configuredTokens(json)
    }
  }

  private static func set(
    _ key: String, _ token: ConfiguredToken, in list: inout [(key: String, token: ConfiguredToken)]
  ) {
    if let index = list.firstIndex(where: { $0.key == key }) {
      list[index].token = token
    } else {
      list.append((key, token))
    }
  }

  // MARK: The files of transformers 4

  private mutating func readSpecialTokensMap(_ json: JSONNode?) throws(Failure) {
    guard let json else { return }
    for (key, value) in try json.members() {
      let name = String(decoding: key, as: UTF8.self)
      switch name {
      case "extra_special_tokens" where value.kind == .array:
        isExtraThere = true
        for node in try value.elements() {
          let token: ConfiguredToken =
            node.kind == .object ? .added(try AddedToken(node, isSpecial: true)) : try ConfiguredToken(node)
          if !extra.contains(token) { extra.append(token) }
        }
      case "extra_special_tokens": try takeExtra(value)
      case "additional_special_tokens": additional = value.isNull ? [] : try configuredTokens(value)
      case _ where Self.standardKeys.contains(name) || name.hasSuffix("_token"):
        let token: ConfiguredToken? =
          switch value.kind {
          case .null: nil
          case .object: .added(try AddedToken(value, isSpecial: true))
          default: try ConfiguredToken(value)
          }
        if Self.standardKeys.contains(name) {
          if let before = pending.removeValue(forKey: name), (try? self.token(before))?.content != token?.content {
            warnings.append(
              "special_tokens_map.json goes before tokenizer_config.json, which has another \(name)")
          }
          standard[name] = .some(token)
        } else if let token {
          Self.set(name, token, in: &modelSpecific)
        }
      default: throw value.failure("the key \(quoted(key)) is not supported in this file")
      }
    }
  }

  private mutating func readAddedTokens(_ json: JSONNode?) throws(Failure) {
    guard let json else { return }
    // What tokenizer_config.json gives as an object is none of them yet.
    var specials: Set<[UInt8]> = []
    for (key, token) in standard where pending[key]?.kind != .object {
      if let token { specials.insert(token.content) }
    }
    for case .text(let content) in extra { specials.insert(content) }
    for (content, number) in try json.members() {
      note(
        AddedToken(legacy: content, isSpecial: specials.contains(content)), try number.int(0...Int(Int32.max)))
    }
  }

  /// Says which files `added_tokens_decoder` keeps from being read, where they say something else.
  private mutating func noteUnread(_ files: TokenizerDocuments) throws(Failure) {
    let reason = "is not read, because tokenizer_config.json has \"added_tokens_decoder\""
    for (key, value) in try files.specialTokensMap?.members() ?? [] {
      let name = String(decoding: key, as: UTF8.self)
      guard Self.standardKeys.contains(name) else { continue }
      let content = value.kind == .object ? try value.member("content")?.utf8() : value.isNull ? nil : try value.utf8()
      if let before = standard[name], before?.content == content { continue }
      if standard[name] == nil, let usual = BertTokenizer.usualTokens[name], Array(usual.utf8) == content { continue }
      warnings.append("special_tokens_map.json \(reason); it has another \(name)")
    }
    let contents = Set(added.values.map(\.content))
    let unread = try files.addedTokens?.members().filter { !contents.contains($0.key) } ?? []
    if let first = unread.first {
      warnings.append("added_tokens.json \(reason); it has another token, \(quoted(first.key))")
    }
  }

  // MARK: Both

  /// A special token takes the flags that an added token of the same text has.
  private mutating func takeFlags() {
    for (key, token) in standard {
      if let content = token?.content, let flags = flags[content] { standard[key] = .some(.added(flags)) }
    }
  }

  /// Fills in the tokens that the class has where no file names one, and puts all in order.
  mutating func finish(defaults: [String: String], padding: ConfiguredToken?) {
    for (key, usual) in defaults where standard[key] == nil { standard[key] = .text(Array(usual.utf8)) }
    if let padding, standard["pad_token"] == nil { standard["pad_token"] = padding }
    named = Self.standardKeys.map { ($0, standard[$0] ?? nil) } + modelSpecific.map { ($0.key, $0.token) }
  }

  /// The text of the special token `key`; nil where there is none.
  func content(_ key: String) -> [UInt8]? { named.first { $0.key == key }?.token?.content }

  /// All tokens to be added, in order (`TokenizersBackend.__init__`).
  func tokensToAdd(after existing: AddedVocabulary) -> [AddedToken] {
    var result: [ConfiguredToken] = added.sorted { $0.key < $1.key }.map { .added($0.value) }
    let known = Set(existing.ids.keys).union(result.map(\.content))
    for token in named.compactMap(\.token) + extra where !known.contains(token.content) && !result.contains(token) {
      result.append(token)
    }
    let names = Set(named.compactMap { $0.token?.content })
    return result.map { token in
      switch token {
      case .text(let content): return AddedToken(special: content)
      case .added(var token):
        if names.contains(token.content) { token.isSpecial = true }
        return token
      }
    }
  }
}
