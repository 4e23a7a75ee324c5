import BERT
import Collectives
import Kernels
import System
import Training

/// BERT with a classifier, or a head of the caller's own, from a checkpoint folder in the Hugging Face layout.
///
/// Reading the folder takes no memory for weights. They are read when the model is prepared, by rank 0, which gives them
/// to the others; or at first use, in a program of one process.
public final class BertForSequenceClassification: Preparable {
  public let configuration: BertConfiguration
  let folder: ModelFolder
  let head: (any TaskHead)?
  let seed: Int
  private let ignoresMismatchedSizes: Bool
  /// Whether the encoder stays as it is and only the head is trained. Set it before the model is used.
  public let encoderIsFrozen: Bool
  /// Whether forward keeps what backward needs, with dropout: torch's `model.train()` and `model.eval()`.
  public private(set) var isTraining = true
  /// The weights and what computes with them.
  private(set) var session: Session?
  /// Of the optimizer that was made for it, which keeps the model.
  private(set) var optimizer: (options: AdamWOptimizer.Options, id: ObjectIdentifier)?
  var window = GradientWindow()

  /// - Parameters:
  ///   - path: the folder, with config.json, the tokenizer's files and weights.
  ///   - labels: outputs of the classifier, 1 for regression; nil takes what config.json says.
  ///   - head: in place of BERT's pooler and classifier.
  ///   - dropout: of every part; nil keeps the rates of config.json.
  ///   - freezesEncoder: train the head only.
  ///   - ignoresMismatchedSizes: weights start fresh where the checkpoint's have another shape.
  ///   - seed: of fresh weights and of dropout.
  /// - Throws: `.missingInput`, `.configuration` or `.badData`, with the file.
  public init(
    from path: String, labels: Int? = nil, head: (any TaskHead)? = nil, dropout: Double? = nil,
    freezesEncoder: Bool = false, ignoresMismatchedSizes: Bool = false, seed: Int = 42
  ) throws(Failure) {
    folder = try ModelFolder(path, labels: head?.outputs ?? labels)
    var configuration = folder.configuration
    if let dropout { configuration.setDropout(dropout) }
    configuration.headParameters = head?.parameters(hiddenSize: configuration.hiddenSize)
    self.configuration = configuration
    self.head = head
    self.seed = seed
    self.ignoresMismatchedSizes = ignoresMismatchedSizes
    encoderIsFrozen = freezesEncoder
  }

  func attach(_ optimizer: AdamW) {
    guard session?.engine == nil else {
      return window.fail(misuse("AdamW", "the model trains with another optimizer already"))
    }
    self.optimizer = (optimizer.options, ObjectIdentifier(optimizer))
  }

  /// Forward keeps what backward needs, with dropout, from now on.
  public func train() { isTraining = true }

  /// Forward computes logits only, without dropout, from now on.
  public func eval() { isTraining = false }

  /// Computes the logits of a batch, and its loss.
  ///
  /// - Returns: logits `[rows, labels]` and the mean loss of the batch's rows.
  /// - Throws: `.badData` where the model cannot take the rows; a misuse where the batch's loader was not prepared.
  public func callAsFunction(_ batch: Batch) throws(Failure) -> SequenceClassifierOutput {
    guard isTraining, optimizer != nil else { return try output(of: batch) }
    let session = try session(for: batch, call: "model(batch)")
    if let accelerator = session.accelerator, batch.placement?.accelerator !== accelerator {
      throw misuse(
        "model(batch)", "the batch comes from a loader that was not passed to Accelerator.prepare",
        hint: "pass every loader that the model trains on to prepare, with the model")
    }
    let engine = try session.engine(for: self, batch.limits)
    try engine.reserve(batch.limits)
    window.forwards += 1
    let logits = computed(batch) {
      engine.forward(batch.content)
      return Array(engine.logits)
    }
    return SequenceClassifierOutput(logits: logits, of: batch, model: self, forward: window.forwards)
  }

  /// Predicts a batch without dropout, whatever the model's mode.
  ///
  /// - Returns: logits `[rows, labels]` and the mean loss of the batch's rows; it has no backward.
  public func predict(_ batch: Batch) throws(Failure) -> SequenceClassifierOutput { try output(of: batch) }

  private func output(of batch: Batch) throws(Failure) -> SequenceClassifierOutput {
    let session = try session(for: batch, call: "model.predict(batch)")
    let logits = computed(batch) { session.evaluate(batch) }
    return SequenceClassifierOutput(logits: logits, of: batch, model: self, forward: nil)
  }

  private func computed(_ batch: Batch, _ logits: () -> [Float]) -> Matrix {
    Matrix(rows: batch.count, columns: configuration.labels, batch.count == 0 ? [] : logits())
  }

  /// The session, made now in a program of one process; after a look at the batch.
  private func session(for batch: Batch, call: String) throws(Failure) -> Session {
    if let problem = batch.problem { throw problem }
    try batch.dataset.check(against: configuration, withLabels: false, name: call)
    if let session { return session }
    // A loop by hand begins here.
    let settings = try RankSettings(.ofThisProcess())
    let made = try Session(SoloCommunicator(), accelerator: nil, makeWeights(SoloCommunicator(), settings), settings)
    session = made
    return made
  }

  /// Gives the model its weights on all ranks of the accelerator.
  func prepare(for accelerator: Accelerator) throws(Failure) {
    if let session {
      guard session.accelerator !== accelerator else { return }
      throw misuse(
        "Accelerator.prepare", "the model was used or prepared before", hint: "call prepare before the model computes")
    }
    let (communicator, settings) = (accelerator.communicator, accelerator.settings)
    session = try Session(communicator, accelerator: accelerator, makeWeights(communicator, settings), settings)
  }

  private func makeWeights(
    _ communicator: any Communicator, _ settings: RankSettings
  ) throws(Failure) -> Weights {
    let plan = try communicator.agree { () throws(Failure) -> WeightPlan in
      guard communicator.isMain else { return WeightPlan(randomFor: configuration) }
      return try WeightPlan(
        folder: folder.path, for: configuration, ignoresMismatchedSizes: ignoresMismatchedSizes)
    }
    loadReport = plan.report.lines
    let weights = try Weights(configuration, head: head, communicator, sharesMemory: settings.sharesMemory)
    try weights.load(plan, seed: seed, communicator)
    return weights
  }

  /// What the checkpoint lacked and had too much, line by line; known on rank 0, once the model has its weights.
  public private(set) var loadReport: [String] = []

  /// Saves the weights with the tokenizer and configuration, as transformers' `from_pretrained` reads them. In a program
  /// of several ranks `Accelerator.save` does so on one of them.
  ///
  /// - Parameters:
  ///   - path: a folder that is missing, empty or holds a model that this library saved.
  ///   - labelNames: names of the classes, in order; else `LABEL_0` and so on.
  ///   - overwrites: replace any other folder too, with all that is in it.
  public func save(to path: String, labelNames: [String] = [], overwrites: Bool = false) throws(Failure) {
    guard let session else { throw misuse("model.save", "the model has no weights yet: nothing was computed with it") }
    try folder.save(
      session.weights, to: path, labelNames: labelNames, overwrites: overwrites, home: session.settings.home)
  }
}
