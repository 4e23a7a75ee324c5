import ArgumentParser
import Batches
import Datasets
import ProgramSupport
import System
import Tokenization
import Training

/// `inspect batches`: the first batches of every rank, by keys and shapes.
struct BatchesCommand: Inspection {
  static let configuration = CommandConfiguration(
    commandName: "batches", abstract: "Prints keys and shapes of each rank's first batches.")

  @Option(
    help: ArgumentHelp(
      "The checkpoint's folder, with the tokenizer's files; under ./launch a name on the hub, too.",
      valueName: "dir|name"))
  var model: String

  @OptionGroup var revision: RevisionOption

  @Option(help: "The task.")
  var task = GLUETask.mrpc.name

  @Option(help: ArgumentHelp("The folder of the task's tables. (./launch fetches those of --task)", valueName: "dir"))
  var data: String

  @Option(help: "The split: train, validation or test.")
  var split = Split.train

  @Option(name: bothSpellings("max-length"), help: "The most tokens of a row, special ones included.")
  var maxLength = 512

  @Option(help: "How many steps to show.")
  var steps = 3

  @OptionGroup var sharding: ShardOptions

  func run(_ settings: RankSettings) throws {
    try revision.check()
    try check(steps, "--steps", Limits.steps)
    let task = try GLUETask.named(task)
    let pairs = try loadSplit(task, folder: data, split: split)
    let plan = try sharding.plan(datasetSize: pairs.count, steps: steps)
    let dataset = try TokenizedDataset(pairs, tokenizer: BertTokenizer(folder: model), maxLength: maxLength)
    let order = sharding.order(count: dataset.count)

    var output = JSONOutput()
    let batch = PackedBatch()
    output.raw("{\"task\":")
    output.string(task.name)
    output.raw(",\"split\":")
    output.string(split.rawValue)
    output.raw(",\"rows\":")
    output.number(dataset.count)
    output.raw(",\"steps\":")
    output.number(plan.steps)
    output.raw(",\"ranks\":")
    output.list(0..<plan.ranks) { output, rank in
      output.raw("{\"rank\":")
      output.number(rank)
      output.raw(",\"batches\":")
      output.list(0..<min(steps, plan.steps)) { output, step in
        batch.fill(from: dataset, rows: plan.batch(step: step, rank: rank, order: order))
        write(batch, step: step, to: &output)
      }
      output.raw("}")
    }
    output.raw("}\n")
    try output.flush()
  }

  private func write(_ batch: PackedBatch, step: Int, to output: inout JSONOutput) {
    let rectangle = [batch.sequences, batch.longestRow]
    output.raw("{\"step\":")
    output.number(step)
    output.raw(",\"rows\":")
    output.numbers(UnsafeBufferPointer(start: batch.rows, count: batch.sequences))
    output.raw(",\"tokens\":")
    output.number(batch.tokens)
    output.raw(",\"shapes\":{\"input_ids\":")
    output.numbers(rectangle)
    output.raw(",\"token_type_ids\":")
    output.numbers(rectangle)
    output.raw(",\"attention_mask\":")
    output.numbers(rectangle)
    output.raw(",\"labels\":")
    output.numbers([batch.sequences])
    output.raw("}}")
  }
}
