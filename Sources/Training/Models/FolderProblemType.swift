import Datasets
import JSON
import System

extension ModelFolder {
  /// How config.json says that labels are taken, `problem_type`; nil where it does not say.
  public func problemType() throws(Failure) -> ProblemType? {
    let root = try JSONDocument(configurationText, path: "\(path)/config.json").root
    guard let node = try root.member("problem_type") else { return nil }
    guard let problem = ProblemType(rawValue: try node.string()) else {
      throw node.unexpected(ProblemType.allCases.map(\.rawValue).joined(separator: " or "))
    }
    return problem
  }

  /// The name under which config.json says that it was loaded, `_name_or_path`; nil where it does not say.
  public func nameInConfiguration() throws(Failure) -> String? {
    let root = try JSONDocument(configurationText, path: "\(path)/config.json").root
    guard let node = try root.member("_name_or_path"), node.kind == .string else { return nil }
    return try node.string()
  }
}
