import Datasets
import System
import Training

extension ModelLabels {
  /// For each class of `task` the output of the model that stands for it.
  ///
  /// - Throws: `.badData` where the model has other classes.
  public func outputs(for task: GLUETask, model: String) throws(Failure) -> [Int] {
    let place = "\(model)/config.json"
    guard problem == task.labels.problem else {
      throw Failure(
        .badData, at: place,
        "the model is for \(problem.rawValue), the task \(task.name) is \(task.labels.problem.rawValue)",
        hint: "ask it about rows of its own task")
    }
    guard problem == .singleLabel else { return [] }
    let wanted = task.labelNames
    guard names.count == wanted.count else {
      throw Failure(
        .badData, at: place,
        "the model has \(names.count) classes (\(shown(names))), the task \(task.name) has \(wanted.count) (\(shown(wanted)))",
        hint: "ask it about rows of its own task")
    }
    if areUnnamed || names == wanted { return Array(wanted.indices) }
    let found = wanted.compactMap { name in names.firstIndex { $0.utf8.elementsEqual(name.utf8) } }
    guard found.count == wanted.count else {
      throw Failure(
        .badData, at: place, "the model's classes are \(shown(names)), those of \(task.name) are \(shown(wanted))",
        hint: "give the classes' right names in id2label of config.json, or use the task that the model was trained on")
    }
    return found
  }

  /// What the label column of a table may say: the classes' names, or their numbers where they have none.
  public var tableNames: [String]? {
    guard problem != .regression else { return nil }
    return areUnnamed ? names.indices.map { "\($0)" } : names
  }

  private func shown(_ names: [String]) -> String {
    names.prefix(6).joined(separator: ", ") + (names.count > 6 ? ", …" : "")
  }
}
