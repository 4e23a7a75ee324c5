import ArgumentParser
import Glibc
import Launcher
import System

/// Asks for the cluster and writes the file; what a present file says is the answer that Enter gives.
struct AskCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "ask", abstract: "Ask questions (the default).")
  @Option(name: names("config_file"), help: "The file to write.") var configFile: String?

  func run() throws {
    let context = LaunchContext()
    let path = try context.configPath(configFile)
    var values = exists(path) ? try ConfigFile(path: path).plainValues : [:]
    try put("Enter takes what stands in brackets; - takes nothing.")
    let hostfile = try askForHostfile(values["mpirun_hostfile"], context)
    values["mpirun_hostfile"] = hostfile.map { .text($0.path) }
    if let hostfile {
      values["num_machines"] = nil
      values["num_processes"] = nil
      let isOpen = hostfile.entries.contains { $0.slots == nil }
      try ask(&values, "ranks_per_host", "Ranks on a host without slots", standard: isOpen ? "1" : nil, if: isOpen)
      try ask(&values, "network", "Network between the hosts, as 10.0.0.0/24 or eth0; nothing lets MPI choose")
      try ask(&values, "remote_shell", "What runs a command on a host, instead of ssh")
      try ask(&values, "ssh_port", "Port of sshd on the hosts", if: values["remote_shell"] == nil)
      try ask(&values, "ssh_identity", "Private key for ssh", if: values["remote_shell"] == nil)
    } else {
      for name in ["ranks_per_host", "network", "remote_shell", "ssh_port", "ssh_identity"] { values[name] = nil }
      values["num_machines"] = .integer(1)
      let ranks = LaunchPlan.defaultRanks(cores: context.cores.usable)
      try ask(&values, "num_processes", "Ranks on this machine", standard: "\(ranks)")
    }
    try ask(&values, "num_cpu_threads_per_process", "Threads of each rank; nothing deals out the cores")
    try ask(&values, "mixed_precision", "Precision, no or bf16", standard: "no")
    try saveConfiguration(values, to: path)
  }

  /// The hostfile, read; nil for this machine alone. One that cannot be read is asked for again.
  private func askForHostfile(
    _ present: SettingValue?, _ context: LaunchContext
  ) throws(Failure) -> (path: String, entries: [HostEntry])? {
    while true {
      let answer = try question(
        "Hostfile with the machines, `host slots=N` a line; nothing for this machine alone", present?.description)
      guard let answer else { return nil }
      do throws(Failure) {
        let answer = try expandingHome(answer)
        let file = try Hostfile(path: answer, ownName: context.ownNames)
        // The file is found from any folder.
        return (realPath(answer), file.entries)
      } catch { try put("  \(error)") }
    }
  }

  /// Asks for the setting `name` until the answer is one, where `isWanted`; else it is not set.
  private func ask(
    _ values: inout [String: SettingValue], _ name: String, _ text: String, standard: String? = nil,
    if isWanted: Bool = true
  ) throws(Failure) {
    let present = values[name]?.description ?? standard
    values[name] = nil
    while isWanted {
      guard let answer = try question(text, present) else { return }
      do throws(Failure) {
        values[name] = try ConfigFile.value(answer, for: try ConfigFile.setting(name))
        return
      } catch { try put("  \(error)") }
    }
  }

  /// The answer; nil for nothing.
  private func question(_ text: String, _ standard: String?) throws(Failure) -> String? {
    try put(text + (standard.map { " [\($0.escapingControlCharacters)]" } ?? "") + ": ", terminator: "")
    guard let line = readLine() else {
      try put("")
      throw Failure(.usage, "the answers ended early, expected one a line", hint: "config default asks nothing")
    }
    if isatty(STDIN_FILENO) == 0 { try put("") }
    let isSpace = { (byte: UInt8) in byte == 0x20 || byte == 0x09 || byte == 0x0D }
    let bytes = line.utf8.drop(while: isSpace)
    let end = bytes.lastIndex { !isSpace($0) }.map { bytes.index(after: $0) } ?? bytes.startIndex
    let answer = String(Substring(bytes[..<end]))
    if answer == "-" { return nil }
    return answer.isEmpty ? standard : answer
  }
}
