import System

/// One thing that a flag, a variable or a configuration file can set.
public struct Setting: Sendable {
  public enum Kind: Sendable, Equatable {
    case integer(ClosedRange<Int>)
    case decimal(ClosedRange<Double>)
    case boolean
    case text
    /// A text that may start with `~`.
    case path
    case choice([String])
    /// Networks or interfaces.
    case networks
    /// Names of environment variables.
    case variables
    /// Names of hosts.
    case hosts
    /// Ranks or ranges of them.
    case ranks
    /// Texts that may hold commas: one a flag.
    case words

    /// Whether there may be several values.
    var isList: Bool {
      switch self {
      case .networks, .variables, .hosts, .ranks, .words: true
      case .integer, .decimal, .boolean, .text, .path, .choice: false
      }
    }
  }

  /// The name, which is also the flag's: `num_processes` is `--num_processes`.
  public var name: String
  public var kind: Kind
  /// Environment variables that set it, the strongest first.
  public var variables: [String] = []
  /// Where it stands in a configuration file; empty where it cannot.
  public var path: [String] = []
  public var help: String

  /// All settings, in the order in which they are explained.
  public static let all: [Setting] = [
    Setting(
      name: "num_processes", kind: .integer(1...65_536), variables: ["LOCKSTEP_NUM_PROCESSES"], path: ["num_processes"],
      help: "ranks over all hosts"),
    Setting(
      name: "num_machines", kind: .integer(1...65_535), path: ["num_machines"],
      help: "hosts: the first so many of the hostfile"),
    Setting(
      name: "mpirun_hostfile", kind: .path, variables: ["LOCKSTEP_HOSTFILE"],
      path: ["mpirun_config", "mpirun_hostfile"], help: "Open MPI hostfile: host slots=N"),
    Setting(
      name: "ranks_per_host", kind: .integer(1...65_535), path: ["lockstep", "ranks_per_host"],
      help: "ranks of a host whose line in the hostfile gives no slots"),
    Setting(
      name: "num_cpu_threads_per_process", kind: .integer(1...1024),
      variables: ["LOCKSTEP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"],
      path: ["lockstep", "threads_per_rank"], help: "threads of each rank"),
    Setting(
      name: "launcher", kind: .choice(["mpirun", "srun"]), path: ["lockstep", "launcher"],
      help: "what starts the ranks; srun inside a Slurm allocation only"),
    Setting(
      name: "mpirun", kind: .path, variables: ["LOCKSTEP_MPIRUN"], path: ["lockstep", "mpirun"],
      help: "path of the mpirun to use, where it is not the first on the PATH"),
    Setting(
      name: "binding", kind: .choice(["none", "core", "socket", "numa"]), path: ["lockstep", "binding"],
      help: "what a rank is bound to"),
    Setting(
      name: "enable_cpu_affinity", kind: .boolean, path: ["enable_cpu_affinity"],
      help: "bind each thread to a core, where binding says nothing"),
    Setting(
      name: "mixed_precision", kind: .choice(["no", "bf16"]), variables: ["ACCELERATE_MIXED_PRECISION"],
      path: ["mixed_precision"], help: "precision of matrix products"),
    Setting(
      name: "gradient_accumulation_steps", kind: .integer(1...1_000_000),
      variables: ["ACCELERATE_GRADIENT_ACCUMULATION_STEPS"], path: ["gradient_accumulation_steps"],
      help: "batches for each optimizer step"),
    Setting(
      name: "debug", kind: .boolean, variables: ["ACCELERATE_DEBUG_MODE"], path: ["debug"],
      help: "check every collective"),
    Setting(name: "quiet", kind: .boolean, path: ["lockstep", "quiet"], help: "say nothing but errors"),
    Setting(
      name: "network", kind: .networks, path: ["lockstep", "network"],
      help: "networks between the hosts: 10.0.0.0/24, eth0"
    ),
    Setting(
      name: "remote_shell", kind: .path, path: ["lockstep", "remote_shell"],
      help: "program that runs a command on a host; ssh by default"),
    Setting(
      name: "ssh_port", kind: .integer(1...65_535), path: ["lockstep", "ssh_port"], help: "port of sshd on the hosts"),
    Setting(name: "ssh_identity", kind: .path, path: ["lockstep", "ssh_identity"], help: "private key for ssh"),
    Setting(
      name: "export", kind: .variables, path: ["lockstep", "export"],
      help: "variables of this environment that ranks get"),
    Setting(name: "include", kind: .hosts, path: ["lockstep", "include"], help: "use these hosts only"),
    Setting(name: "exclude", kind: .hosts, path: ["lockstep", "exclude"], help: "leave out these hosts"),
    Setting(
      name: "working_folder", kind: .path, path: ["lockstep", "working_folder"], help: "folder that ranks start in"),
    Setting(
      name: "tee", kind: .boolean, path: ["lockstep", "tee"], help: "put the rank in front of each line of output"),
    Setting(name: "log_dir", kind: .path, path: ["lockstep", "log_dir"], help: "folder for a file of output per rank"),
    Setting(
      name: "local_ranks_filter", kind: .ranks, path: ["lockstep", "local_ranks_filter"],
      help: "ranks whose output is shown: 0,2-3"),
    Setting(
      name: "stall_timeout", kind: .decimal(0...1e6), variables: ["LOCKSTEP_STALL_TIMEOUT"],
      path: ["lockstep", "stall_timeout"],
      help: "seconds without progress after which the job is ended; 0: never"),
    Setting(
      name: "monitor_interval", kind: .decimal(0.05...60), path: ["lockstep", "monitor_interval"],
      help: "seconds between two looks at a rank"),
    Setting(
      name: "max_restarts", kind: .integer(0...1000), path: ["lockstep", "max_restarts"],
      help: "starts the job again so many times after a rank was lost"),
    Setting(
      name: "exclude_lost_hosts", kind: .boolean, path: ["lockstep", "exclude_lost_hosts"],
      help: "start again without a host that was lost"),
    Setting(
      name: "mpirun_arguments", kind: .words, path: ["lockstep", "mpirun_arguments"],
      help: "further arguments of mpirun, one each"),
  ]

  public static func named(_ name: String) -> Setting? { all.first { $0.name == name } }

  /// Checks `text`, which stands at `place`; `status` is the status of the refusal.
  func value(_ text: String, at place: String, status: ExitStatus) throws(Failure) -> SettingValue {
    func refuse(_ expected: String, hint: String? = nil) -> Failure {
      Failure(status, at: place, "\"\(text.shortened)\", expected \(expected)", hint: hint)
    }
    switch kind {
    case .integer(let range):
      let digits = text.utf8.first == UInt8(ascii: "-") ? text.utf8.dropFirst() : text.utf8[...]
      let isPlain =
        !digits.isEmpty && digits.allSatisfy { (0x30...0x39).contains($0) }
        && (digits.first != 0x30 || digits.count == 1)
      guard isPlain, let number = Int(text), range ~= number else {
        throw refuse("a whole number from \(range.lowerBound) to \(range.upperBound)")
      }
      return .integer(number)
    case .decimal(let range):
      let isPlain = text.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == UInt8(ascii: ".") }
      guard isPlain, let number = Double(text), range ~= number else {
        throw refuse("a number from \(range.lowerBound) to \(range.upperBound)")
      }
      return .decimal(number)
    case .boolean:
      switch text.lowercased() {
      case "y", "yes", "t", "true", "on", "1": return .boolean(true)
      case "n", "no", "f", "false", "off", "0": return .boolean(false)
      default: throw refuse("true or false")
      }
    case .choice(let choices):
      let found = text.lowercased()
      if choices.contains(found) { return .text(found) }
      let hint =
        name == "mixed_precision" && ["fp16", "fp8"].contains(found)
        ? "\(found) needs a GPU; CPUs have bf16" : nearest(to: found, among: choices).map { "did you mean \($0)?" }
      throw refuse(choices.joined(separator: " or "), hint: hint)
    case .text, .path:
      guard !text.isEmpty else { throw refuse("a text that is not empty") }
      guard !text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { throw refuse("no control characters") }
      return .text(kind == .path ? try expandingHome(text) : text)
    case .networks, .variables, .hosts, .ranks:
      let items = text.utf8.split(separator: UInt8(ascii: ",")).map { String(Substring($0)) }
      for item in items { try checkItem(item, at: place, status: status) }
      return .list(items)
    case .words:
      return .list([text])
    }
  }

  /// Checks one value of a list, which stands at `place`.
  func checkItem(_ text: String, at place: String, status: ExitStatus) throws(Failure) {
    let isFine: Bool
    let expected: String
    switch kind {
    case .networks:
      isFine = text.utf8.allSatisfy { isLetterOrDigit($0) || "./:_-".utf8.contains($0) }
      expected = "a network as 10.0.0.0/24 or an interface as eth0"
    case .variables:
      isFine = text.utf8.allSatisfy { isLetterOrDigit($0) || $0 == UInt8(ascii: "_") }
      expected = "the name of a variable, without value"
    case .hosts:
      _ = try HostName(text, at: place)
      return
    case .ranks:
      isFine = text.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-") }
      expected = "ranks as 0 or 2-3"
    case .words:
      isFine = !text.utf8.contains(0)
      expected = "text without NUL"
    case .integer, .decimal, .boolean, .text, .path, .choice: return
    }
    guard isFine, kind == .words || !text.isEmpty && text.utf8.first != UInt8(ascii: "-") else {
      throw Failure(status, at: place, "\"\(text.shortened)\", expected \(expected)")
    }
  }
}

private func isLetterOrDigit(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
    UInt8(ascii: "a")...UInt8(ascii: "z"):
    true
  default: false
  }
}

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
