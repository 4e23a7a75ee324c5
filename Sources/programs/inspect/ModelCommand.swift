import ArgumentParser
import BERT
import ProgramSupport
import System
import Training

/// `inspect model`: the parameter table.
struct ModelCommand: Inspection {
  static let configuration = CommandConfiguration(
    commandName: "model", abstract: "Prints the model's parameters: name, shape, elements, place in the flat buffer.")

  @Option(
    help: ArgumentHelp(
      "The checkpoint's folder; under ./launch a name on the hub, too.", valueName: "dir|name"))
  var model: String

  @OptionGroup var revision: RevisionOption

  func run(_ settings: RankSettings) throws {
    try revision.check()
    let configuration = try BertConfiguration(
      json: readBytes("\(model)/config.json", limitBytes: 1 << 24), path: "\(model)/config.json")
    let layout = ParameterLayout(configuration)
    var output = JSONOutput()
    output.raw("{\"parameters\":")
    output.number(layout.count)
    output.raw(",\"tensors\":")
    output.list(layout.slots) { output, slot in
      output.raw("\n{\"name\":")
      output.string(slot.name)
      output.raw(",\"shape\":")
      output.numbers(slot.shape)
      output.raw(",\"count\":")
      output.number(slot.count)
      output.raw(",\"offset\":")
      output.number(slot.offset)
      output.raw("}")
    }
    output.raw("}\n")
    try output.flush()
  }
}
