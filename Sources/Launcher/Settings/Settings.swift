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

  public private(set) var values: [String: Value] = [:]
  public let file: ConfigFile?

  /// - Parameters:
  ///   - flags: the flags given, by the setting's name.
  ///   - variable: the value of an environment variable.
  public init(
    flags: [String: [String]], environment variable: (String) -> String?, file: ConfigFile?
  ) throws(Failure) {
    self.file = file
    for setting in Setting.all {
      var found: [Value] = []
      if let texts = flags[setting.name], let last = texts.last {
        let flag = "--\(setting.name)"
        var value = try setting.value(last, at: flag, status: .usage)
        if setting.kind.isList {
          // Given in several flags, it grows.
          var items: [String] = []
          for text in texts {
            if case .list(let more) = try setting.value(text, at: flag, status: .usage) { items += more }
          }
          value = .list(items)
        }
        found.append(Value(value: value, origin: .flag(flag)))
      }
      for name in setting.variables {
        if let text = variable(name), !text.isEmpty {
          found.append(Value(value: try setting.value(text, at: name, status: .usage), origin: .variable(name)))
        }
      }
      if let entry = file?.values[setting.name] {
        found.append(Value(value: entry.value, origin: .file(path: file!.path, line: entry.line)))
      }
      if found.isEmpty, let foreign = MPIVariables.settings.first(where: { $0.name == setting.name }),
        let (text, name) = MPIVariables.value(foreign.variables, variable)
      {
        found.append(Value(value: try setting.value(text, at: name, status: .usage), origin: .variable(name)))
      }
      guard var best = found.first else { continue }
      best.overridden = found.dropFirst().filter { $0.value != best.value }.map { "\($0.origin) says \($0.value)" }
      values[setting.name] = best
    }
  }

  public func origin(_ name: String) -> Origin? { values[name]?.origin }

  public func integer(_ name: String) -> Int? {
    if case .integer(let number)? = values[name]?.value { return number }
    return nil
  }

  public func decimal(_ name: String) -> Double? {
    if case .decimal(let number)? = values[name]?.value { return number }
    return nil
  }

  public func text(_ name: String) -> String? {
    if case .text(let text)? = values[name]?.value { return text }
    return nil
  }

  public func boolean(_ name: String) -> Bool { values[name]?.value == .boolean(true) }

  public func list(_ name: String) -> [String] {
    if case .list(let items)? = values[name]?.value { return items }
    return []
  }
}
