import Glibc
import System

/// The processes of one job on this machine, found by the run id in their environment.
public enum JobProcesses {
  /// The variable that every process of a job carries.
  public static let variable = "LOCKSTEP_RUN_ID"

  /// A new run id: no other job on any host has it.
  public static func newRunID() -> String {
    String(UInt64.random(in: .min ... .max), radix: 36) + "-\(getpid())"
  }

  /// The live processes with the run id `id`, without this one; those that wait to be reaped do not count.
  public static func find(runID id: String) -> [pid_t] {
    let entry = Array("\(variable)=\(id)\u{0}".utf8)
    return names(in: "/proc").compactMap { name in
      guard let pid = pid_t(name), pid != getpid() else { return nil }
      guard let environment = systemFile("/proc/\(name)/environ"), contains(environment, entry) else { return nil }
      guard let state = state(of: pid), state != UInt8(ascii: "Z"), state != UInt8(ascii: "X") else { return nil }
      return pid
    }
  }

  /// The agents of the job with the run id `id` on this machine.
  static func agents(runID id: String) -> [pid_t] {
    find(runID: id).filter { pid in
      (systemFile("/proc/\(pid)/cmdline") ?? []).split(separator: 0).contains { $0.elementsEqual("--rank-agent".utf8) }
    }
  }

  /// Kills every process with the run id `id`, and those that they start meanwhile; returns those that outlive it.
  public static func kill(runID id: String) -> [pid_t] {
    var left: [pid_t] = []
    for attempt in 0..<40 {
      left = find(runID: id)
      if left.isEmpty { break }
      for pid in left { Glibc.kill(pid, SIGKILL) }
      usleep(attempt < 10 ? 5_000 : 50_000)
    }
    return left
  }

  /// The state letter of a process; nil when it is gone. The name before it is in parentheses and may hold any byte.
  private static func state(of pid: pid_t) -> UInt8? {
    guard let stat = systemFile("/proc/\(pid)/stat"), let end = stat.lastIndex(of: UInt8(ascii: ")")) else {
      return nil
    }
    return end + 2 < stat.count ? stat[end + 2] : nil
  }

  /// The state letter of a process, and a number that grows while it computes, reads or writes; nil when it is gone.
  static func activity(of pid: pid_t) -> (letter: UInt8, activity: Int64)? {
    guard let letter = state(of: pid), let stat = systemFile("/proc/\(pid)/stat"),
      let end = stat.lastIndex(of: UInt8(ascii: ")"))
    else { return nil }
    // After the name: state, …; the times in user and kernel mode are the 12th and 13th of these, and then those of
    // children that have ended.
    let fields = stat[(end + 1)...].split(separator: 0x20).map { String(decoding: $0, as: UTF8.self) }
    var activity = fields.dropFirst(11).prefix(4).reduce(0) { $0 &+ (Int64($1) ?? 0) }
    for line in (systemText("/proc/\(pid)/io") ?? "").split(separator: "\n") {
      if line.hasPrefix("rchar: ") || line.hasPrefix("wchar: ") { activity &+= Int64(line.dropFirst(7)) ?? 0 }
    }
    return (letter, activity)
  }

  /// Whether `pid` descends from the process `ancestor`.
  static func descends(_ pid: pid_t, from ancestor: pid_t) -> Bool {
    var pid = pid
    for _ in 0..<64 where pid > 1 {
      guard let stat = systemFile("/proc/\(pid)/stat"), let end = stat.lastIndex(of: UInt8(ascii: ")")) else {
        return false
      }
      // After the name: state, parent, …
      let fields = stat[(end + 1)...].split(separator: 0x20)
      guard fields.count > 1, let parent = pid_t(String(decoding: fields[1], as: UTF8.self)) else { return false }
      if parent == ancestor { return true }
      pid = parent
    }
    return false
  }

  /// The same of a process and all that descend from it: a script waits while the program that it started works.
  static func activityOfTree(of pid: pid_t) -> (letter: UInt8, activity: Int64)? {
    guard var found = activity(of: pid) else { return nil }
    var waiting = children(of: pid)
    while let next = waiting.popLast() {
      found.activity &+= activity(of: next)?.activity ?? 0
      waiting += children(of: next)
    }
    return found
  }

  private static func children(of pid: pid_t) -> [pid_t] {
    names(in: "/proc/\(pid)/task").flatMap { thread in
      (systemText("/proc/\(pid)/task/\(thread)/children") ?? "").split(separator: " ").compactMap { pid_t($0) }
    }
  }

  /// Whether `entry`, which ends in NUL, is one of the entries of `environment`.
  private static func contains(_ environment: [UInt8], _ entry: [UInt8]) -> Bool {
    var start = 0
    while start < environment.count {
      let end = environment[start...].firstIndex(of: 0) ?? environment.count
      if environment[start..<end].elementsEqual(entry.dropLast()) { return true }
      start = end + 1
    }
    return false
  }
}
