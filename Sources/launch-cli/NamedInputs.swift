import Datasets
import Hub
import JSON
import Launcher
import System

/// Turns names of models, tasks and data sets in a program's arguments into local folders, before ranks start: ranks have
/// no network code.
struct NamedInputs {
  private let client: HubClient
  /// Whether nothing is fetched and a name that is not cached stays one.
  private let isDry: Bool
  private let say: (String) -> Void

  init(_ environment: Environment, isDry: Bool = false, say: @escaping (String) -> Void) throws(Failure) {
    var settings = try HubSettings { environment[$0] }
    settings.isOffline = settings.isOffline || isDry
    client = HubClient(settings, say: say)
    self.isDry = isDry
    self.say = say
  }

  private static let models = ["--model", "--model-name-or-path"]

  /// Options of each program that name a model.
  private static let modelOptions = [
    "finetune": models, "predict": models, "evaluate": models + ["--against"],
  ]

  /// Whether the program `name` with these arguments names something that may have to be found.
  static func areIn(_ name: String, _ arguments: [[UInt8]]) -> Bool {
    guard modelOptions[name] != nil else { return false }
    let words = GivenArguments(arguments)
    return !words.has(["--help", "-h"])
      && words.has(models + ["--against", "--task", "--task-name", "--dataset", "--dataset-name", "--revision"])
  }

  /// The arguments of the program `name` with paths for names.
  func resolved(_ name: String, _ arguments: [[UInt8]]) throws(Failure) -> [[UInt8]] {
    do throws(Failure) { return try found(name, GivenArguments(arguments)) } catch {
      // The command is shown with the names, as it would start once they are fetched.
      guard isDry, error.status == .missingInput else { throw error }
      return arguments
    }
  }

  private func found(_ program: String, _ given: GivenArguments) throws(Failure) -> [[UInt8]] {
    var words = given
    let revision = words.take(["--revision"])
    let task = try task(program, words)
    let dataset = program == "finetune" ? words.take(["--dataset", "--dataset-name"]) : nil
    let part = program == "finetune" ? words.take(["--dataset-config", "--dataset-config-name"]) : nil
    try check(words, dataset: dataset, part: part)
    var usesRevision = false
    for option in Self.modelOptions[program] ?? [] {
      guard let text = words.value([option]), !text.isEmpty, !exists(text) else { continue }
      // Of what cannot be a name, the program says that there is no such folder.
      let isOther = option == "--against"
      guard Self.looksLikeName(text) else { continue }
      let name = try HubName(.model, text, revision: isOther ? nil : revision)
      usesRevision = usesRevision || !isOther
      let isBare = program == "finetune" && words.value(["--init"]) == "random"
      let snapshot = try client.model(name, withWeights: !isBare) { (bytes, path) throws(Failure) in
        try ModelKind.check(bytes, path: path, name: name.repo.id)
      }
      words.replace(option, by: snapshot.path)
    }
    if revision != nil && !usesRevision {
      throw Failure(
        .usage, at: "--revision", "is for a name on the hub, and --model names none",
        hint: "a folder is taken as it is")
    }
    if let task { words.append("--data", try glue(task)) }
    if let dataset {
      let tables = try client.dataset(HubName(.dataset, dataset), configuration: part)
      words.append("--train-file", tables.train)
      words.append("--validation-file", tables.validation)
      if let test = tables.test, words.has(["--predictions"]), !words.has(["--test-file"]) {
        words.append("--test-file", test)
      }
    }
    return words.bytes
  }

  /// The task whose tables have to be found; nil where the user has them.
  private func task(_ program: String, _ words: GivenArguments) throws(Failure) -> GLUETask? {
    guard let name = words.value(["--task", "--task-name"]), words.has(Self.models),
      !words.has(["--data", "--train-file", "--test-file", "--dataset", "--dataset-name"])
    else { return nil }
    do throws(Failure) { return try GLUETask.named(name) } catch {
      throw Failure(error.status, at: "--task", error.message, hint: error.hint)
    }
  }

  private func check(_ words: GivenArguments, dataset: String?, part: String?) throws(Failure) {
    if dataset == nil, part != nil { throw Failure(.usage, at: "--dataset-config", "needs --dataset") }
    guard dataset != nil else { return }
    if !words.has(Self.models) { throw Failure(.usage, at: "--dataset", "needs --model") }
    for option in ["--data", "--task", "--train-file", "--validation-file"] where words.has([option]) {
      throw Failure(.usage, at: option, "is given with --dataset, expected one of them")
    }
  }

  /// Whether a path that is not there may be meant as a name: at most one slash, and not one that begins or ends it.
  static func looksLikeName(_ text: String) -> Bool {
    let name = text.prefix { $0 != "@" }
    return HubRepo(.model, id: String(name)) != nil
  }

  /// The folder of a task's tables, whose rows are counted when they are fetched.
  private func glue(_ task: GLUETask) throws(Failure) -> String {
    guard let source = GLUESource.all.first(where: { $0.task == task.name }) else {
      throw Failure(.usage, at: "--task", "no source of \(task.name) is known, expected --data")
    }
    return try client.glue(source) { (folder) throws(Failure) in
      for split in task.splits {
        let count = try loadSplit(task, folder: folder, split: split).count
        guard let expected = task.officialRowCounts[split], count != expected else { continue }
        let text = "\(split.rawValue) has \(counted(count, "row")), GLUE's own has \(expected)"
        guard !client.settings.checksGLUE else {
          throw Failure(
            .badData, at: "\(client.settings.glueEndpoint), \(task.name)", text,
            hint: "the source has changed; give --data a folder with GLUE's tables")
        }
        say("note: \(task.name) from \(client.settings.glueEndpoint): \(text)")
      }
    }
  }
}

/// Refuses models that the programs cannot train or ask.
enum ModelKind {
  /// - Throws: `.configuration` with the place in config.json.
  static func check(_ bytes: [UInt8], path: String, name: String) throws(Failure) {
    let root = try JSONDocument(bytes, path: path).root
    guard let type = try root.member("model_type") else { return }
    let text = try type.string()
    guard !ModelFiles.knownTypes.contains(text) else { return }
    throw Failure(
      .configuration, at: name,
      "is a model of the kind \"\(text)\" (\"model_type\" in its config.json), expected "
        + ModelFiles.knownTypes.map { "\"\($0)\"" }.joined(separator: " or "),
      hint: "nothing else of it was fetched; name a model of one of these kinds")
  }
}
