import Datasets
import Hub
import JSON
import Launcher
import System

/// Turns names of models, tasks and data sets in a program's arguments into local folders, before ranks start: ranks have
/// no network code.
final class NamedInputs {
  private let environment: Environment
  /// Whether nothing is fetched and a name that is not cached stays one.
  private let isDry: Bool
  private let say: (String) -> Void
  private var known: HubClient?

  init(_ environment: Environment, isDry: Bool = false, say: @escaping (String) -> Void) {
    self.environment = environment
    self.isDry = isDry
    self.say = say
  }

  /// Made for the first name: folders need no cache, and no HOME to have it in.
  private func client() throws(Failure) -> HubClient {
    if let known { return known }
    var settings = try HubSettings { environment[$0] }
    settings.isOffline = settings.isOffline || isDry
    let new = HubClient(settings, say: say)
    known = new
    return new
  }

  /// A program, or one of its commands, whose arguments name models and tasks.
  private struct Rule {
    /// Options that name the model.
    var models = ["--model"]
    /// Options that name others.
    var others: [String] = []
    /// Where the model is a word of its own: the first after so many words that is no option, and options without a value.
    var plain: (from: Int, flags: [String])?
    /// Whether `--task` without `--data` stands for GLUE's own tables.
    var takesTask = true
    /// Whether `--dataset` names tables.
    var takesDataset = false
    /// Whether config.json and the tokenizer's files are enough.
    var isBare = false
  }

  private static let bothModels = ["--model", "--model-name-or-path"]

  /// Nil for what names nothing.
  private static func rule(_ program: String, _ words: GivenArguments) -> Rule? {
    switch (program, words.word(0)) {
    case ("finetune", _):
      Rule(models: bothModels, takesDataset: true, isBare: words.value(["--init"]) == "random")
    case ("predict", _): Rule(models: bothModels)
    case ("evaluate", _): Rule(models: bothModels, others: ["--against"])
    case ("inspect", "tokens"), ("inspect", "model"): Rule(takesTask: false, isBare: true)
    case ("inspect", "batches"), ("bench", "step"), ("bench", "checkpoint"), ("bench", "predict"): Rule(isBare: true)
    case ("inspect", "forward"), ("bench", "load"): Rule()
    case ("selftest", "memory"):
      Rule(models: [], plain: (from: 1, flags: ["--measure", "--json"]), isBare: true)
    default: nil
    }
  }

  /// Whether the program `name` with these arguments names something that may have to be found.
  static func areIn(_ name: String, _ arguments: [[UInt8]]) -> Bool {
    let words = GivenArguments(arguments)
    guard let rule = rule(name, words) else { return false }
    return !words.has(["--help", "-h"])
      && (rule.plain != nil
        || words.has(
          rule.models + rule.others + ["--task", "--task-name", "--dataset", "--dataset-name", "--revision"]))
  }

  /// The command, PROGRAM first, with paths for names; and the same arguments as bytes, for file names need not be UTF-8.
  ///
  /// - Parameter verbatim: the arguments behind PROGRAM as they were given.
  static func resolve(
    _ command: [String], verbatim: [[UInt8]], _ environment: Environment, isDry: Bool = false,
    say: @escaping (String) -> Void
  ) throws(Failure) -> (command: [String], verbatim: [[UInt8]]) {
    guard let program = command.first, areIn(program, verbatim) else { return (command, verbatim) }
    let words = try NamedInputs(environment, isDry: isDry, say: say).resolved(program, verbatim)
    return ([program] + words.map { String(decoding: $0, as: UTF8.self) }, words)
  }

  /// The arguments of the program `name` with paths for names.
  func resolved(_ name: String, _ arguments: [[UInt8]]) throws(Failure) -> [[UInt8]] {
    let words = GivenArguments(arguments)
    guard let rule = Self.rule(name, words) else { return arguments }
    do throws(Failure) { return try found(rule, words) } catch {
      // The command is shown with the names, as it would start once they are fetched.
      guard isDry, error.status == .missingInput else { throw error }
      return arguments
    }
  }

  private func found(_ rule: Rule, _ given: GivenArguments) throws(Failure) -> [[UInt8]] {
    var words = given
    let revision = words.take(["--revision"])
    let task = try task(rule, words)
    let dataset = rule.takesDataset ? words.take(["--dataset", "--dataset-name"]) : nil
    let part = rule.takesDataset ? words.take(["--dataset-config", "--dataset-config-name"]) : nil
    try check(words, dataset: dataset, part: part)
    var usesRevision = false
    for option in rule.models + rule.others {
      let isOther = rule.others.contains(option)
      guard let text = words.value([option]) else { continue }
      guard (task == nil && dataset == nil) || text.isEmpty || exists(text) || Self.looksLikeName(text) else {
        // Before tables are fetched in vain.
        throw Failure(
          .missingInput, at: text, "there is no such folder",
          hint: "expected a checkpoint folder, or a name on the hub: ORGANIZATION/NAME")
      }
      guard let path = try folder(of: text, revision: isOther ? nil : revision, isBare: rule.isBare) else { continue }
      usesRevision = usesRevision || !isOther
      words.replace(option, by: path)
    }
    if let plain = rule.plain, let index = words.plainWord(from: plain.from, flags: plain.flags),
      let text = words.word(index), let path = try folder(of: text, revision: revision, isBare: rule.isBare)
    {
      usesRevision = true
      words.replace(wordAt: index, by: path)
    }
    if revision != nil && !usesRevision {
      throw Failure(
        .usage, at: "--revision", "is for a name on the hub, and no model is named so",
        hint: "a folder is taken as it is")
    }
    if let task { words.append("--data", try glue(task)) }
    if let dataset {
      let tables = try client().dataset(HubName(.dataset, dataset), configuration: part)
      words.append("--train-file", tables.train)
      words.append("--validation-file", tables.validation)
      if let test = tables.test, words.has(["--predictions"]), !words.has(["--test-file"]) {
        words.append("--test-file", test)
      }
    }
    return words.bytes
  }

  /// The folder of the model that `text` names; nil for a path, also for one that is wrong, which the program says.
  private func folder(of text: String, revision: String?, isBare: Bool) throws(Failure) -> String? {
    guard !text.isEmpty, !exists(text), Self.looksLikeName(text) else { return nil }
    let name = try HubName(.model, text, revision: revision)
    return try client().model(name, withWeights: !isBare) { (bytes, path) throws(Failure) in
      try ModelKind.check(bytes, path: path, name: name.repo.id)
    }.path
  }

  /// The task whose tables have to be found; nil where the user has them.
  private func task(_ rule: Rule, _ words: GivenArguments) throws(Failure) -> GLUETask? {
    guard rule.takesTask, let name = words.value(["--task", "--task-name"]),
      rule.plain != nil || words.has(rule.models),
      !words.has(["--data", "--train-file", "--test-file", "--dataset", "--dataset-name"])
    else { return nil }
    do throws(Failure) { return try GLUETask.named(name) } catch {
      throw Failure(error.status, at: "--task", error.message, hint: error.hint)
    }
  }

  private func check(_ words: GivenArguments, dataset: String?, part: String?) throws(Failure) {
    if dataset == nil, part != nil { throw Failure(.usage, at: "--dataset-config", "needs --dataset") }
    guard dataset != nil else { return }
    if !words.has(Self.bothModels) { throw Failure(.usage, at: "--dataset", "needs --model") }
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
    let client = try client()
    return try client.glue(source) { (folder) throws(Failure) in
      let place = CacheOrigin(path: folder)?.id ?? folder
      for split in task.splits {
        let count = try loadSplit(task, folder: folder, split: split).count
        guard let expected = task.officialRowCounts[split], count != expected else { continue }
        let text = "\(split.rawValue) has \(counted(count, "row")), GLUE's own has \(expected)"
        guard !client.settings.checksGLUE else {
          throw Failure(
            .badData, at: place, text, hint: "the source has changed; give --data a folder with GLUE's tables")
        }
        say("note: \(place): \(text)")
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
