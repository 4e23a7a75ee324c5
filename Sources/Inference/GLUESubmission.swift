import Datasets
import System
import Training

/// What GLUE's server takes: a file for each test split of a task, with a row's number and what the model says.
public enum GLUESubmission {
  /// The name of the file for a split, as the server expects it in the archive that is uploaded.
  public static func fileName(_ task: GLUETask, _ split: Split) -> String {
    let names = [
      "cola": "CoLA", "sst2": "SST-2", "mrpc": "MRPC", "qqp": "QQP", "stsb": "STS-B", "qnli": "QNLI", "rte": "RTE",
      "wnli": "WNLI", "ax": "AX",
    ]
    if task.name == "mnli" { return split == .testMismatched ? "MNLI-mm.tsv" : "MNLI-m.tsv" }
    return "\(names[task.name] ?? task.name).tsv"
  }

  private static let header = "index\tprediction\n"

  /// The file's text.
  ///
  /// - Parameters:
  ///   - logits: `[rows, outputs]`.
  ///   - outputs: the model's output for each class of the task; empty for scores.
  public static func text(_ task: GLUETask, logits: [Float], outputs: [Int]) -> String {
    var text = header
    let width = max(1, outputs.count)
    for row in 0..<logits.count / width {
      let own = logits[row * width..<(row + 1) * width]
      text += "\(row)\t\(prediction(task, Array(own), outputs))\n"
    }
    return text
  }

  private static func prediction(_ task: GLUETask, _ logits: [Float], _ outputs: [Int]) -> String {
    switch task.labels {
    // The server refuses scores off the scale.
    case .scores(let range): return "\(min(max(logits[0], range.lowerBound), range.upperBound))"
    case .classes(let names), .classSets(let names):
      var best = 0
      for index in names.indices where logits[outputs[index]] > logits[outputs[best]] { best = index }
      return names[best]
    }
  }

  /// Refuses a path where something else is than an earlier file of this kind.
  public static func check(_ path: String, option: String, notIn folders: [(option: String, path: String?)])
    throws(Failure)
  {
    try ReportFile.check(path, option: option, notIn: folders) { path in
      (try? readStart(path, limitBytes: header.utf8.count)).map { $0.elementsEqual(header.utf8) } ?? false
    }
  }
}
