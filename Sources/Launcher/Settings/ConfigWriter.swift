import System

extension ConfigFile {
  /// The file's text for `values`, in Accelerate's keys and ours; it reads back as the same values.
  public static func text(_ values: [String: SettingValue]) -> String {
    let hosts: Int? = if case .integer(let number)? = values[Setting.machines.name] { number } else { nil }
    let ranks: Int? = if case .integer(let number)? = values[Setting.processes.name] { number } else { nil }
    let isOne = ranks == 1 && (hosts ?? 1) == 1 && values[Setting.hostfile.name] == nil
    var text = "compute_environment: LOCAL_MACHINE\ndistributed_type: '\(isOne ? "NO" : "MULTI_CPU")'\nuse_cpu: true\n"
    for section in ["", "mpirun_config", "lockstep"] {
      let settings = SettingDefinition.all.filter { setting in
        values[setting.name] != nil && (section.isEmpty ? setting.path.count == 1 : setting.path.first == section)
      }
      if settings.isEmpty { continue }
      if !section.isEmpty { text += "\(section):\n" }
      for setting in settings {
        guard let value = values[setting.name] else { continue }
        text += "\(section.isEmpty ? "" : "  ")\(setting.path.last ?? setting.name): \(yaml(value))\n"
      }
    }
    return text
  }

  private static func yaml(_ value: SettingValue) -> String {
    switch value {
    case .integer, .decimal, .boolean: value.description
    case .text(let text): quoted(text)
    case .list(let items): "[" + items.map(quoted).joined(separator: ", ") + "]"
    }
  }

  /// In single quotes, for `no` and `12` are texts here.
  private static func quoted(_ text: String) -> String {
    var result = "'"
    for scalar in text.unicodeScalars { result += scalar == "'" ? "''" : String(scalar) }
    return result + "'"
  }

  /// The setting that `key` names: `num_processes`, `lockstep.binding` or just `binding`.
  public static func setting(_ key: String) throws(Failure) -> SettingDefinition {
    let found = SettingDefinition.all.first {
      $0.path.joined(separator: ".") == key || $0.name == key || $0.path.last == key
    }
    if let found { return found }
    let names = SettingDefinition.all.flatMap { [$0.name, $0.path.joined(separator: ".")] }
    throw Failure(
      .usage, at: key.shortened, "unknown key", hint: nearest(to: key, among: names).map { "did you mean \($0)?" })
  }

  /// The value that `text` is for `setting`.
  public static func value(
    _ text: String, for setting: SettingDefinition, _ environment: Environment
  ) throws(Failure) -> SettingValue {
    try setting.value(text, at: setting.name, status: .usage, environment)
  }

  /// The values alone.
  public var plainValues: [String: SettingValue] { values.mapValues(\.value) }
}
