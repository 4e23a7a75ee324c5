import JSON
import System

/// How transformers 5 makes a tokenizer of a folder, as its `AutoTokenizer` decides.
struct TokenizerClass: Sendable, Equatable {
  /// The name in the file, for messages.
  var name: String
  /// Whether tokenizer.json counts as a whole. Otherwise the tokenizer is built anew: from the vocabulary alone, with the
  /// normalization that tokenizer_config.json asks for.
  var usesWholeTokenizerJSON: Bool
  /// Whether pairs have token types; the model takes all types for 0 otherwise.
  var returnsTokenTypes: Bool
  /// Whether words are spelled as ``JapaneseSpelling`` says.
  var isJapanese = false
  /// Whether the tokenizer is byte-pair encoding, built anew from vocabulary and pairs.
  var isRoberta = false

  /// - Parameters:
  ///   - configuration: tokenizer_config.json, which is asked first.
  ///   - modelConfiguration: config.json.
  init(configuration: JSONNode?, modelConfiguration: JSONNode?) throws(Failure) {
    if let type = try modelConfiguration?.member("model_type"), !Self.modelTypes.contains(try type.string()) {
      throw type.unexpected("a model of BERT's family", hint: "other models have tokenizers of other kinds")
    }
    for json in [configuration, modelConfiguration] {
      guard let node = try json?.member("tokenizer_class"), case let name = try node.string(), !name.isEmpty else {
        continue
      }
      let base = name.hasSuffix("Fast") ? String(name.dropLast(4)) : name
      self.name = name
      if Self.bertClasses.contains(base) {
        usesWholeTokenizerJSON = false
        returnsTokenTypes = base != "DistilBertTokenizer"
      } else if Self.generalClasses.contains(base) {
        usesWholeTokenizerJSON = true
        returnsTokenTypes = false
      } else if base == "RobertaTokenizer" {
        usesWholeTokenizerJSON = false
        returnsTokenTypes = false
        isRoberta = true
      } else if name == "BertJapaneseTokenizer" {
        usesWholeTokenizerJSON = false
        returnsTokenTypes = false
        isJapanese = true
      } else {
        throw node.unexpected("a tokenizer of BERT's kind: BertTokenizer, RobertaTokenizer or PreTrainedTokenizerFast")
      }
      return
    }
    isRoberta = try modelConfiguration?.member("model_type")?.string() == "roberta"
    name = isRoberta ? "RobertaTokenizer" : "BertTokenizer"
    usesWholeTokenizerJSON = false
    returnsTokenTypes = !isRoberta
  }

  /// The classes that split as BertTokenizer does, without `Fast`.
  private static let bertClasses: Set<String> = [
    "BertTokenizer", "ConvBertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "LayoutLMTokenizer",
    "LxmertTokenizer", "MobileBertTokenizer", "SqueezeBertTokenizer",
  ]
  /// The classes that are whatever tokenizer.json says, without `Fast`.
  private static let generalClasses: Set<String> = [
    "PreTrainedTokenizer", "PythonBackend", "TokenizersBackend",
  ]
  /// The models whose tokenizer is BERT's where no class is named.
  private static let modelTypes: Set<String> = [
    "bert", "convbert", "distilbert", "electra", "ernie", "layoutlm", "lxmert", "megatron-bert", "mobilebert", "nezha",
    "qdqbert", "roberta", "squeezebert", "visual_bert",
  ]
}
