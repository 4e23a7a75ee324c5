import FileSystem

/// The rows of `split` of `task` from `folder`, in the order of the files.
///
/// Reads GLUE's `train.tsv`, `dev.tsv` and `test.tsv`. MRPC is read from the original `msr_paraphrase_train.txt`,
/// `msr_paraphrase_test.txt` and `dev_ids.tsv` too, where GLUE's file is not there (for the test split they come first:
/// GLUE's own has no labels, and those rows' labels are `.unknown`).
/// Throws `.missingInput` or, with file, line and column, `.badData`.
public func loadSplit(
  _ task: GLUETask, folder: String, split: Split
) throws(Failure) -> [SentencePair] {
  guard isDirectory(folder) else { throw Failure(.missingInput, at: folder, "is not a folder that can be read") }
  let names: [Split: String] = [.train: "train.tsv", .validation: "dev.tsv", .test: "test.tsv"]
  let path = "\(folder)/\(names[split]!)"
  let original = OriginalMRPC(folder: folder)
  if task.name == GLUETask.mrpc.name && original.isThere(split) && (split == .test || !exists(path)) {
    return try original.load(task, split)
  }
  guard exists(path) else {
    throw Failure(
      .missingInput, at: path, "is not there",
      hint: task.name == GLUETask.mrpc.name ? "msr_paraphrase_train.txt and msr_paraphrase_test.txt will do too" : nil)
  }
  return try task.parse(readBytes(path), path: path, requiresLabels: split != .test)
}

/// The Microsoft Research Paraphrase Corpus as it was first published: one training table, of which `dev_ids.tsv` names
/// the rows that GLUE holds out for validation, and a test table with labels.
struct OriginalMRPC {
  let folder: String
  private var trainPath: String { "\(folder)/msr_paraphrase_train.txt" }
  private var testPath: String { "\(folder)/msr_paraphrase_test.txt" }
  private var heldOutPath: String { "\(folder)/dev_ids.tsv" }

  init(folder: String) { self.folder = folder }

  func isThere(_ split: Split) -> Bool { exists(split == .test ? testPath : trainPath) }

  func load(_ task: GLUETask, _ split: Split) throws(Failure) -> [SentencePair] {
    guard split != .test else { return try task.parse(readBytes(testPath), path: testPath) }
    guard exists(heldOutPath) else {
      throw Failure(
        .missingInput, at: heldOutPath, "is not there, expected the ids of the validation rows",
        hint: "GLUE's MRPC comes with it")
    }
    let table = try Table(readBytes(trainPath), path: trainPath)
    let columns = try GLUETask.Columns(of: table, task: task, requiresLabels: true)
    let idColumns = try ["#1 ID", "#2 ID"].map { name throws(Failure) in
      let header = table.rows[0]
      if let column = header.fields.indices.first(where: { table.field(header, $0).elementsEqual(name.utf8) }) {
        return column
      }
      throw Failure(.badData, at: "\(trainPath):1:1", "header has no column \"\(name)\"")
    }
    func ids(_ row: Table.Row) -> [[UInt8]] { idColumns.map { Array(table.field(row, $0)) } }

    let heldOut = try heldOutIDs()
    let known = Set(table.rows.dropFirst().map(ids))
    if let stray = heldOut.first(where: { !known.contains($0.key) }) {
      let text = stray.key.map { String(decoding: $0, as: UTF8.self) }.joined(separator: ", ")
      throw Failure(.badData, at: "\(heldOutPath):\(stray.value):1", "ids \(text) are not in \(trainPath)")
    }
    let rows = table.rows.dropFirst().filter { (heldOut[ids($0)] != nil) == (split == .validation) }
    return try task.pairs(of: rows, in: table, columns)
  }

  /// The pairs of ids in `dev_ids.tsv`, which has no header, and the line of each.
  private func heldOutIDs() throws(Failure) -> [[[UInt8]]: Int] {
    let table = try Table(readBytes(heldOutPath), path: heldOutPath)
    guard table.rows[0].fields.count == 2 else {
      throw Failure(
        .badData, at: "\(heldOutPath):1:1", "has \(table.rows[0].fields.count) tab-separated fields, expected 2 ids")
    }
    var lines: [[[UInt8]]: Int] = [:]
    for row in table.rows {
      let ids = [0, 1].map { Array(table.field(row, $0)) }
      if let line = lines.updateValue(row.line, forKey: ids) {
        throw Failure(.badData, at: "\(heldOutPath):\(row.line):1", "ids are on line \(line) already")
      }
    }
    return lines
  }
}
