import ArgumentParser
import Datasets
import ProgramSupport

/// The options that name rows of a task of GLUE's.
struct TaskOptions: ParsableArguments {
  @Option(
    name: bothSpellings("task", "task-name"),
    help: "Rows of a task of GLUE's: \(GLUETask.all.map(\.name).joined(separator: ", ")).")
  var task: String?

  @Option(help: ArgumentHelp("The folder of the task's tables.", valueName: "dir"))
  var data: String?

  @Option(help: "The task's rows: train, validation, test and so on. (default: validation)")
  var split: Split?
}
