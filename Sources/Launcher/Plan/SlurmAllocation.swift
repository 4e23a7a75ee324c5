import System

/// The hosts and tasks that Slurm has given to this job, as its environment tells.
public struct SlurmAllocation: Sendable, Equatable {
  /// Hosts with their numbers of tasks.
  public var hosts: [HostEntry]
  /// CPUs of a task, where asked for.
  public var cpusPerTask: Int?
  /// The fewest CPUs that a task has on any host, where nothing was asked for.
  public var leastCPUsPerTask: Int?
  /// What Slurm calls this host; nil where Slurm has not started this process.
  public var nodeName: String?

  /// nil outside an allocation.
  public init?(_ environment: Environment) throws(Failure) {
    guard environment["SLURM_JOB_ID"] != nil || environment["SLURM_JOBID"] != nil else { return nil }
    guard let list = environment["SLURM_JOB_NODELIST"] ?? environment["SLURM_NODELIST"] else { return nil }
    let names = try Self.expand(list)
    let tasksName = ["SLURM_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE"].first { environment[$0] != nil }
    var tasks = [Int](repeating: 1, count: names.count)
    if let tasksName, let text = environment[tasksName] {
      tasks = try Self.counts(text, at: tasksName)
      // `--ntasks-per-node 4` is one number for all.
      if tasks.count == 1 { tasks = [Int](repeating: tasks[0], count: names.count) }
      guard tasks.count == names.count else {
        throw Failure(
          .configuration, at: tasksName,
          "\"\(text.shortened)\" is for \(counted(tasks.count, "host")), but \"\(list.shortened)\" has \(names.count)")
      }
    }
    hosts = []
    for (index, name) in names.enumerated() {
      hosts.append(HostEntry(name: try HostName(name, at: "SLURM_JOB_NODELIST"), slots: tasks[index], line: index + 1))
    }
    if let text = environment["SLURM_NTASKS"] {
      deal(tasks: try Self.number(text[...], at: "SLURM_NTASKS", 1...1_000_000))
    }
    if let text = environment["SLURM_CPUS_PER_TASK"] {
      cpusPerTask = try Self.number(text[...], at: "SLURM_CPUS_PER_TASK", 1...65_535)
    } else if let text = environment["SLURM_JOB_CPUS_PER_NODE"] {
      leastCPUsPerTask = leastCPUs(try Self.counts(text, at: "SLURM_JOB_CPUS_PER_NODE"))
    }
    nodeName = environment["SLURMD_NODENAME"]
  }

  /// The names in a list such as `gpu[1-3,07],login,n[0-1]c[2,4]`; counted before they are made.
  package static func expand(_ list: String) throws(Failure) -> [String] {
    var parts: [NodeList] = []
    var count = 0
    var bytes = 0
    for part in try split(list) {
      let names = try NodeList(part)
      count += names.count
      bytes += names.count * names.nameBytes
      guard bytes <= mostNameBytes else {
        throw bad(list, "stands for names of more than \(grouped(mostNameBytes)) characters in all")
      }
      guard count <= mostHosts else { throw bad(list, "stands for more than \(mostHosts) hosts") }
      parts.append(names)
    }
    guard count > 0 else { throw bad(list, "names no host") }
    return parts.flatMap(\.all)
  }

  static let mostHosts = 65_536
  /// Of all names together.
  static let mostNameBytes = 1 << 22

  /// Splits at commas outside brackets.
  private static func split(_ list: String) throws(Failure) -> [[UInt8]] {
    var parts: [[UInt8]] = [[]]
    var isInside = false
    for byte in list.utf8 {
      switch byte {
      case UInt8(ascii: "["):
        guard !isInside else { throw bad(list, "has a bracket inside brackets") }
        isInside = true
        parts[parts.count - 1].append(byte)
      case UInt8(ascii: "]"):
        guard isInside else { throw bad(list, "has a ] without [") }
        isInside = false
        parts[parts.count - 1].append(byte)
      case UInt8(ascii: ",") where !isInside: parts.append([])
      default: parts[parts.count - 1].append(byte)
      }
    }
    guard !isInside else { throw bad(list, "has a [ without ]") }
    return parts.filter { !$0.isEmpty }
  }

  /// The numbers in a text such as `4(x2),2`.
  package static func counts(_ text: String, at place: String) throws(Failure) -> [Int] {
    var counts: [Int] = []
    for part in text.utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
      let digits = part.prefix { $0 != UInt8(ascii: "(") }
      let count = try number(Substring(digits), at: place, 1...65_535)
      var times = 1
      let rest = part.dropFirst(digits.count)
      if !rest.isEmpty {
        guard rest.starts(with: "(x".utf8), rest.last == UInt8(ascii: ")") else {
          throw Failure(.configuration, at: place, "\"\(text.shortened)\", expected numbers as 4(x2),2")
        }
        times = try number(Substring(rest.dropFirst(2).dropLast()), at: place, 1...65_535)
      }
      guard counts.count + times <= mostHosts else {
        throw Failure(.configuration, at: place, "\"\(text.shortened)\" is for more than \(mostHosts) hosts")
      }
      counts += [Int](repeating: count, count: times)
    }
    return counts
  }

  static func number(_ text: Substring, at place: String, _ range: ClosedRange<Int>) throws(Failure) -> Int {
    guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text), range ~= number
    else {
      throw Failure(
        .configuration, at: place, "\"\(String(text).shortened)\", expected \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  static func bad(_ list: String, _ what: String) -> Failure {
    Failure(.configuration, at: "SLURM_JOB_NODELIST", "\"\(list.shortened)\" \(what), expected names as n[1-3,7]")
  }
}
