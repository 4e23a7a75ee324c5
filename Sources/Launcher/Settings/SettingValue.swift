/// A value of a setting.
public enum SettingValue: Sendable, Equatable, CustomStringConvertible {
  case integer(Int)
  case decimal(Double)
  case boolean(Bool)
  case text(String)
  case list([String])

  public var description: String {
    switch self {
    case .integer(let number): "\(number)"
    case .decimal(let number): "\(number)"
    case .boolean(let value): value ? "true" : "false"
    case .text(let text): text
    case .list(let items): items.joined(separator: ",")
    }
  }
}

/// Where a value comes from.
public enum Origin: Sendable, Equatable, CustomStringConvertible {
  case flag(String)
  case variable(String)
  case file(path: String, line: Int)
  case derived(String)

  public var description: String {
    switch self {
    case .flag(let name): "flag \(name)"
    case .variable(let name): "variable \(name)"
    case .file(let path, let line): "\(path):\(line)"
    case .derived(let from): "derived from \(from)"
    }
  }
}
