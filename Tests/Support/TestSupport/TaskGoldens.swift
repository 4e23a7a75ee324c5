// swift-format-ignore: AlwaysUseLowerCamelCase
/// A training run on one of the tasks that `make_tasks.py` makes: an entry of `tasks/curves.json`.
package struct TaskCurve: Decodable {
  package var batch_size: Int
  package var learning_rate: Double
  package var warmup_steps: Int
  package var weight_decay: Double
  package var steps: Int
  package var schedule: String
  package var history: [CurveGolden.Step]
  package var dev_loss: Double
  package var dev_logits: [[Float]]
  package var figures: [String: Double?]

  package static func all() throws -> [String: TaskCurve] {
    try Golden.json("tasks/curves.json", as: [String: TaskCurve].self)
  }

  /// The options of `finetune` that repeat this run.
  package var options: [String] {
    [
      "--no-shuffle", "--dropout", "0", "--max-steps", "\(steps)", "--learning-rate", "\(learning_rate)",
      "--batch-size", "\(batch_size)", "--split-batches", "--warmup-steps", "\(warmup_steps)", "--weight-decay",
      "\(weight_decay)", "--lr-scheduler-type", schedule,
    ]
  }
}

/// Labels, predictions and what scikit-learn and scipy make of them: an entry of `tasks/metrics.json`.
package struct TaskMetricsGolden: Codable, Sendable {
  /// `classes`, `sets` or `scores`.
  package var kind: String
  package var classes: Int
  /// Class numbers, scores, or of a set 0 and 1 for each class.
  package var labels: [Values]
  package var predictions: [Values]
  /// Nil stands for NaN.
  package var figures: [String: Double?]?

  package init(kind: String, classes: Int, labels: [Values], predictions: [Values]) {
    (self.kind, self.classes, self.labels, self.predictions) = (kind, classes, labels, predictions)
  }

  /// One number, or several.
  package struct Values: Codable, Sendable {
    package var numbers: [Double]

    package init(_ numbers: [Double]) { self.numbers = numbers }

    package init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let number = try? container.decode(Double.self) {
        numbers = [number]
      } else {
        numbers = try container.decode([Double].self)
      }
    }

    package func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      if numbers.count == 1 { try container.encode(numbers[0]) } else { try container.encode(numbers) }
    }
  }
}
