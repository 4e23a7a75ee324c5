import System

/// Variables of MPI that others have set: those that the launcher obeys, overrides or keeps from the job.
public enum MPIVariables {
  /// The first of `variables` that says something.
  static func first(of variables: [String], in environment: Environment) -> (name: String, text: String)? {
    for name in variables {
      if let text = environment[name], !text.isEmpty, text != "none" { return (name, text) }
    }
    return nil
  }

  /// What must not reach mpirun, and why. The launcher reads the ranks' output in the form that mpirun gives it by itself,
  /// and ends jobs itself.
  private static let withheld: [(name: String, reason: String)] = [
    ("MPIEXEC_TIMEOUT", "it would end the job after that time"),
    ("OMPI_MCA_orte_tag_output", "--tee puts ranks in front of lines"),
    ("OMPI_MCA_orte_timestamp_output", "--tee puts ranks in front of lines"),
    ("OMPI_MCA_orte_xml_output", "the launcher reads plain output"),
    ("OMPI_MCA_orte_xml_file", "the launcher reads plain output"),
    ("OMPI_MCA_orte_output_filename", "--log_dir keeps the ranks' output"),
    ("OMPI_MCA_orte_merge_stderr_to_stdout", "the launcher reads both"),
    ("OMPI_MCA_ess_base_forward_signals", "ranks are stopped by signals that mpirun forwards"),
  ]

  private static let prefixes = ["OMPI_MCA_", "PRTE_MCA_", "PMIX_MCA_", "I_MPI_", "HYDRA_", "OPAL_PREFIX"]

  /// A line for each variable that may surprise.
  ///
  /// - Parameters:
  ///   - arguments: mpirun's, whose parameters are stronger than variables; none for one process.
  ///   - obeyed: variables that settings come from.
  ///   - leftovers: variables of another job of MPI's, which were removed.
  public static func notes(
    _ environment: Environment, arguments: [String], obeyed: [String], leftovers: [String]
  ) -> [String] {
    var notes = leftovers.map { "\($0) (variable) is left over from another job of MPI's and is not passed on" }
    for (name, reason) in withheld {
      if let value = environment[name] {
        notes.append("\(name)=\(value.shortened) (variable) is not passed on: \(reason)")
      }
    }
    let chosen = parameters(arguments)
    for (name, value) in prefixes.flatMap({ environment.variables(withPrefix: $0) })
    where !withheld.contains(where: { $0.name == name }) {
      let parameter = ["OMPI_MCA_", "PRTE_MCA_"].first { name.hasPrefix($0) }.map { String(name.dropFirst($0.count)) }
      if !obeyed.contains(name), SettingDefinition.all.contains(where: { $0.variablesOfMPI.contains(name) }) {
        notes.append(
          "\(name)=\(Secrets.shown(value, of: name)) (variable) is not in force: the launcher was told otherwise")
      } else if let parameter, let own = chosen[parameter], own != value {
        notes.append("\(name)=\(Secrets.shown(value, of: name)) (variable) is not in force: the launcher sets \(own)")
      } else if let other = excluded(parameter, by: chosen) {
        notes.append("\(name)=\(Secrets.shown(value, of: name)) (variable) is not passed on: \(other) is set")
      } else {
        notes.append("\(name)=\(Secrets.shown(value, of: name)) (variable) is in force")
      }
    }
    return notes
  }

  /// The environment for mpirun, started with `arguments`.
  public static func withheld(from environment: Environment, arguments: [String]) -> Environment {
    var environment = environment
    for (name, _) in withheld { environment[name] = nil }
    let chosen = parameters(arguments)
    for name in environment.variables(withPrefix: "OMPI_MCA_").map(\.name)
    where excluded(String(name.dropFirst("OMPI_MCA_".count)), by: chosen) != nil {
      environment[name] = nil
    }
    return environment
  }

  /// Open MPI refuses networks to use beside networks to leave out.
  private static func excluded(_ parameter: String?, by chosen: [String: String]) -> String? {
    guard let parameter, parameter.hasSuffix("_if_exclude") else { return nil }
    let other = parameter.dropLast("exclude".count) + "include"
    return chosen[String(other)] == nil ? nil : String(other)
  }

  /// The parameters that are set by `--mca NAME VALUE` and the like.
  private static func parameters(_ arguments: [String]) -> [String: String] {
    var parameters: [String: String] = [:]
    for index in arguments.indices.dropLast(2) where ["--mca", "--prtemca"].contains(arguments[index]) {
      parameters[arguments[index + 1]] = arguments[index + 2]
    }
    return parameters
  }
}
