/// The words of the corpus: four slots of an event, five meanings for each, two words for each meaning.
///
/// The words of a meaning are exact synonyms here, whatever a dictionary says; no word has two meanings.
package enum Lexicon {
  /// What an event is told by, in this order in every table below.
  package enum Slot: Int, CaseIterable, Sendable { case agent, action, object, time }

  /// The meanings of each slot, by `Slot.rawValue`: `[slot][meaning][word]`. The past tense of every verb is also its
  /// participle, so that the passive needs no words of its own.
  package static let meanings: [[[String]]] = [
    [
      ["doctor", "physician"], ["lawyer", "attorney"], ["teacher", "instructor"], ["author", "writer"],
      ["farmer", "grower"],
    ],
    [
      ["bought", "purchased"], ["repaired", "mended"], ["found", "located"], ["damaged", "harmed"],
      ["cleaned", "washed"],
    ],
    [
      ["car", "automobile"], ["house", "home"], ["ship", "vessel"], ["picture", "image"], ["carpet", "rug"],
    ],
    [
      ["dawn", "daybreak"], ["noon", "midday"], ["dusk", "nightfall"], ["autumn", "fall"],
      ["spring", "springtime"],
    ],
  ]

  /// The preposition of each meaning of the time slot.
  package static let prepositions = ["at", "at", "at", "in", "in"]

  /// The words that carry the grammar and no meaning of their own.
  package static let functionWords = ["the", "was", "by", "at", "in"]

  /// The words that the vocabulary holds in pieces only; every other word is a piece of its own.
  package static let pieces = [
    "daybreak": ["day", "##break"], "nightfall": ["night", "##fall"], "springtime": ["spring", "##time"],
  ]

  static let slotCount = meanings.count
  static let meaningsPerSlot = meanings[0].count
  static let wordsPerMeaning = meanings[0][0].count

  /// The lines of `vocab.txt`: the special tokens in bert-base's order, then each piece where it first occurs, in
  /// lower case.
  static var vocabulary: [String] {
    var lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for word in functionWords + meanings.flatMap({ $0.flatMap { $0 } }) {
      for piece in pieces[word] ?? [word.lowercased()] where !lines.contains(piece) { lines.append(piece) }
    }
    return lines
  }
}
