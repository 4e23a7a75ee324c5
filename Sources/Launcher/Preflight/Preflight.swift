import Glibc
import System

/// Asks all hosts at once, before anything starts, whether they can take part.
public struct Preflight: Sendable {
  public var plan: LaunchPlan
  /// Path of ssh, or of the program that stands for it.
  public var shellPath: String
  /// What follows it.
  public var shellOptions: [String] = []
  /// Path of mpirun.
  public var mpirun: String
  /// The folder that ranks start in.
  public var folder: String
  /// Programs that every host needs.
  public var programs: [String]
  /// Those of `programs` that must be the same file on every host: this package's own.
  public var samePrograms: Set<String>
  /// Files and folders that must be the same on every host.
  public var data: [String] = []
  /// Whether large files are compared by their content too, which takes its time.
  public var isThorough = false
  /// The hostfile that names the hosts.
  public var hostfile: String?
  /// Memory that each rank takes, where it is known.
  public var rankBytes: Int?
  /// Names of this machine.
  public var ownNames: LocalHostNames
  public var seconds: Double = 15

  public init(
    plan: LaunchPlan, shellPath: String, mpirun: String, folder: String, programs: [String],
    samePrograms: Set<String>, ownNames: LocalHostNames
  ) {
    self.plan = plan
    self.shellPath = shellPath
    self.mpirun = mpirun
    self.folder = folder
    self.programs = programs
    self.samePrograms = samePrograms
    self.ownNames = ownNames
  }

  public struct Result: Sendable {
    public var findings: [Finding] = []
    /// The network to name, where MPI might choose a wrong one.
    public var advisedNetwork: String?
    /// Whether ranks of one of the hosts have too little memory to share for MPI.
    public var isMemoryScarce = false
  }

  /// Asks the hosts of the plan, all at once.
  public func run(environment: Environment) throws(Failure) -> Result {
    let hosts =
      plan.placement?.hosts.map { (entry: Optional($0.entry), name: "host \($0.entry.name)", ranks: $0.ranks) }
      ?? [(entry: nil, name: "this machine", ranks: plan.ranks)]
    let ownCommand = try CapturedCommand(["/bin/sh", "-c", question], environment)
    var commands: [CapturedCommand?] = []
    for host in hosts {
      let isOwn = host.entry.map { ownNames.contains($0.name.description) } ?? true
      commands.append(isOwn ? nil : try CapturedCommand(arguments(for: host.entry!), environment))
    }
    let deadline = ContinuousClock.now + .milliseconds(Int(seconds * 1000))
    guard let own = ownCommand.answer(until: deadline + .seconds(15)).flatMap({ HostReport($0) }) else {
      throw Failure(.unavailable, "this machine does not answer its own shell, expected /bin/sh to work")
    }
    if let refusal = Self.refusal(of: own, at: "this machine") { throw refusal }
    let rules = PreflightRules(
      plan: plan, programs: programs, data: data, folder: folder, own: own, rankBytes: rankBytes)
    var result = Result()
    var addresses: [(name: String, addresses: [HostReport.Address])] = []
    var machines: [String: HostEntry] = [:]
    for (host, command) in zip(hosts, commands) {
      var report = own
      if let command, let entry = host.entry {
        switch answer(command, entry, deadline) {
        case .success(let answered): report = answered
        case .failure(let failure):
          result.findings.append(Finding(kind: .error, failure: failure))
          continue
        }
      }
      if let entry = host.entry, let identity = report.identity {
        if let other = machines[identity] {
          result.findings.append(Finding(kind: .error, failure: sameMachine(entry, other)))
          continue
        }
        machines[identity] = entry
      }
      if host.ranks > 1, let free = report.freeSharedBytes, free < Machine.sharedBytes(ranks: host.ranks) {
        result.isMemoryScarce = true
      }
      let found = rules.findings(of: report, at: host.name, ranks: host.ranks)
      addresses.append((host.name, report.addresses))
      if found.isEmpty {
        let cores = report.cores.map { ", \(counted($0, "core"))" } ?? ""
        let memory = report.freeMemoryBytes.map { ", \($0 >> 20) MB of memory free" } ?? ""
        result.findings.append(.fine("\(host.name): \(counted(host.ranks, "rank"))\(cores)\(memory)"))
      }
      result.findings += found
    }
    let networks = NetworkRules(addresses, networks: plan.networks)
    result.findings += networks.findings
    result.advisedNetwork = networks.advised
    return result
  }

  /// MPI would start two of its helpers on one machine, which get in each other's way.
  private func sameMachine(_ entry: HostEntry, _ other: HostEntry) -> Failure {
    Failure(
      .configuration, at: "\(hostfile ?? "the hostfile"):\(entry.line)",
      "\(entry.name) is the same machine as \(other.name) in line \(other.line)", hint: "list it once")
  }

  /// The text that the shell of a host runs.
  package var question: String {
    let daemon: String? =
      switch plan.flavour {
      case .openMPI4: "orted"
      case .openMPI5: "prted"
      case .mpich, .intel: nil
      }
    return HostReport.question(
      daemon: plan.placement == nil || plan.remote.isSlurm ? nil : daemon, mpirun: mpirun, folder: folder,
      programs: programs, summed: samePrograms, data: data, isThorough: isThorough)
  }

  /// The arguments of the remote shell, its own name first.
  package func arguments(for host: HostEntry) -> [String] {
    var words = [shellPath] + shellOptions
    if plan.remote.shell == nil {
      words += ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5"]
      if let port = host.port ?? plan.remote.port { words += ["-p", "\(port)"] }
      if let identity = plan.remote.identity { words += ["-i", identity] }
      if let user = host.user { words += ["-l", user] }
      words += plan.remote.options + ["--"]
    }
    return words + [host.name.description, question]
  }

  private func answer(
    _ question: CapturedCommand, _ host: HostEntry, _ deadline: ContinuousClock.Instant
  ) -> Swift.Result<HostReport, Failure> {
    let place = "host \(host.name)"
    guard let text = question.answer(until: deadline) else {
      return .failure(
        Failure(.unavailable, at: place, "no answer within \(Int(seconds)) s", hint: "try: \(command(host))"))
    }
    if let report = HostReport(text) {
      if let refusal = Self.refusal(of: report, at: place) { return .failure(refusal) }
      if report.isComplete { return .success(report) }
    }
    let lines = text.utf8.split { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }.map { String(Substring($0)) }
    let last = lines.last { !$0.utf8.starts(with: HostReport.marker.utf8) }
    let said = last.map { ": \($0.utf8.count > 400 ? $0.shortened : $0)" } ?? ""
    let known = Self.reasons.first { reason in lines.contains { $0.utf8.firstIndex(ofText: reason.text) != nil } }
    return .failure(
      Failure(
        .unavailable, at: place, (known?.message ?? "cannot be reached") + said,
        hint: (known.map { "\($0.hint); " } ?? "") + "try: \(command(host))"))
  }

  /// Refuses an answer that no host would give.
  private static func refusal(of report: HostReport, at place: String) -> Failure? {
    report.nonsense.map { nonsense in
      Failure(
        .unavailable, at: place, "answers \"\(nonsense)\", expected facts about a host",
        hint: "does its login script, or the remote shell, print that?")
    }
  }

  /// What ssh says, what it means, and the way out.
  private static let reasons: [(text: String, message: String, hint: String)] = [
    ("Could not resolve hostname", "its name is unknown", "mend the hostfile, or name it in /etc/hosts"),
    ("Host key verification failed", "its key is unknown", "log in once by hand and accept it"),
    ("Permission denied", "refuses the key", "ssh-copy-id to it, or --ssh_identity FILE"),
    ("Connection refused", "refuses ssh", "start sshd there, or --ssh_port N"),
    ("No route to host", "is not reached", "is it up, and on this network?"),
    ("Network is unreachable", "is not reached", "is this machine on a network that leads there?"),
    ("Connection timed out", "is not reached", "is it up, and is ssh let through?"),
  ]

  /// How a user asks the same by hand.
  private func command(_ host: HostEntry) -> String {
    (arguments(for: host).dropLast() + ["true"]).map(shellQuoted).joined(separator: " ")
  }
}
