/// The tasks of GLUE (Wang et al., arXiv 1804.07461). Classes are numbered as `load_dataset("glue", …)` numbers them.
extension GLUETask {
  public static let all = [cola, sst2, mrpc, qqp, stsb, mnli, qnli, rte, wnli, ax]

  /// Is a sentence grammatical? GLUE's own training and validation tables have no header.
  public static let cola: GLUETask = {
    var task = GLUETask(
      name: "cola", firstColumn: "sentence", secondColumn: nil, labelColumn: "label", labels: .classes(["0", "1"]),
      labelNames: ["unacceptable", "acceptable"], metrics: ["matthews_correlation", "accuracy"],
      officialRowCounts: [.train: 8551, .validation: 1043, .test: 1063])
    task.positions = Positions(count: 4, first: 3, label: 1)
    return task
  }()

  /// Is a film liked?
  public static let sst2 = GLUETask(
    name: "sst2", firstColumn: "sentence", secondColumn: nil, labelColumn: "label", labels: .classes(["0", "1"]),
    labelNames: ["negative", "positive"], metrics: ["accuracy"],
    officialRowCounts: [.train: 67_349, .validation: 872, .test: 1821])

  /// Do two sentences say the same?
  public static let mrpc = GLUETask(
    name: "mrpc", firstColumn: "#1 String", secondColumn: "#2 String", labelColumn: "Quality",
    labels: .classes(["0", "1"]), labelNames: ["not_equivalent", "equivalent"], metrics: ["accuracy", "f1"],
    officialRowCounts: [.train: 3668, .validation: 408, .test: 1725])

  /// Do two questions ask the same?
  public static let qqp: GLUETask = {
    var task = GLUETask(
      name: "qqp", firstColumn: "question1", secondColumn: "question2", labelColumn: "is_duplicate",
      labels: .classes(["0", "1"]), labelNames: ["not_duplicate", "duplicate"], metrics: ["accuracy", "f1"],
      officialRowCounts: [.train: 363_846, .validation: 40_430, .test: 390_965])
    task.ownExportedColumns = .init(first: "question1", second: "question2", label: "label")
    task.hasBrokenRows = true
    return task
  }()

  /// How much do two sentences say the same, from 0 to 5?
  public static let stsb = GLUETask(
    name: "stsb", firstColumn: "sentence1", secondColumn: "sentence2", labelColumn: "score", labels: .scores(0...5),
    metrics: ["pearson", "spearmanr", "mse"], officialRowCounts: [.train: 5749, .validation: 1500, .test: 1379])

  /// Does the second sentence follow from the first? Two validation sets: of the genres of the training rows (matched),
  /// and of others.
  public static let mnli: GLUETask = {
    var task = entailment(
      name: "mnli", ["sentence1", "sentence2", "gold_label"], ["entailment", "neutral", "contradiction"],
      [.train: 392_702, .validation: 9815, .validationMismatched: 9832, .test: 9796, .testMismatched: 9847])
    task.ownExportedColumns = .init(first: "premise", second: "hypothesis", label: "label")
    task.fileStems = [
      .train: ["train"], .validation: ["dev_matched", "validation_matched"],
      .validationMismatched: ["dev_mismatched", "validation_mismatched"], .test: ["test_matched"],
      .testMismatched: ["test_mismatched"],
    ]
    return task
  }()

  /// Does a sentence answer a question?
  public static let qnli = entailment(
    name: "qnli", ["question", "sentence", "label"], ["entailment", "not_entailment"],
    [.train: 104_743, .validation: 5463, .test: 5463])

  /// Does the second sentence follow from the first?
  public static let rte = entailment(
    name: "rte", ["sentence1", "sentence2", "label"], ["entailment", "not_entailment"],
    [.train: 2490, .validation: 277, .test: 3000])

  /// Does a sentence follow in which a pronoun is replaced?
  public static let wnli = GLUETask(
    name: "wnli", firstColumn: "sentence1", secondColumn: "sentence2", labelColumn: "label",
    labels: .classes(["0", "1"]), labelNames: ["not_entailment", "entailment"], metrics: ["accuracy"],
    officialRowCounts: [.train: 635, .validation: 71, .test: 146])

  /// GLUE's diagnostic rows, for models of ``mnli``: a test split and no other.
  public static let ax: GLUETask = {
    var task = entailment(
      name: "ax", ["sentence1", "sentence2", "label"], ["entailment", "neutral", "contradiction"], [.test: 1104])
    task.metrics = ["matthews_correlation", "accuracy"]
    task.ownExportedColumns = .init(first: "premise", second: "hypothesis", label: "label")
    task.fileStems = [.test: ["diagnostic", "test"]]
    return task
  }()

  private static func entailment(
    name: String, _ columns: [String], _ labels: [String], _ counts: [Split: Int]
  ) -> GLUETask {
    GLUETask(
      name: name, firstColumn: columns[0], secondColumn: columns[1], labelColumn: columns[2], labels: .classes(labels),
      labelNames: labels, metrics: ["accuracy"], officialRowCounts: counts)
  }
}
