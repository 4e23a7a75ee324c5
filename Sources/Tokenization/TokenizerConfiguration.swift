import FileSystem
import FoundationEssentials

/// What `tokenizer_config.json` decides. The initial values are Hugging Face's for `BertTokenizer`.
public struct TokenizerConfiguration: Sendable, Equatable {
  /// `do_lower_case`.
  public var lowercases = true
  /// `strip_accents`; nil means: as `lowercases`.
  public var stripsAccents: Bool?
  /// `tokenize_chinese_chars`: each CJK ideograph is a word.
  public var separatesIdeographs = true
  /// `model_max_length`, in tokens with the special ones; nil where there is no limit.
  public var maxLength: Int?
  public var specialTokens = SpecialTokens()

  public init() {}

  /// Reads a `tokenizer_config.json`; keys that are absent keep their initial values, other keys are ignored.
  ///
  /// Throws `.configuration` where the file is not JSON, a value has the wrong type, or the file is of a tokenizer
  /// that is not BERT's WordPiece.
  public init(contentsOf path: String) throws(Failure) {
    try self.init(json: readBytes(path, limitBytes: 1 << 26), path: path)
  }

  /// Reads the text of a `tokenizer_config.json`; `path` names it in messages.
  public init(json bytes: [UInt8], path: String) throws(Failure) {
    let file: ConfigurationFile
    do {
      file = try JSONDecoder().decode(ConfigurationFile.self, from: Data(bytes))
    } catch let error as DecodingError {
      throw Failure(.configuration, at: path, error.oneLine)
    } catch {
      throw Failure(.configuration, at: path, "is not JSON")
    }
    if let name = file.tokenizer_class, !Self.wordPieceClasses.contains(name) {
      throw Failure(
        .configuration, at: path, "tokenizer_class is \(quoted(name.utf8)), expected BertTokenizer")
    }
    lowercases = file.do_lower_case ?? true
    stripsAccents = file.strip_accents
    separatesIdeographs = file.tokenize_chinese_chars ?? true
    if let length = file.model_max_length {
      // Where there is no limit, transformers writes int(1e30).
      guard length >= 1 else {
        throw Failure(.configuration, at: path, "model_max_length is \(length), expected at least 1")
      }
      maxLength = Int(exactly: length.rounded(.down)).flatMap { $0 < 1 << 40 ? $0 : nil }
    }
    func name(_ token: ConfigurationFile.Token?, _ key: String, or initial: String) throws(Failure) -> String {
      guard let name = token?.content else { return initial }
      guard !name.isEmpty else { throw Failure(.configuration, at: path, "\(key) is empty, expected a token") }
      return name
    }
    let initial = SpecialTokens()
    specialTokens.pad = try name(file.pad_token, "pad_token", or: initial.pad)
    specialTokens.unknown = try name(file.unk_token, "unk_token", or: initial.unknown)
    specialTokens.classification = try name(file.cls_token, "cls_token", or: initial.classification)
    specialTokens.separator = try name(file.sep_token, "sep_token", or: initial.separator)
    specialTokens.mask = try name(file.mask_token, "mask_token", or: initial.mask)
  }

  /// The tokenizers of transformers that split as BERT's does.
  private static let wordPieceClasses: Set<String> = [
    "BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast", "ElectraTokenizer",
    "ElectraTokenizerFast", "MobileBertTokenizer", "MobileBertTokenizerFast", "PreTrainedTokenizerFast",
    "TokenizersBackend",
  ]
}

/// The keys that are read, spelled as in the file.
private struct ConfigurationFile: Decodable {
  // swift-format-ignore: AlwaysUseLowerCamelCase
  var do_lower_case, strip_accents, tokenize_chinese_chars: Bool?
  // swift-format-ignore: AlwaysUseLowerCamelCase
  var model_max_length: Double?
  // swift-format-ignore: AlwaysUseLowerCamelCase
  var tokenizer_class: String?
  // swift-format-ignore: AlwaysUseLowerCamelCase
  var pad_token, unk_token, cls_token, sep_token, mask_token: Token?

  /// A token is a string, or in files of older versions an object with its text under `content`.
  struct Token: Decodable {
    var content: String

    private enum CodingKeys: CodingKey { case content }

    init(from decoder: any Decoder) throws {
      if let text = try? decoder.singleValueContainer().decode(String.self) {
        content = text
      } else {
        content = try decoder.container(keyedBy: CodingKeys.self).decode(String.self, forKey: .content)
      }
    }
  }
}

extension DecodingError {
  /// The key and the complaint, without Foundation's dump of contexts.
  fileprivate var oneLine: String {
    func at(_ path: [any CodingKey]) -> String { path.map(\.stringValue).joined(separator: ".") }
    switch self {
    case .typeMismatch(let type, let context):
      return "\(at(context.codingPath)) has the wrong type, expected \(type)"
    case .valueNotFound(let type, let context):
      return "\(at(context.codingPath)) is null, expected \(type)"
    case .keyNotFound(let key, let context):
      return "\(at(context.codingPath + [key])) is missing"
    default:
      return "is not JSON"
    }
  }
}
