import JSON
import System

/// Where texts and special tokens stand in a row: the `post_processor` of a tokenizer.json.
struct RowTemplate: Sendable, Equatable {
  enum Piece: Sendable, Equatable {
    case first(type: Int32)
    case second(type: Int32)
    case token(id: Int32, type: Int32)
  }

  var single: [Piece]
  var pair: [Piece]

  /// The texts alone.
  static let bare = RowTemplate(single: [.first(type: 0)], pair: [.first(type: 0), .second(type: 1)])

  init(single: [Piece], pair: [Piece]) {
    self.single = single
    self.pair = pair
  }

  /// `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`.
  init(classificationID: Int32, separatorID: Int32) {
    single = [
      .token(id: classificationID, type: 0), .first(type: 0), .token(id: separatorID, type: 0),
    ]
    pair = single + [.second(type: 1), .token(id: separatorID, type: 1)]
  }

  /// `<s> a </s>` and `<s> a </s></s> b </s>`.
  init(robertaStart: Int32, end: Int32) {
    let (start, end) = (Piece.token(id: robertaStart, type: 0), Piece.token(id: end, type: 0))
    self.init(single: [start, .first(type: 0), end], pair: [start, .first(type: 0), end, end, .second(type: 0), end])
  }

  /// Reads the value of the key `post_processor`; a kind that is not known here is refused.
  init(_ json: JSONNode) throws(Failure) {
    let type = try json.requiredMember("type")
    switch try type.string() {
    case "TemplateProcessing":
      let tokens = try json.requiredMember("special_tokens")
      self.init(
        single: try pieces(try json.requiredMember("single"), tokens, isPair: false),
        pair: try pieces(try json.requiredMember("pair"), tokens, isPair: true))
    case "BertProcessing":
      self.init(
        classificationID: try tokenID(json.requiredMember("cls")), separatorID: try tokenID(json.requiredMember("sep")))
    case "RobertaProcessing":
      self.init(robertaStart: try tokenID(json.requiredMember("cls")), end: try tokenID(json.requiredMember("sep")))
    case "Sequence":
      let parts = try json.requiredMember("processors").elements()
      guard parts.count == 1 else {
        throw json.failure("has a post_processor of \(parts.count) parts, expected one; more are not supported")
      }
      try self.init(parts[0])
    default:
      throw type.unexpected(
        "BertProcessing, RobertaProcessing, Sequence or TemplateProcessing; others are not supported")
    }
  }

  /// The largest token type, and the largest id with its name in errors.
  var types: [Int32] {
    (single + pair).map { piece in
      switch piece {
      case .first(let type), .second(let type), .token(_, let type): type
      }
    }
  }

  /// The ids of the special tokens.
  var ids: [Int32] {
    (single + pair).compactMap { piece in if case .token(let id, _) = piece { id } else { nil } }
  }

  /// The same row with token types that are all 0.
  var withoutTypes: RowTemplate {
    func plain(_ pieces: [Piece]) -> [Piece] {
      pieces.map { piece in
        switch piece {
        case .first: .first(type: 0)
        case .second: .second(type: 0)
        case .token(let id, _): .token(id: id, type: 0)
        }
      }
    }
    return RowTemplate(single: plain(single), pair: plain(pair))
  }
}

private func pieces(_ json: JSONNode, _ tokens: JSONNode, isPair: Bool) throws(Failure) -> [RowTemplate.Piece] {
  var result: [RowTemplate.Piece] = []
  for piece in try json.elements() {
    func type(_ node: JSONNode) throws(Failure) -> Int32 {
      Int32(try node.requiredMember("type_id").int(0...Int(Int32.max)))
    }
    if let sequence = try piece.member("Sequence") {
      let name = try sequence.requiredMember("id")
      switch try name.string() {
      case "A": result.append(.first(type: try type(sequence)))
      case "B" where isPair: result.append(.second(type: try type(sequence)))
      default: throw name.unexpected(isPair ? "A or B" : "A")
      }
    } else if let token = try piece.member("SpecialToken") {
      let name = try token.requiredMember("id")
      guard let entry = try tokens.member(try name.string()) else { throw name.unexpected("a key of special_tokens") }
      for id in try entry.requiredMember("ids").elements() {
        result.append(.token(id: Int32(try id.int(0...Int(Int32.max))), type: try type(token)))
      }
    } else {
      throw piece.unexpected("Sequence or SpecialToken")
    }
    guard result.count <= 1000 else { throw json.failure("a row has more than 1000 pieces") }
  }
  return result
}

/// The id in a pair such as `["[SEP]", 102]`.
private func tokenID(_ json: JSONNode) throws(Failure) -> Int32 {
  let parts = try json.elements()
  guard parts.count == 2 else { throw json.unexpected("a token and its id") }
  return Int32(try parts[1].int(0...Int(Int32.max)))
}
