import ArgumentParser
import Collectives
import Inference
import ProgramSupport
import System
import Training

/// The options that say which rows of GLUE's, and how they are computed.
struct ModelOptions: ParsableArguments {
  @Option(
    name: bothSpellings("batch-size", "eval-batch-size"), help: "Rows of a batch on each rank; short rows share one.")
  var batchSize = 8

  @Option(
    name: bothSpellings("max-length"),
    help: "The most tokens of a row, special ones included. (default: what the model has)")
  var maxLength: Int?

  @OptionGroup var precision: PrecisionOptions

  @OptionGroup var revision: RevisionOption

  func check() throws(Failure) {
    try revision.check()
    try ProgramSupport.check(batchSize, "--batch-size", Limits.batchSize)
    try ProgramSupport.check(maxLength, "--max-length", Limits.length)
  }

  /// The model in the folder `path` on all ranks, with what its files are odd about said by rank 0.
  func predictor(
    _ path: String, program: String, _ communicator: any Communicator, _ settings: RankSettings
  ) throws(Failure) -> Predictor {
    let files = try communicator.readOnMain(ModelFolder.inputPaths(path))
    let (folder, precision) = try communicator.agree { () throws(Failure) in
      let folder = try ModelFolder(path, files: files)
      if let maxLength, maxLength > folder.configuration.maximumPositions {
        throw Failure(
          .usage, at: "--max-length",
          "\(maxLength), expected at most the model's \(folder.configuration.maximumPositions) (\"max_position_embeddings\")"
        )
      }
      // As exact as fp32 unless asked otherwise: what is printed are the numbers themselves.
      return (folder, try self.precision.precision(settings, standard: .highest))
    }
    try communicator.requireSame(
      [
        ("config.json", String(folder.configurationFingerprint, radix: 16)),
        ("vocabulary", String(folder.tokenizer.fingerprint, radix: 16)),
      ], hint: "give every rank the same options")
    for warning in folder.tokenizer.warnings where communicator.isMain {
      note("\(CacheOrigin.shown(path)): \(warning)", program)
    }
    return try Predictor(
      folder, precision: precision, batchSize: batchSize, maxLength: maxLength, settings: settings, communicator)
  }
}

/// Writes a line to standard error.
func note(_ text: String, _ program: String) {
  try? writeAll(
    Array("\(program): note: \(text)".escapingControlCharacters.utf8) + [UInt8(ascii: "\n")], to: 2,
    at: "standard error")
}

/// Says once how many rows were cut.
func noteCut(_ count: Int, of rows: Int, _ predictor: Predictor, _ program: String) {
  guard count > 0 else { return }
  note(
    "\(count) of \(rows) row\(rows == 1 ? "" : "s") had more than \(predictor.maxLength) tokens and \(count == 1 ? "was" : "were") cut",
    program)
}
