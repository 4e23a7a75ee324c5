import ArgumentParser
import Glibc
import Launcher
import System

/// Asks for the cluster and writes the file; what a present file says is the answer that Enter gives.
struct AskCommand: MachineCommand {
  static let configuration = CommandConfiguration(commandName: "ask", abstract: "Ask questions (the default).")
  @Option(name: names("config_file"), help: "The file to write.") var configFile: String?

  func run(on machine: Machine) throws {
    let path = try ConfigLocation.toWrite(configFile, machine.environment)
    var answers = Answers(
      values: exists(path) ? try ConfigFile(path: path, machine.environment).plainValues : [:],
      environment: machine.environment)
    try put("Enter takes what stands in brackets; - takes nothing.")
    let hostfile = try askForHostfile(answers.values[Setting.hostfile.name], machine)
    answers.values[Setting.hostfile.name] = hostfile.map { .text($0.path) }
    if let hostfile {
      answers.values[Setting.machines.name] = nil
      answers.values[Setting.processes.name] = nil
      let isOpen = hostfile.entries.contains { $0.slots == nil }
      try answers.ask(.ranksPerHost, "Ranks on a host without slots", standard: isOpen ? "1" : nil, if: isOpen)
      try answers.ask(.network, "Network between the hosts, as 10.0.0.0/24 or eth0; nothing lets MPI choose")
      try answers.ask(.remoteShell, "What runs a command on a host, instead of ssh")
      let usesSSH = answers.values[Setting.remoteShell.name] == nil
      try answers.ask(.sshPort, "Port of sshd on the hosts", if: usesSSH)
      try answers.ask(.sshIdentity, "Private key for ssh", if: usesSSH)
    } else {
      for name in [
        Setting.ranksPerHost.name, Setting.network.name, Setting.remoteShell.name, Setting.sshPort.name,
        Setting.sshIdentity.name,
      ] { answers.values[name] = nil }
      answers.values[Setting.machines.name] = .integer(1)
      let ranks = LaunchPlan.defaultRanks(cores: machine.cores.usable)
      try answers.ask(.processes, "Ranks on this machine", standard: "\(ranks)")
    }
    try answers.ask(.threads, "Threads of each rank; nothing deals out the cores")
    try answers.ask(.mixedPrecision, "Precision, no or bf16", standard: "no")
    try saveConfiguration(answers.values, to: path)
  }

  /// The hostfile, read; nil for this machine alone. One that cannot be read is asked for again.
  private func askForHostfile(
    _ present: SettingValue?, _ machine: Machine
  ) throws(Failure) -> (path: String, entries: [HostEntry])? {
    while true {
      let answer = try question(
        "Hostfile with the machines, `host slots=N` a line; nothing for this machine alone", present?.description)
      guard let answer else { return nil }
      do throws(Failure) {
        let answer = try expandingHome(answer, machine.environment)
        let file = try Hostfile(path: answer, ownName: machine.names)
        // The file is found from any folder.
        return (realPath(answer), file.entries)
      } catch { try put("  \(error)") }
    }
  }
}

/// What was answered so far, by the setting's name.
private struct Answers {
  var values: [String: SettingValue]
  let environment: Environment

  /// Asks for `setting` until the answer is one, where `isWanted`; else it is not set.
  mutating func ask<Value>(
    _ setting: Setting<Value>, _ text: String, standard: String? = nil, if isWanted: Bool = true
  ) throws(Failure) {
    let name = setting.name
    let present = values[name]?.description ?? standard
    values[name] = nil
    while isWanted {
      guard let answer = try question(text, present) else { return }
      do throws(Failure) {
        values[name] = try ConfigFile.value(answer, for: setting.definition, environment)
        return
      } catch { try put("  \(error)") }
    }
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
