import ArgumentParser
import Datasets
import Training

/// The spellings of an option: with dashes, and with Accelerate's underscores.
public func bothSpellings(_ name: String) -> NameSpecification { NameSpecification(spellings(name)) }

/// The spellings of an option with two names.
public func bothSpellings(_ name: String, _ other: String) -> NameSpecification {
  NameSpecification(spellings(name) + spellings(other))
}

private func spellings(_ name: String) -> [NameSpecification.Element] {
  let underscored = String(name.map { $0 == "-" ? "_" : $0 })
  return underscored == name ? [.customLong(name)] : [.customLong(name), .customLong(underscored)]
}

extension TailPolicy: ExpressibleByArgument {
  /// What `--uneven` offers; the ragged kind is Accelerate's own.
  public init?(argument: String) {
    guard let value = TailPolicy(rawValue: argument), value != .ragged else { return nil }
    self = value
  }

  public static var allValueStrings: [String] { allCases.filter { $0 != .ragged }.map(\.rawValue) }
}

extension Split: ExpressibleByArgument {}

extension Initialization: ExpressibleByArgument {}

extension RateSchedule.Kind: ExpressibleByArgument {}

extension ProblemType: ExpressibleByArgument {}
