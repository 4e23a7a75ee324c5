import FileSystem
import Glibc

/// Asks all other hosts at once, before anything starts, whether they can take part.
public struct Preflight: Sendable {
  public var remote: LaunchPlan.Remote
  /// Path of ssh, or of the program that stands for it.
  public var shellPath: String
  public var program: String
  /// The folder that ranks start in.
  public var folder: String
  /// Whether the program must be the same file on every host: this package's own are.
  public var mustBeSame: Bool
  /// The launcher's binary, which stands beside each rank; nil where none does.
  public var launcher: String?
  public var seconds: Double = 15

  public init(remote: LaunchPlan.Remote, shellPath: String, program: String, folder: String, mustBeSame: Bool) {
    self.remote = remote
    self.shellPath = shellPath
    self.program = program
    self.folder = folder
    self.mustBeSame = mustBeSame
  }

  /// What a host answers with, after the marker; a login script may print other lines.
  private static let marker = "lockstep-preflight:"

  /// The text that the shell of a host runs.
  package var question: String {
    let path = shellQuoted(program)
    let sum = mustBeSame ? "set -- $(cksum < \(path)); echo \(Self.marker)same $1 $2" : "echo \(Self.marker)there"
    let keeper = launcher.map { "[ -x \(shellQuoted($0)) ] || { echo \(Self.marker)launcher; exit 0; }" }
    return [
      "command -v orted >/dev/null || { echo \(Self.marker)orted; exit 0; }",
      "cd \(shellQuoted(folder)) 2>/dev/null || { echo \(Self.marker)folder; exit 0; }",
      "[ -x \(path) ] || { echo \(Self.marker)program; exit 0; }", keeper ?? ":", sum,
    ].joined(separator: "; ")
  }

  /// The arguments of the remote shell, its own name first.
  package func arguments(for host: HostEntry) -> [String] {
    var words = [shellPath]
    if remote.shell == nil {
      words += ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5"]
      if let port = host.port ?? remote.port { words += ["-p", "\(port)"] }
      if let identity = remote.identity { words += ["-i", identity] }
      if let user = host.user { words += ["-l", user] }
      words.append("--")
    }
    return words + [host.name.description, question]
  }

  /// Asks `hosts`; the first finding ends the launch.
  public func check(_ hosts: [HostEntry], environment: Environment) throws(Failure) {
    var asked: [Asked] = []
    // On every way out: nothing of this stays behind.
    defer { for one in asked { one.end() } }
    for host in hosts { asked.append(try Asked(host, arguments(for: host), environment)) }
    let deadline = ContinuousClock.now + .milliseconds(Int(seconds * 1000))
    let expected = mustBeSame && !hosts.isEmpty ? checksum() : nil
    for index in asked.indices {
      let host = asked[index].host
      guard let answer = asked[index].answer(until: deadline) else {
        throw Failure(
          .unavailable, at: "host \(host.name)", "no answer within \(Int(seconds)) s",
          hint: "try: \(command(host))")
      }
      try judge(answer, of: host, expected: expected)
    }
  }

  private func judge(_ text: String, of host: HostEntry, expected: String?) throws(Failure) {
    let place = "host \(host.name)"
    // Over bytes: ssh ends its lines with CR LF, which is one Character.
    let lines = text.utf8.split { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }.map { String(Substring($0)) }
    guard let line = lines.last(where: { $0.hasPrefix(Self.marker) }) else {
      let said = lines.last.map { ": \($0)" } ?? ""
      throw Failure(.unavailable, at: place, "cannot be reached\(said)", hint: "try: \(command(host))")
    }
    switch String(line.dropFirst(Self.marker.utf8.count)) {
    case "orted":
      throw Failure(.unavailable, at: place, "has no Open MPI on its PATH", hint: "apt-get install openmpi-bin there")
    case "folder":
      throw Failure(
        .unavailable, at: place, "has no folder \(folder)", hint: "make it there, or give --working_folder")
    case "program":
      throw Failure(.unavailable, at: place, "has no program \(program)", hint: "copy it to the same path there")
    case "launcher":
      throw Failure(
        .unavailable, at: place, "has no \(launcher ?? "launch"), which stands beside each rank",
        hint: "copy this folder to the same path there")
    case "there": break
    case let answer:
      guard let expected, answer == "same \(expected)" else {
        throw Failure(.disagreement, at: place, "has another build of \(program)", hint: "copy this one there")
      }
    }
  }

  /// How a user asks the same by hand.
  private func command(_ host: HostEntry) -> String {
    (arguments(for: host).dropLast() + ["true"]).map(shellQuoted).joined(separator: " ")
  }

  private func checksum() -> String? {
    let words = ["/bin/sh", "-c", "set -- $(cksum < \(shellQuoted(program))); echo $1 $2"]
    let asked = try? Asked(words, .ofThisProcess())
    return asked?.answer(until: .now + .seconds(30)).map { String($0.prefix { $0 != "\n" }) }
  }
}

/// A host that was asked, and what it says.
private final class Asked {
  let host: HostEntry
  private let child: ChildProcess
  private let output: Int32
  private var hasEnded = false

  init(_ host: HostEntry, _ words: [String], _ environment: Environment) throws(Failure) {
    self.host = host
    (child, output) = try Self.start(words, environment)
  }

  convenience init(_ words: [String], _ environment: Environment) throws(Failure) {
    try self.init(HostEntry(name: try HostName("localhost", at: nil)), words, environment)
  }

  deinit { close(output) }

  private static func start(_ words: [String], _ environment: Environment) throws(Failure) -> (ChildProcess, Int32) {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw Failure(.unavailable, "pipe failed: \(lastSystemError())") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    let input = open("/dev/null", O_RDONLY | O_CLOEXEC)
    defer {
      close(ends[1])
      close(input)
    }
    do throws(Failure) {
      let child = try ChildProcess(
        path: words[0], arguments: words.map { Array($0.utf8) }, environment: environment,
        descriptors: [(input, 0), (ends[1], 1), (ends[1], 2)])
      return (child, ends[0])
    } catch {
      close(ends[0])
      throw error
    }
  }

  /// What it printed until its end; nil where that takes too long.
  func answer(until deadline: ContinuousClock.Instant) -> String? {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let left = (deadline - .now) / .milliseconds(1)
      var wait = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
      guard left > 0, poll(&wait, 1, Int32(min(left, 1e6)) + 1) > 0 else { return nil }
      let count = read(output, &buffer, buffer.count)
      guard count > 0, bytes.count < 1 << 20 else { return String(decoding: bytes, as: UTF8.self) }
      bytes += buffer[..<count]
    }
  }

  /// Ends it if it still runs, with what it started: it leads a session and a group of its own.
  func end() {
    if hasEnded { return }
    hasEnded = true
    for _ in 0..<20 {
      if child.end() != nil { return }
      usleep(5_000)
    }
    kill(-child.pid, SIGKILL)
    kill(child.pid, SIGKILL)
    while child.end() == nil { usleep(1_000) }
  }
}
