import FoundationEssentials
import Glibc
import System

/// Where reference values lie.
package enum Golden {
  /// The folder of the small goldens, which `make_goldens.py` makes.
  package static var folder: String { "\(testsFolder)/Golden" }

  package static var testsFolder: String { parent(of: parent(of: parent(of: #filePath))) }

  /// The folder with golden/ and data/ that is too large, or not free, to be checked in; nil where it is not there.
  package static var reference: String? { variable("LOCKSTEP_REFERENCE") }

  /// A file or folder of the reference's; a test asks for it with `.needs(.reference)`.
  package static func inReference(_ path: String) throws -> String {
    guard let reference else { throw Failure(.missingInput, "LOCKSTEP_REFERENCE is not set") }
    return "\(reference)/\(path)"
  }

  /// A variable of the environment.
  package static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

  /// The small golden `name`.
  package static func json<Value: Decodable>(_ name: String, as type: Value.Type) throws -> Value {
    try json(path: "\(folder)/\(name)", as: type)
  }

  /// The models of BERT's family that `make_families.py` makes, by folder; those with two labels have curves.
  package static let families = ["distilbert", "electra", "roberta"].map { "families/\($0)" }
  package static let otherFamilies = ["distilbert-sinusoidal", "electra-wide", "electra-same"].map { "families/\($0)" }

  /// The entries of the small golden `name`, and those of the families' with their folder before the name.
  package static func withFamilies<Value: Decodable>(_ name: String, as type: Value.Type) throws -> [String: Value] {
    let families = try json("families/\(name)", as: [String: Value].self)
    let named = Dictionary(uniqueKeysWithValues: families.map { ("families/\($0.key)", $0.value) })
    return try json(name, as: [String: Value].self).merging(named) { $1 }
  }

  /// Any JSON file.
  package static func json<Value: Decodable>(path: String, as type: Value.Type) throws -> Value {
    try JSONDecoder().decode(type, from: Data(readBytes(path)))
  }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
/// Logits, loss and gradient norm of the first 8 rows of dev.tsv: an entry of `forward.json`.
package struct ForwardGolden: Decodable {
  package var logits: [[Float]]
  package var loss: Double
  package var grad_norm: Double
  /// Class numbers, or scores of a regression.
  package var labels: [Double]
  package var shapes: [String: [Int]]

  /// By the name of the model's folder.
  package static func all() throws -> [String: ForwardGolden] {
    try Golden.withFamilies("forward.json", as: ForwardGolden.self)
  }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
/// A training run, from the small goldens or the reference's.
package struct CurveGolden: Decodable {
  // swift-format-ignore: AlwaysUseLowerCamelCase
  package struct Step: Decodable {
    package var step: Int
    package var loss: Double
    package var grad_norm: Double
    private var learning_rate: Double?
    private var lr: Double?
    package var rate: Double { learning_rate ?? lr ?? .nan }
  }
  package var batch_size: Int
  package var history: [Step]
  package var gradient_accumulation_steps: Int
  private var learning_rate: Double?
  private var lr: Double?
  private var max_grad_norm: Double?
  private var clip: Double?
  private var warmup_steps: Int?
  private var warmup: Int?
  private var steps: Int?
  private var training_steps: Int?
  private var weight_decay: Double?
  private var no_decay_bias_norm: Bool?
  package var dev_logits: [[Float]]?
  package var dev32_logits: [[Float]]?
  package var dev_loss: Double?
  package var accuracy: Double?
  package var f1: Double?

  package var peakRate: Double { learning_rate ?? lr ?? .nan }
  package var maxGradientNorm: Double? { max_grad_norm ?? clip }
  package var warmupSteps: Int { warmup_steps ?? warmup ?? 0 }
  package var totalSteps: Int { steps ?? training_steps ?? history.count }
  package var weightDecay: Double { weight_decay ?? 0.01 }
  package var sparesBiasAndNorm: Bool { no_decay_bias_norm ?? false }

  /// By name; those of families by the name of the model's folder.
  package static func all() throws -> [String: CurveGolden] {
    try Golden.withFamilies("curves.json", as: CurveGolden.self)
  }
}

/// Scores of one list of labels and predictions: an entry of `metrics.json`.
package struct MetricsGolden: Decodable {
  package var labels: [Int]
  package var predictions: [Int]
  package var accuracy: Double
  package var f1: Double
}
