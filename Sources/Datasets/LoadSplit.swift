import System

/// The rows of `split` of `task` from `folder`, in the order of the files.
///
/// Reads GLUE's `train.tsv`, `dev.tsv` and `test.tsv`, and files that were exported from the Hugging Face hub: the same
/// as JSON lines (`.jsonl`), and `validation` for `dev`. A folder with two files for one split is refused.
/// MRPC is read from the original `msr_paraphrase_train.txt`, `msr_paraphrase_test.txt` and `dev_ids.tsv` too, where no
/// such file is there (for the test split they come first: GLUE's own has no labels, and those rows' labels are
/// `.unknown`). They are read from `files`. Throws `.missingInput` or, with file, line and column, `.badData`.
public func loadSplit(
  _ task: GLUETask, folder: String, split: Split, files: InputFiles = .disk
) throws(Failure) -> SentencePairs {
  guard files.isFolder(folder) else { throw Failure(.missingInput, at: folder, "is not a folder that can be read") }
  let original = OriginalMRPC(folder: folder, files: files)
  let isOriginalThere = task.name == GLUETask.mrpc.name && original.isThere(split)
  if isOriginalThere && split == .test { return try original.load(task, split) }
  let names = try task.fileNames(split)
  let found = names.filter { files.exists("\(folder)/\($0)") }
  guard let name = found.first else {
    if isOriginalThere { return try original.load(task, split) }
    throw Failure(
      .missingInput, at: "\(folder)/\(names[0])", "is not there",
      hint: "\(names.dropFirst().joined(separator: ", ")) will do too"
        + (task.name == GLUETask.mrpc.name ? ", and so will msr_paraphrase_train.txt and msr_paraphrase_test.txt" : ""))
  }
  guard found.count == 1 else {
    throw Failure(
      .badData, at: folder,
      "has \(found.joined(separator: " and ")), expected one file for the \(split.rawValue) split",
      hint: "move the others away")
  }
  let path = "\(folder)/\(name)"
  return try task.schema.parse(
    files.bytes(path), path: path, name.hasSuffix(".jsonl") ? .jsonLines : .tsv, requiresLabels: !split.isTest)
}

extension GLUETask {
  /// The files that may hold a split, GLUE's own first. Throws `.usage` where the task has no such split.
  func fileNames(_ split: Split) throws(Failure) -> [String] {
    guard let stems = fileStems[split] else {
      throw Failure(
        .usage,
        "the task \(name) has no \(split.rawValue) split, expected "
          + splits.map(\.rawValue).joined(separator: " or "),
        hint: name == GLUETask.ax.name ? "it tests models that were trained on mnli" : nil)
    }
    return [".tsv", ".jsonl"].flatMap { suffix in stems.map { $0 + suffix } }
  }

  /// The paths that are looked at in `folder` for rows of these splits.
  public func inputPaths(folder: String, splits: [Split]) -> [String] {
    let names = splits.flatMap { (try? fileNames($0)) ?? [] }
    return [folder] + names.map { "\(folder)/\($0)" } + OriginalMRPC(folder: folder).paths
  }

  /// Whether a file for the split is in `folder`.
  public func isThere(_ split: Split, in folder: String) -> Bool {
    let names = (try? fileNames(split)) ?? []
    return names.contains { exists("\(folder)/\($0)") }
      || (name == GLUETask.mrpc.name && OriginalMRPC(folder: folder).isThere(split))
  }
}

/// The Microsoft Research Paraphrase Corpus as it was first published: one training table, of which `dev_ids.tsv` names
/// the rows that GLUE holds out for validation, and a test table with labels.
struct OriginalMRPC {
  let folder: String
  let files: InputFiles
  private var trainPath: String { "\(folder)/msr_paraphrase_train.txt" }
  private var testPath: String { "\(folder)/msr_paraphrase_test.txt" }
  private var heldOutPath: String { "\(folder)/dev_ids.tsv" }

  init(folder: String, files: InputFiles = .disk) { (self.folder, self.files) = (folder, files) }

  var paths: [String] { [trainPath, testPath, heldOutPath] }

  func isThere(_ split: Split) -> Bool { files.exists(split.isTest ? testPath : trainPath) }

  func load(_ task: GLUETask, _ split: Split) throws(Failure) -> SentencePairs {
    guard split != .test else { return try task.parse(files.bytes(testPath), path: testPath) }
    guard files.exists(heldOutPath) else {
      throw Failure(
        .missingInput, at: heldOutPath, "is not there, expected the ids of the validation rows",
        hint: "GLUE's MRPC comes with it")
    }
    var heldOut = try HeldOutIDs(files.bytes(heldOutPath), path: heldOutPath)
    var table = try TableReader(files.bytes(trainPath), path: trainPath)
    let columns = try FoundColumns(of: &table, schema: task.schema, requiresLabels: true)
    let header = table
    let idColumns = try ["#1 ID", "#2 ID"].map { name throws(Failure) in
      if let column = header.fields.indices.first(where: { header.field($0).elementsEqual(name.utf8) }) {
        return column
      }
      throw Failure(.badData, at: "\(trainPath):1:1", "header has no column \"\(name)\"")
    }
    let pairs = try task.schema.pairs(of: &table, columns) { (table) throws(Failure) in
      heldOut.find(table.field(idColumns[0]) + [0x09] + table.field(idColumns[1])) == (split == .validation)
    }
    if let stray = heldOut.firstUnseen {
      throw Failure(.badData, at: "\(heldOutPath):\(stray.line):1", "ids \(stray.ids) are not in \(trainPath)")
    }
    return pairs
  }
}

/// The pairs of ids in `dev_ids.tsv`, which has no header.
struct HeldOutIDs {
  /// By the text of a line: its number, and whether ``find(_:)`` has met it.
  private var lines: [ArraySlice<UInt8>: (line: Int, isSeen: Bool)] = [:]

  init(_ bytes: [UInt8], path: String) throws(Failure) {
    var table = try TableReader(bytes, path: path)
    while try table.next() {
      guard table.fields.count == 2 else {
        throw Failure(.badData, at: "\(path):1:1", "has \(table.fields.count) tab-separated fields, expected 2 ids")
      }
      if let (line, _) = lines.updateValue((table.line, false), forKey: bytes[table.row]) {
        throw Failure(.badData, at: "\(path):\(table.line):1", "ids are on line \(line) already")
      }
    }
  }

  /// Whether two ids with a tab between them are there.
  mutating func find(_ ids: ArraySlice<UInt8>) -> Bool {
    guard let index = lines.index(forKey: ids) else { return false }
    lines.values[index].isSeen = true
    return true
  }

  /// The first line that nobody has asked for.
  var firstUnseen: (line: Int, ids: String)? {
    lines.lazy.filter { !$0.value.isSeen }.min { $0.value.line < $1.value.line }.map {
      ($0.value.line, String(decoding: $0.key, as: UTF8.self).replacing("\t", with: ", "))
    }
  }
}
