import Corpus

/// Reads sentences back without the generator: who did what to what and when, by words alone.
///
/// It knows the synonyms and how English marks the passive ("was … by"), nothing of how sentences are written here.
struct SentenceReader {
  /// What a sentence says, each word replaced by the first of its synonyms.
  struct Meaning: Equatable {
    var agent: String
    var action: String
    var object: String
    var time: String

    var all: [String] { [agent, action, object, time] }
  }

  private var slots: [String: (slot: Lexicon.Slot, meaning: String)] = [:]

  init() {
    for (slot, meanings) in zip(Lexicon.Slot.allCases, Lexicon.meanings) {
      for words in meanings {
        for word in words { slots[word.lowercased()] = (slot, words[0]) }
      }
    }
  }

  /// Nil where the sentence lacks a slot, tells one twice or is not grammatical.
  func read(_ sentence: String) -> Meaning? {
    var words = sentence.lowercased().split(separator: " ").map(String.init)
    // The time is a preposition and a word, at either end.
    guard words.count >= 7 else { return nil }
    let isFronted = words.first == "at" || words.first == "in"
    let time = isFronted ? Array(words.prefix(2)) : Array(words.suffix(2))
    if isFronted { words.removeFirst(2) } else { words.removeLast(2) }
    guard time[0] == "at" || time[0] == "in", let when = meaning(time[1], .time) else { return nil }
    if let was = words.firstIndex(of: "was") {
      // the OBJECT was ACTION by the AGENT
      guard was == 2, words.count == 7, words[0] == "the", words[4] == "by", words[5] == "the" else { return nil }
      return Meaning(words[6], words[3], words[1], when, self)
    }
    // the AGENT ACTION the OBJECT
    guard words.count == 5, words[0] == "the", words[3] == "the" else { return nil }
    return Meaning(words[1], words[2], words[4], when, self)
  }

  fileprivate func meaning(_ word: String, _ slot: Lexicon.Slot) -> String? {
    guard let entry = slots[word], entry.slot == slot else { return nil }
    return entry.meaning
  }
}

extension SentenceReader.Meaning {
  fileprivate init?(
    _ agent: String, _ action: String, _ object: String, _ time: String, _ reader: SentenceReader
  ) {
    guard let agent = reader.meaning(agent, .agent), let action = reader.meaning(action, .action),
      let object = reader.meaning(object, .object)
    else { return nil }
    self.init(agent: agent, action: action, object: object, time: time)
  }
}

/// A row of MRPC's table, cut without the product's parser.
struct Row {
  var isParaphrase: Bool
  var ids: [Int]
  var sentences: [String]

  /// The rows below the header; nil where one is malformed.
  static func all(of table: [UInt8]) -> [Row]? {
    let lines = String(decoding: table, as: UTF8.self).split(separator: "\n")
    guard lines.first == "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", table.last == UInt8(ascii: "\n") else {
      return nil
    }
    var rows: [Row] = []
    for line in lines.dropFirst() {
      let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
      guard fields.count == 5, fields[0] == "0" || fields[0] == "1", let first = Int(fields[1]),
        let second = Int(fields[2])
      else { return nil }
      rows.append(Row(isParaphrase: fields[0] == "1", ids: [first, second], sentences: [fields[3], fields[4]]))
    }
    return rows
  }
}
