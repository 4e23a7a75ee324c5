import System

/// Options of transformers' `run_glue_no_trainer.py` that this program does not have: refused by name, with the reason.
enum RefusedOptions {
  private static let reasons: [String: String] = [
    "pad_to_max_length": "rows are packed without padding; without this option the numbers are those of padded rows",
    "use_slow_tokenizer": "there is one tokenizer, whose ids are those of the slow and the fast one",
    "with_tracking": "--report-to says which logs to write, and --metrics writes every step as JSON lines",
    "push_to_hub": "nothing is uploaded; --output-dir saves a folder that can be",
    "hub_model_id": "nothing is uploaded; --output-dir saves a folder that can be",
    "hub_token": "nothing is uploaded, and a token does not belong on a command line",
    "trust_remote_code": "code of a checkpoint is never run",
  ]

  /// Throws `.usage` for the first of `arguments` that is such an option.
  static func check(_ arguments: [String]) throws(Failure) {
    for argument in arguments.prefix(while: { $0 != "--" }) where argument.hasPrefix("--") {
      let name = argument.prefix { $0 != "=" }
      let bare = String(name.dropFirst(2).map { $0 == "-" ? "_" : $0 })
      if let reason = reasons[bare] { throw Failure(.usage, at: String(name), "is refused: \(reason)") }
    }
  }
}
