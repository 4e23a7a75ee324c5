import ArgumentParser
import Glibc
import Hub
import JSON
import Launcher
import System

/// Looks at the cache of models and data.
struct CacheCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cache", abstract: "List or verify the models and data in the Hugging Face cache.",
    subcommands: [ListCommand.self, VerifyCommand.self])

  struct Options: ParsableArguments {
    @Argument(help: ArgumentHelp("Only these, by their names on the hub. (default: all)", valueName: "name"))
    var names: [String] = []

    @Flag(help: "Print JSON.") var json = false

    func repositories(_ machine: Machine) throws(Failure) -> (cache: HubCache, found: [CachedRepository]) {
      let cache = HubCache(try HubSettings { machine.environment[$0] }.cache)
      let all = cache.repositories()
      for name in names where !all.contains(where: { $0.id == name }) {
        throw Failure(
          .missingInput, at: name, "is not in \(cache.path)", hint: "./launch cache list shows what is")
      }
      return (cache, all.filter { names.isEmpty || names.contains($0.id) })
    }
  }

  struct ListCommand: MachineCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List what is in the cache.")
    @OptionGroup var options: Options

    func run(on machine: Machine) throws {
      let (cache, found) = try options.repositories(machine)
      if options.json {
        let rows = found.map { CacheCommand.json($0, problems: nil) }
        return try put(text(.object([("cache", .string(cache.path)), ("repositories", .array(rows))])), terminator: "")
      }
      guard !found.isEmpty else { return try put("nothing is in \(cache.path)") }
      let width = max(4, found.map(\.id.count).max() ?? 0) + 2
      try put("KIND     " + padded("NAME", width) + "FILES   MEGABYTES  REVISIONS")
      for repository in found {
        let tenths = (repository.byteCount + 50_000) / 100_000
        let refs = repository.refs.map { "\($0.name) \($0.commit.prefix(7))" }
        let others = repository.commits.filter { commit in !repository.refs.contains { $0.commit == commit } }
        let revisions = (refs + others.map { String($0.prefix(7)) }).joined(separator: ", ")
        let rest = repository.incomplete.isEmpty ? "" : "  (\(counted(repository.incomplete.count, "file")) not whole)"
        try put(
          padded(repository.kind, 9) + padded(repository.id, width) + padded("\(repository.blobs.count)", 8)
            + padded("\(tenths / 10).\(tenths % 10)", 11) + revisions + rest)
      }
    }
  }

  struct VerifyCommand: MachineCommand {
    static let configuration = CommandConfiguration(
      commandName: "verify", abstract: "Read every file and compare it with the hash that its name says.",
      discussion: "Ends with 65 where one is damaged.")
    @OptionGroup var options: Options

    @Flag(help: "Remove damaged files, so that they are fetched again.") var remove = false

    func run(on machine: Machine) throws {
      let (cache, found) = try options.repositories(machine)
      var rows: [JSONText] = []
      var bad = 0
      for repository in found {
        let problems = cache.problems(of: repository, removes: remove)
        bad += problems.isEmpty ? 0 : 1
        if options.json {
          rows.append(CacheCommand.json(repository, problems: problems))
        } else {
          try put(
            "\(repository.id): " + (problems.isEmpty ? "good, \(counted(repository.blobs.count, "file"))" : "damaged"))
          for problem in problems { try put("  \(problem)") }
        }
      }
      if options.json {
        try put(text(.object([("cache", .string(cache.path)), ("repositories", .array(rows))])), terminator: "")
      }
      guard bad == 0 else {
        throw Failure(
          .badData, at: cache.path, "\(bad) of \(found.count) are damaged",
          hint: remove
            ? "start again what needs them: they are fetched anew" : "cache verify --remove removes what is wrong")
      }
    }
  }

  private static func json(_ repository: CachedRepository, problems: [String]?) -> JSONText {
    var members: [(key: String, value: JSONText)] = [
      ("kind", .string(repository.kind)), ("name", .string(repository.id)), ("path", .string(repository.path)),
      ("bytes", .int(repository.byteCount)), ("files", .int(repository.blobs.count)),
      ("revisions", .object(repository.refs.map { ($0.name, .string($0.commit)) })),
      ("commits", .array(repository.commits.map { .string($0) })),
      ("incomplete", .array(repository.incomplete.map { .string($0) })),
    ]
    if let problems { members.append(("problems", .array(problems.map { .string($0) }))) }
    return .object(members)
  }
}

private func text(_ json: JSONText) -> String { String(decoding: json.bytes, as: UTF8.self) }

private func padded(_ text: String, _ width: Int) -> String {
  text + String(repeating: " ", count: max(1, width - text.count))
}
