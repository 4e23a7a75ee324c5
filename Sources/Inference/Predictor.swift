import BERT
import Collectives
import Datasets
import Kernels
import System
import Tokenization
import Training

/// A trained model on all ranks, asked batch by batch.
public final class Predictor {
  public let folder: ModelFolder
  public let labels: ModelLabels
  private let model: Model
  private let evaluator: Evaluator
  private let communicator: any Communicator
  /// Rows of a batch on each rank.
  private let batchSize: Int
  /// The most tokens of a row.
  public let maxLength: Int

  /// Loads the model on all ranks.
  ///
  /// - Parameters:
  ///   - maxLength: cuts rows earlier than the model must.
  /// - Throws: on all ranks the same: `.missingInput` or `.badData` for a folder without a trained classifier.
  public convenience init(
    _ folder: ModelFolder, precision: ProductPrecision, batchSize: Int, maxLength: Int? = nil,
    settings: RankSettings = RankSettings(), _ communicator: any Communicator
  ) throws(Failure) {
    let plan = try WeightPlan(.checkpoint, from: folder, communicator)
    let fresh = try communicator.broadcast(Array(plan.report.initialized.joined(separator: ", ").utf8), from: 0)
    guard fresh.isEmpty else {
      throw Failure(
        .badData, at: folder.path, "has no trained classifier: \(String(decoding: fresh, as: UTF8.self)) are missing",
        hint: "fine-tune it first, then ask the folder that was saved", cause: .untrained)
    }
    let length = Self.maxLength(of: folder, atMost: maxLength)
    let limits = BatchLimits(tokens: batchSize * length, sequences: 4 * batchSize, length: length)
    let need =
      MemoryNeed.weights(folder.configuration)
      + .singleBatch(folder.configuration, limits: limits, keepsGradients: false)
    try need.require(for: "asking the model", communicator)
    let model = try Model(folder.configuration, communicator, sharesMemory: settings.sharesMemory)
    try model.load(plan, seed: 0, communicator)
    try self.init(
      folder, model, settings.gemm(precision, isForEvaluation: true), batchSize: batchSize, maxLength: maxLength,
      communicator)
  }

  /// A predictor of weights that are there, whatever they were trained for. Called by all ranks.
  public init(
    _ folder: ModelFolder, _ model: Model, _ gemm: GEMM, batchSize: Int, maxLength: Int? = nil,
    _ communicator: any Communicator
  ) throws(Failure) {
    self.folder = folder
    self.model = model
    self.communicator = communicator
    self.batchSize = batchSize
    self.maxLength = Self.maxLength(of: folder, atMost: maxLength)
    labels = try ModelLabels(folder)
    evaluator = Evaluator(model, gemm)
  }

  private static func maxLength(of folder: ModelFolder, atMost most: Int?) -> Int {
    min(folder.configuration.maximumPositions, folder.tokenizer.maxLength ?? .max, most ?? .max)
  }

  /// Rows that are computed at once by all ranks.
  public var rowsOfARound: Int { 8 * batchSize * communicator.size }

  /// `[rows, outputs]`: the logits of all rows, the same on every rank. Called by all ranks with the same rows.
  public func logits(_ rows: [Encoding]) throws(Failure) -> [Float] {
    guard !rows.isEmpty else { return [] }
    // All ranks wait for the slowest in every round, so each gets about as many tokens.
    let order = Self.dealt(rows.map(\.count), ranks: communicator.size)
    let dataset = try TokenizedDataset(
      rows: order.map { rows[$0] }, labels: rows.map { _ in .unknown }, padID: folder.tokenizer.padID)
    let dealt = try evaluate(dataset, hasLabels: false).rows.logits
    let outputs = dealt.count / rows.count
    var logits = [Float](repeating: 0, count: dealt.count)
    for (place, row) in order.enumerated() {
      for output in 0..<outputs { logits[row * outputs + output] = dealt[place * outputs + output] }
    }
    return logits
  }

  /// Rows in the order in which ranks take them, each its share of them one after the other: longest first, each row to
  /// the rank with the fewest tokens so far that has room for one.
  ///
  /// - Parameter lengths: `[rows]`, in tokens.
  package static func dealt(_ lengths: [Int], ranks: Int) -> [Int] {
    let count = lengths.count
    let room = (0..<ranks).map { count * ($0 + 1) / ranks - count * $0 / ranks }
    var parts = [[Int]](repeating: [], count: ranks)
    var tokens = [Int](repeating: 0, count: ranks)
    let longestFirst = lengths.indices.sorted { (lengths[$0], $1) > (lengths[$1], $0) }
    for row in longestFirst {
      let free = parts.indices.filter { parts[$0].count < room[$0] }
      guard let rank = free.min(by: { tokens[$0] < tokens[$1] }) else { preconditionFailure("no room for row \(row)") }
      parts[rank].append(row)
      tokens[rank] += lengths[row]
    }
    return parts.flatMap(\.self)
  }

  /// The outputs for a data set, and losses where it has labels; the same on every rank.
  public func evaluate(_ dataset: TokenizedDataset, hasLabels: Bool = true) throws(Failure) -> Evaluation {
    try dataset.check(against: folder.configuration, withLabels: hasLabels)
    return try evaluator.evaluate(
      dataset, hasLabels: hasLabels, batchSize: batchSize, parameters: model.parameters.pointer, communicator)
  }
}

/// Tokens of rows, cut to what the model takes, with a count of those that were cut.
public struct RowEncoder {
  private var whole: PairEncoder
  private var cutting: PairEncoder
  private let maxLength: Int
  /// Rows that were longer.
  public private(set) var cutCount = 0

  public init(_ tokenizer: BertTokenizer, maxLength: Int) {
    whole = PairEncoder(tokenizer, maxLength: .max)
    cutting = PairEncoder(tokenizer, maxLength: maxLength)
    self.maxLength = maxLength
  }

  public mutating func encode(_ text: [UInt8], _ textPair: [UInt8]?) throws(Failure) -> Encoding {
    var encoding = Encoding()
    try whole.append(text, textPair, to: &encoding)
    guard encoding.count > maxLength else { return encoding }
    cutCount += 1
    encoding.removeAll()
    try cutting.append(text, textPair, to: &encoding)
    return encoding
  }
}
