import ArgumentParser
import Datasets
import Hub
import Launcher
import System

/// Fetches a model into the cache, and starts nothing.
struct DownloadCommand: MachineCommand {
  static let configuration = CommandConfiguration(
    commandName: "download",
    abstract: "Fetch a model, or a data set, from the Hugging Face hub into its cache.",
    discussion: "Prints the folder with its files. What is there already is not fetched again.")

  @Argument(help: ArgumentHelp("The name on the hub, with a branch, tag or commit.", valueName: "name[@revision]"))
  var name: String

  @Option(help: "A branch, a tag or a commit. (default: main)")
  var revision: String?

  @Flag(help: "NAME is a data set, with its rows as TSV, CSV or JSON lines.")
  var dataset = false

  @Option(name: names("dataset_config"), help: "The folder of the data set's part, where it has several.")
  var datasetConfig: String?

  func run(on machine: Machine) throws {
    if datasetConfig != nil && !dataset { throw Failure(.usage, at: "--dataset-config", "needs --dataset") }
    let client = HubClient(try HubSettings { machine.environment[$0] }, say: say)
    let name = try HubName(dataset ? .dataset : .model, name, revision: revision)
    if dataset {
      return try put(client.dataset(name, configuration: datasetConfig).snapshot.path)
    }
    let snapshot = try client.model(name) { (bytes, path) throws(Failure) in
      try ModelKind.check(bytes, path: path, name: name.repo.id)
    }
    try put(snapshot.path)
  }
}
