import System

/// A key to one thing that a flag, a variable or a configuration file can set: `settings[.processes]` is its value.
///
/// All of it is said here once: the flag with its help, the variables, the place in a file, what values may be. A new
/// setting is one more key, a line in ``SettingDefinition/all`` and an option of the command line.
public struct Setting<Value: SettingType>: Sendable {
  public let definition: SettingDefinition

  public var name: String { definition.name }

  /// See ``SettingDefinition``.
  init(
    _ name: String, _ kind: SettingDefinition.Kind, flag: String? = nil, aliases: [String] = [],
    short: Character? = nil, variables: [String] = [], ofMPI foreign: [String] = [], path: [String], help: String
  ) {
    definition = SettingDefinition(
      name: name, kind: kind, flag: flag ?? name, aliases: aliases, short: short, variables: variables,
      variablesOfMPI: foreign, path: path, help: help)
  }
}

/// A type that settings have.
public protocol SettingType: Sendable {
  /// Nil where `value` is of another type.
  init?(_ value: SettingValue)
}

extension Int: SettingType {
  public init?(_ value: SettingValue) {
    guard case .integer(let number) = value else { return nil }
    self = number
  }
}

extension Double: SettingType {
  public init?(_ value: SettingValue) {
    guard case .decimal(let number) = value else { return nil }
    self = number
  }
}

extension Bool: SettingType {
  public init?(_ value: SettingValue) {
    guard case .boolean(let isOn) = value else { return nil }
    self = isOn
  }
}

extension String: SettingType {
  public init?(_ value: SettingValue) {
    guard case .text(let text) = value else { return nil }
    self = text
  }
}

extension [String]: SettingType {
  public init?(_ value: SettingValue) {
    guard case .list(let items) = value else { return nil }
    self = items
  }
}
