import ArgumentParser
import Launcher

/// A flag of a setting as it was given; the setting checks the text.
struct GivenFlag: Sendable {
  /// The setting's name.
  var setting: String
  var text: String
}

extension Option {
  /// The flag of `setting`; of several the last counts.
  init<Kind>(_ setting: Setting<Kind>) where Value == GivenFlag? {
    let name = setting.name
    self.init(
      name: NameSpecification(setting.definition), help: ArgumentHelp(stringLiteral: setting.definition.help),
      transform: { GivenFlag(setting: name, text: $0) })
  }

  /// The flag of `setting`, which is a list: several flags add up.
  init(wrappedValue: [GivenFlag], _ setting: Setting<[String]>) where Value == [GivenFlag] {
    let name = setting.name
    self.init(
      wrappedValue: wrappedValue, name: NameSpecification(setting.definition),
      help: ArgumentHelp(stringLiteral: setting.definition.help),
      transform: { GivenFlag(setting: name, text: $0) })
  }
}

/// The flags of all settings that are on or off.
struct Switch: EnumerableFlag {
  let setting: SettingDefinition

  static let allCases = SettingDefinition.all.filter { $0.kind == .boolean }.map(Switch.init)

  static func == (a: Switch, b: Switch) -> Bool { a.setting.name == b.setting.name }

  static func name(for value: Switch) -> NameSpecification { NameSpecification(value.setting) }

  static func help(for value: Switch) -> ArgumentHelp? { ArgumentHelp(stringLiteral: value.setting.help) }
}

extension NameSpecification {
  /// The names of a setting's flag, with underscores and with dashes.
  init(_ setting: SettingDefinition) {
    self = names([setting.flag] + setting.aliases, short: setting.short)
  }
}

/// `--num_processes` and `--num-processes`.
func names(_ name: String) -> NameSpecification { names([name], short: nil) }

private func names(_ names: [String], short: Character?) -> NameSpecification {
  var elements: [NameSpecification.Element] = short.map { [.customShort($0)] } ?? []
  for name in names {
    elements.append(.customLong(name))
    if dashed(name) != name { elements.append(.customLong(dashed(name))) }
  }
  return NameSpecification(elements)
}

/// `name` with dashes for underscores.
func dashed(_ name: String) -> String {
  String(decoding: name.utf8.map { $0 == UInt8(ascii: "_") ? UInt8(ascii: "-") : $0 }, as: UTF8.self)
}
