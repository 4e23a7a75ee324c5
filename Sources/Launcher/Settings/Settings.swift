import System

/// The effective settings of a launch, each with its origin: flag, then environment, then file.
///
/// What nothing sets is derived when the plan is made.
public struct Settings: Sendable {
  public struct Value: Sendable, Equatable {
    public var value: SettingValue
    public var origin: Origin
    /// Weaker sources that said something else.
    public var overridden: [String] = []
  }

  /// By the setting's name.
  public private(set) var values: [String: Value] = [:]
  public let file: ConfigFile?

  /// - Parameter flags: the texts of the flags given, by the setting's name.
  /// - Throws: `.usage` for a flag or variable whose value is refused.
  public init(flags: [String: [String]], environment: Environment, file: ConfigFile?) throws(Failure) {
    self.file = file
    for setting in SettingDefinition.all {
      var found: [Value] = []
      if let texts = flags[setting.name], let value = try Self.value(of: setting, texts, environment) {
        found.append(value)
      }
      for name in setting.variables {
        if let text = environment[name], !text.isEmpty {
          found.append(try Self.value(of: setting, text, variable: name, environment))
        }
      }
      if let file, let entry = file.values[setting.name] {
        found.append(Value(value: entry.value, origin: .file(path: file.path, line: entry.line)))
      }
      if found.isEmpty, let (name, text) = MPIVariables.first(of: setting.variablesOfMPI, in: environment) {
        found.append(try Self.value(of: setting, text, variable: name, environment))
      }
      guard var best = found.first else { continue }
      best.overridden = found.dropFirst().filter { $0.value != best.value }.map { "\($0.origin) says \($0.value)" }
      values[setting.name] = best
    }
  }

  private static func value(
    of setting: SettingDefinition, _ text: String, variable name: String, _ environment: Environment
  ) throws(Failure) -> Value {
    Value(value: try setting.value(text, at: name, status: .usage, environment), origin: .variable(name))
  }

  /// What a flag that was given as `texts` says: a list grows with each, of anything else the last counts.
  private static func value(
    of setting: SettingDefinition, _ texts: [String], _ environment: Environment
  ) throws(Failure) -> Value? {
    let flag = "--\(setting.flag)"
    var last: SettingValue?
    var items: [String] = []
    for text in setting.kind.isList ? texts[...] : texts.suffix(1) {
      let value = try setting.value(text, at: flag, status: .usage, environment)
      if case .list(let more) = value { items += more }
      last = value
    }
    guard let last else { return nil }
    return Value(value: setting.kind.isList ? .list(items) : last, origin: .flag(flag))
  }

  /// The value of `setting`; nil where nothing sets it.
  public subscript<Value>(setting: Setting<Value>) -> Value? { values[setting.name].flatMap { Value($0.value) } }

  /// Whether `setting` is on.
  public subscript(setting: Setting<Bool>) -> Bool { values[setting.name]?.value == .boolean(true) }

  /// The items of `setting`; none where nothing sets it.
  public subscript(setting: Setting<[String]>) -> [String] {
    values[setting.name].flatMap { [String]($0.value) } ?? []
  }

  /// Where the value of `setting` comes from; nil where nothing sets it.
  public func origin<Value>(_ setting: Setting<Value>) -> Origin? { values[setting.name]?.origin }
}
