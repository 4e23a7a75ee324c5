import Datasets
import System
import Training

/// What a model's outputs mean: its config.json's `problem_type` and `id2label`.
public struct ModelLabels: Sendable, Equatable {
  public var problem: ProblemType
  /// The classes in the order of the outputs; empty for a regression.
  public var names: [String]

  public init(_ problem: ProblemType, names: [String]) {
    self.problem = problem
    self.names = names
  }

  public init(_ folder: ModelFolder) throws(Failure) {
    let outputs = folder.configuration.labels
    problem = try folder.problemType() ?? (outputs == 1 ? .regression : .singleLabel)
    if problem == .regression && outputs != 1 {
      throw Failure(
        .configuration, at: "\(folder.path)/config.json",
        "a regression of \(outputs) scores a row is not supported, expected one")
    }
    guard problem != .regression else {
      names = []
      return
    }
    let found = try folder.labelNames()
    names = found.count == outputs ? found : (0..<outputs).map { "LABEL_\($0)" }
  }

  /// The same as a table's labels.
  public var taskLabels: TaskLabels {
    switch problem {
    case .singleLabel: .classes(names)
    case .multiLabel: .classSets(names)
    case .regression: .scores(-.greatestFiniteMagnitude ... .greatestFiniteMagnitude)
    }
  }

  /// Whether the names say nothing: those that transformers gives classes without a name.
  public var areUnnamed: Bool { names.enumerated().allSatisfy { $1 == "LABEL_\($0)" } }
}
