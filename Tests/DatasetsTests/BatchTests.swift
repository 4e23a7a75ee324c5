import Batches
import Datasets
import System
import TestSupport
import Testing
import Tokenization

@Suite struct BatchTests {
  static let pairs = [
    pair("a b", "c", .category(1)), pair("c", "a b c a", .category(0)), pair("b", nil, .score(2.5)),
    pair("a", "a", .unknown),
  ]

  private func dataset(_ pairs: [SentencePair] = pairs, maxLength: Int? = nil) throws -> TokenizedDataset {
    let vocabulary = Array("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\nc\n".utf8)
    let tokenizer = try BertTokenizer(files: TokenizerFiles(folder: "f", contents: [("vocab.txt", vocabulary)]))
    return try TokenizedDataset(pairs, tokenizer: tokenizer, maxLength: maxLength)
  }

  @Test func rowsEndToEnd() throws {
    let dataset = try dataset()
    #expect(dataset.count == 4 && dataset.longestRow == 8 && dataset.padID == 0)
    #expect(dataset.offsets == [0, 6, 14, 17, 22])
    #expect(Array(dataset.inputIDs[dataset.tokens(0)]) == [2, 4, 5, 3, 6, 3])
    #expect(Array(dataset.tokenTypeIDs[dataset.tokens(0)]) == [0, 0, 0, 0, 1, 1])
    #expect(Array(dataset.inputIDs[dataset.tokens(2)]) == [2, 5, 3])
    #expect(dataset.labels == Self.pairs.map(\.label))
  }

  @Test func longRowsAreCut() throws {
    #expect(try dataset(maxLength: 5).offsets == [0, 5, 10, 13, 18])
    let failure = failure { () throws(Failure) in
      do { return try dataset(maxLength: 2) } catch let failure as Failure { throw failure } catch { fatalError() }
    }
    #expect(failure?.status == .usage)
  }

  @Test func packed() throws {
    let dataset = try dataset()
    let batch = PackedBatch()
    batch.fill(from: dataset, rows: [1, 2, 3])
    batch.fill(from: dataset, rows: [2, 0])
    func list<Value>(_ values: UnsafePointer<Value>, _ count: Int) -> [Value] {
      Array(UnsafeBufferPointer(start: values, count: count))
    }
    #expect(list(batch.tokenIDs, 9) == [2, 5, 3, 2, 4, 5, 3, 6, 3])
    #expect(list(batch.typeIDs, 9) == [0, 0, 0, 0, 0, 0, 0, 1, 1])
    #expect(list(batch.starts, 3) == [0, 3, 9] && batch.longestRow == 6 && batch.tokens == 9)
    #expect(list(batch.classes, 2) == [-1, 1] && list(batch.scores, 2) == [2.5, 0] && list(batch.rows, 2) == [2, 0])
    #expect(batch.sequences == 2 && batch.length(0) == 3 && batch.length(1) == 6)
    batch.fill(from: dataset, rows: [])
    #expect(batch.starts[0] == 0 && batch.sequences == 0 && batch.longestRow == 0 && batch.tokens == 0)
  }

  /// A reallocation would move the memory.
  @Test func fillingAllocatesNothingOnceLargeEnough() throws {
    let dataset = try dataset()
    let batch = PackedBatch()
    batch.reserveCapacity(sequences: 4, tokens: 32)
    func places() -> [UnsafeRawPointer] {
      [
        UnsafeRawPointer(batch.tokenIDs), UnsafeRawPointer(batch.typeIDs), UnsafeRawPointer(batch.starts),
        UnsafeRawPointer(batch.classes), UnsafeRawPointer(batch.scores), UnsafeRawPointer(batch.rows),
      ]
    }
    let before = places()
    for rows in [[0, 1, 2, 3], [1], [3, 2, 1, 0]] {
      batch.fill(from: dataset, rows: rows)
      #expect(places() == before)
    }
  }

  @Test func fingerprintsTellRowsApart() throws {
    let whole = try dataset().fingerprint
    #expect(try dataset().fingerprint == whole)
    #expect(try dataset(Self.pairs.reversed()).fingerprint != whole)
    #expect(try dataset(maxLength: 7).fingerprint != whole)
    var relabelled = Self.pairs
    relabelled[0].label = .category(0)
    #expect(try dataset(relabelled).fingerprint != whole)
  }

  @Test(.needs(.reference))
  func allOfMRPC() throws {
    let tokenizer = try BertTokenizer(folder: Golden.inReference("data/bert-base-uncased"))
    let pairs = try loadSplit(.mrpc, folder: Golden.inReference("data/glue/MRPC"), split: .train)
    var tokenized: TokenizedDataset?
    let seconds = try computingSeconds {
      tokenized = try TokenizedDataset(pairs, tokenizer: tokenizer, maxLength: 512)
    }
    let dataset = try #require(tokenized)
    #expect(seconds < 0.5)
    #expect(dataset.count == 3668)
  }
}
