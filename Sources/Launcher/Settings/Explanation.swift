import System

/// What `config explain` prints: every effective value with its origin, and what is ignored and why.
public enum Explanation {
  public static func text(_ settings: Settings, _ cluster: ClusterPlan, _ environment: Environment) -> String {
    var rows: [(String, String, String)] = []
    for setting in SettingDefinition.all {
      switch setting.name {
      case Setting.processes.name: rows.append((setting.name, "\(cluster.ranks)", "\(cluster.ranksOrigin)"))
      case Setting.threads.name:
        rows.append((setting.name, "\(cluster.threadsPerRank)", "\(cluster.threadsOrigin)"))
      case Setting.machines.name:
        let origin =
          settings.origin(.machines) ?? .derived(cluster.placement == nil ? "no hostfile" : "the hostfile")
        rows.append((setting.name, "\(cluster.placement?.hosts.count ?? 1)", "\(origin)"))
      case Setting.binding.name where settings.origin(.binding) == nil && settings[.cpuAffinity]:
        rows.append((setting.name, "core", "derived from \(Setting.cpuAffinity.name)"))
      case Setting.binding.name where settings.origin(.binding) == nil:
        rows.append((setting.name, "none", "derived from threads: a bound rank would have one core for all of them"))
      default:
        if let value = settings.values[setting.name] {
          rows.append((setting.name, "\(value.value)", "\(value.origin)"))
        }
      }
    }
    var text = table(
      rows.map { ($0.0, $0.1.escapingControlCharacters, $0.2.escapingControlCharacters) })
    for host in cluster.placement?.hosts ?? [] {
      text += "  host \(host.entry.name): \(counted(host.ranks, "rank")) (line \(host.entry.line))\n"
    }
    let ignored = settings.file.map { file in
      file.ignored.map { "\($0.key) (\(file.path):\($0.line)): \($0.reason)" }
    }
    let overridden = SettingDefinition.all.flatMap { setting in
      settings.values[setting.name].map { value in
        value.overridden.map { "\(setting.name): \($0); \(value.origin) is stronger" }
      } ?? []
    }
    let foreign = ["MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK"]
      .compactMap { name in
        environment[name].map { "\(name)=\(Secrets.shown($0, of: name)) (variable): MPI finds hosts and numbers ranks" }
      }
    for line in (ignored ?? []) + overridden + foreign { text += "ignored: \(line.escapingControlCharacters)\n" }
    return text
  }

  private static func table(_ rows: [(String, String, String)]) -> String {
    let widths = (rows.map(\.0.count).max() ?? 0, rows.map(\.1.count).max() ?? 0)
    return rows.map { name, value, origin in
      name + String(repeating: " ", count: widths.0 - name.count) + "  " + value
        + String(repeating: " ", count: min(40, widths.1) - min(value.count, min(40, widths.1))) + "  \(origin)\n"
    }.joined()
  }
}
