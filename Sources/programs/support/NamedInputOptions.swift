import ArgumentParser
import System

/// The option that says which state of a model on the hub is meant. `./launch` puts a folder in its place before ranks
/// start, so a program that gets it was started without `./launch`.
public struct RevisionOption: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The branch, tag or commit of --model, where that is a name on the hub. For ./launch, which fetches it. (default: main)",
      valueName: "revision"))
  public var revision: String?

  public init() {}

  public func check() throws(Failure) { try refuse("--revision", revision) }
}

/// The options that name what lies on the hub; see ``RevisionOption``.
public struct NamedInputOptions: ParsableArguments {
  @OptionGroup public var revision: RevisionOption

  @Option(
    name: bothSpellings("dataset", "dataset-name"),
    help: ArgumentHelp(
      "A data set on the hub with its rows as .tsv, .csv or .jsonl. For ./launch, which fetches it.", valueName: "name")
  )
  public var dataset: String?

  @Option(
    name: bothSpellings("dataset-config", "dataset-config-name"),
    help: ArgumentHelp("The folder of --dataset's part, where it has several.", valueName: "folder"))
  public var datasetConfig: String?

  public init() {}

  public func check() throws(Failure) {
    try revision.check()
    try refuse("--dataset", dataset)
    try refuse("--dataset-config", datasetConfig)
  }
}

private func refuse(_ option: String, _ value: String?) throws(Failure) {
  guard value != nil else { return }
  throw Failure(
    .usage, at: option, "is for ./launch, which looks names up on the hub", hint: "start the program through ./launch")
}
