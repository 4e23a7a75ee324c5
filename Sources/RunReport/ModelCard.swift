import JSON
import Reporting
import System
import Training

/// The README.md of a saved model, as the Hugging Face hub reads it: metadata in YAML, then text.
///
/// The keys are those of huggingface.co/docs/hub/model-cards, the results those of its model-index.
public struct ModelCard: Sendable {
  /// By which a later run knows that nobody has written the page by hand.
  public static let mark = "<!-- Written by Lockstep. A later run keeps this page if this line is gone. -->"

  public var name: String
  /// The name on the hub of the model that training began with; nil where it has none.
  public var baseModel: String?
  /// The data set's name on the hub, and the part of it; nil for tables of the user's own.
  public var dataset: (type: String, configuration: String, name: String, language: String)?
  /// What the data is called in text.
  public var data: String
  public var metrics: [MetricValue]
  public var settings: [RunRecord.Setting]
  /// A model of scores or classes.
  public var isRegression: Bool

  public init(
    name: String, baseModel: String?, dataset: (type: String, configuration: String, name: String, language: String)?,
    data: String, metrics: [MetricValue], settings: [RunRecord.Setting], isRegression: Bool
  ) {
    self.name = name
    self.baseModel = baseModel
    self.dataset = dataset
    self.data = data
    self.metrics = metrics
    self.settings = settings
    self.isRegression = isRegression
  }

  public var text: String { "---\n\(metadata)---\n\(Self.mark)\n\n\(page)" }

  private var metadata: String {
    let known = metrics.filter(\.value.isFinite)
    var lines: [String] = []
    if let dataset { lines.append("language: \(yaml(dataset.language))") }
    lines += ["library_name: transformers", "pipeline_tag: text-classification"]
    if let baseModel { lines.append("base_model: \(yaml(baseModel))") }
    if let dataset { lines += ["datasets:", "- \(yaml(dataset.type))"] }
    if !known.isEmpty { lines += ["metrics:"] + known.map { "- \(yaml($0.name))" } }
    if let dataset, !known.isEmpty {
      lines += [
        "model-index:", "- name: \(yaml(name))", "  results:", "  - task:", "      type: text-classification",
        "      name: Text Classification", "    dataset:", "      name: \(yaml(dataset.name))",
        "      type: \(yaml(dataset.type))", "      config: \(yaml(dataset.configuration))",
        "      split: validation", "    metrics:",
      ]
      for value in known { lines += ["    - type: \(yaml(value.name))", "      value: \(value.value)"] }
    }
    return lines.map { $0 + "\n" }.joined()
  }

  private var page: String {
    let start = baseModel.map { "`\(plain($0))`" } ?? "fresh weights"
    let results = metrics.map { "| \(plain($0.name)) | \(Chart.number($0.value)) |\n" }.joined()
    let values = settings.map { "| \(plain($0.name)) | \(plain($0.value)) |\n" }.joined()
    return """
      # \(plain(name))

      \(isRegression ? "Gives texts a score" : "Classifies texts"). Fine-tuned from \(start) with Lockstep.

      ## Data

      \(plain(data))

      ## Results

      On the validation rows, after the last epoch:

      | figure | value |
      |---|---|
      \(results)
      ## Training

      | | |
      |---|---|
      \(values)
      `report.html` beside this page has the curves.

      """
  }

  /// A text as a YAML value: JSON's strings are YAML's, too.
  private func yaml(_ text: String) -> String {
    var bytes: [UInt8] = []
    JSONText.append(quoted: text.utf8, to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  /// A text that Markdown and its tables take as it is.
  private func plain(_ text: String) -> String {
    var result = ""
    for character in text.escapingControlCharacters.unicodeScalars {
      if "\\`*_{}[]<>|#".unicodeScalars.contains(character) { result += "\\" }
      result.unicodeScalars.append(character)
    }
    return result
  }

  /// The name on the hub of what is in the folder `path`, as its cache or config.json tells; nil where nothing does.
  public static func hubName(ofFolder path: String, nameInConfiguration: String?) -> String? {
    if let part = realPath(path).split(separator: "/").last(where: { $0.hasPrefix("models--") }) {
      return String(part.dropFirst("models--".count)).replacing("--", with: "/")
    }
    guard let name = nameInConfiguration, !name.isEmpty, !exists(name) else { return nil }
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    let isName =
      parts.count <= 2
      && parts.allSatisfy { part in
        !part.isEmpty && part.first != "."
          && part.utf8.allSatisfy { $0 == 0x2D || $0 == 0x2E || $0 == 0x5F || isAlphanumeric($0) }
      }
    return isName ? name : nil
  }

  private static func isAlphanumeric(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
  }
}
