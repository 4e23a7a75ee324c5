import Collectives
import Datasets
import Glibc
import Inference
import JSON
import System
import Tokenization
import Training

/// Answers what was asked, on rank 0, in order.
func predict(
  _ command: PredictCommand, _ communicator: any Communicator, _ settings: RankSettings
) throws(Failure) {
  try communicator.agree { () throws(Failure) in try command.check() }
  if command.test { return try submit(command, communicator, settings) }
  let predictor = try command.options.predictor(command.model, program: "predict", communicator, settings)
  let isForPerson = command.text != nil && !command.json
  let writer = AnswerWriter(predictor.labels)
  let source = try communicator.agree { () throws(Failure) in
    communicator.isMain ? try questions(command, predictor) : nil
  }
  let counts = try predictor.answer(source, communicator) { (answers) throws(Failure) in
    var text: [UInt8] = []
    for (question, answer) in answers {
      if isForPerson, let answer {
        let lines = writer.lines(answer) { formatted(Double($0), digits: 4) }
        text += (lines.map(\.escapingControlCharacters).joined(separator: "\n") + "\n").utf8
      } else if !isForPerson {
        text += writer.line(question, answer)
      }
    }
    try writeToStandardOutput(text)
  }
  if communicator.isMain { noteCut(counts.cut, of: counts.questions, predictor, "predict") }
  try failIfUnanswered(counts, isForPerson: isForPerson, communicator)
}

/// Where the questions come from.
private func questions(_ command: PredictCommand, _ predictor: Predictor) throws(Failure) -> any QuestionSource {
  if let text = command.text {
    let pair = command.textPair.flatMap { $0.isEmpty ? nil : Array($0.utf8) }
    var members: [UInt8] = []
    members += "\"text\":".utf8
    JSONText.append(quoted: text.utf8, to: &members)
    if let pair {
      members += ",\"text_pair\":".utf8
      JSONText.append(quoted: pair, to: &members)
    }
    return GivenQuestions([Question(members: members, text: Array(text.utf8), textPair: pair)])
  }
  if let name = command.rows.task {
    let task = try GLUETask.named(name)
    try predictor.folder.requireTokenTypes(for: task)
    return GivenQuestions(
      taskQuestions(try loadSplit(task, folder: command.rows.data ?? "", split: command.rows.split ?? .validation)))
  }
  if let path = command.testFile { return try fileQuestions(path, command.columns) }
  if isatty(STDIN_FILENO) == 1 { note("reading lines from the terminal; Ctrl-D ends them", "predict") }
  let input = LineInput(descriptor: STDIN_FILENO, name: "standard input")
  return switch command.format ?? .jsonl {
  case .jsonl: LineQuestions(input, JSONQuestions(command.columns, path: "standard input"))
  case .tsv: LineQuestions(input, TableQuestions(command.columns, path: "standard input"))
  }
}

/// Rows of GLUE's: the answers repeat number and texts.
private func taskQuestions(_ pairs: SentencePairs) -> [Question] {
  pairs.enumerated().map { index, pair in
    var members = Array("\"index\":\(index),\"text\":".utf8)
    JSONText.append(quoted: pair.first, to: &members)
    if let second = pair.second {
      members += ",\"text_pair\":".utf8
      JSONText.append(quoted: second, to: &members)
    }
    return Question(members: members, text: pair.first, textPair: pair.second)
  }
}

/// Rows of a file; it is read as they are asked for, but for CSV, whose rows may have several lines.
private func fileQuestions(_ path: String, _ columns: TextColumns) throws(Failure) -> any QuestionSource {
  let format = try TableFormat(ofFile: path)
  if format == .csv { return GivenQuestions(try csvQuestions(readBytes(path), path: path, columns)) }
  _ = try InputFile(path)
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw Failure(.missingInput, at: path, "cannot be opened: \(lastSystemError())") }
  let input = LineInput(descriptor: descriptor, name: path)
  return format == .tsv
    ? LineQuestions(input, TableQuestions(columns, path: path, needsHeader: true))
    : LineQuestions(input, JSONQuestions(columns, path: path))
}

/// Ends with `.badData` on all ranks where a row has no answer: scripts must not take it for all.
private func failIfUnanswered(
  _ counts: QuestionCounts, isForPerson: Bool, _ communicator: any Communicator
) throws(Failure) {
  var text = ""
  if let first = counts.firstFailure {
    text =
      isForPerson
      ? first.reason
      : "\(counts.failed) of \(counts.questions) row\(counts.questions == 1 ? " has" : "s have") no answer, "
        + "the first is row \(first.row): \(first.reason)"
  }
  let reason = String(decoding: try communicator.broadcast(Array(text.utf8), from: 0), as: UTF8.self)
  guard !reason.isEmpty else { return }
  try communicator.agree { () throws(Failure) in throw Failure(.badData, reason) }
}

/// `predict --task NAME --test`: the files that GLUE's server takes.
private func submit(_ command: PredictCommand, _ communicator: any Communicator, _ settings: RankSettings)
  throws(Failure)
{
  let folder = command.outputDir ?? "."
  let task = try communicator.agree { () throws(Failure) in try GLUETask.named(command.rows.task ?? "") }
  let files = try communicator.readOnMain(
    task.inputPaths(folder: command.rows.data ?? "", splits: task.splits.filter(\.isTest)))
  let tables = try communicator.agree { () throws(Failure) in
    let tables = try task.splits.filter(\.isTest).map { (split) throws(Failure) in
      let rows = try loadSplit(task, folder: command.rows.data ?? "", split: split, files: files)
      guard rows.rowsLeftOut == 0 else {
        throw Failure(
          .badData, at: command.rows.data,
          "\(rows.rowsLeftOut) test rows have too few cells, expected GLUE's own test table"
        )
      }
      return (split, rows)
    }
    guard communicator.isMain else { return tables }
    if let outputDir = command.outputDir { try makeDirectory(outputDir) }
    for (split, _) in tables {
      try GLUESubmission.check(
        "\(folder)/\(GLUESubmission.fileName(task, split))", option: "--output-dir",
        notIn: [("--model", command.model)])
    }
    return tables
  }
  let predictor = try command.options.predictor(command.model, program: "predict", communicator, settings)
  let outputs = try predictor.labels.outputs(for: task, model: command.model)
  for (split, pairs) in tables {
    let rows = try TokenizedDataset(pairs, tokenizer: predictor.folder.tokenizer, maxLength: predictor.maxLength)
    let logits = try predictor.evaluate(rows, hasLabels: false).rows.logits
    let path = "\(folder)/\(GLUESubmission.fileName(task, split))"
    try communicator.agree { () throws(Failure) in
      guard communicator.isMain else { return }
      try writeAtomically(Array(GLUESubmission.text(task, logits: logits, outputs: outputs).utf8), to: path)
      try writeToStandardOutput(
        "\(path): \(grouped(pairs.count)) rows\n".escapingControlCharacters(except: ["\n"]).utf8)
    }
  }
}
