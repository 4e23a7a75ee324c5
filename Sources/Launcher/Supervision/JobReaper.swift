import Glibc
import System

/// A process of the launcher's binary that outlives it. Where the launcher is killed, it waits until mpirun has ended its
/// ranks, ends what is left of the job on this host, and removes what an mpirun whose output is broken leaves behind.
public struct JobReaper: Sendable {
  /// The first argument that makes the launcher's own binary a reaper.
  public static let marker = "--reap-after"
  /// The reaper's end of the pipe that ends with the launcher; a number out of the way of what a process has open.
  private static let lifelineDescriptor: Int32 = 63
  /// What the launcher writes when nothing is left to do.
  private static let dismissal = UInt8(ascii: "\n")
  /// How long mpirun may take to end its ranks.
  private static let patienceSeconds = 6.0

  private let child: ChildProcess
  private let lifeline: Int32

  /// Starts one for the job `runID`.
  init(launcher: String, runID: String, _ environment: Environment) throws(Failure) {
    let pipe = try Pipe()
    // The user's own files are not for it: who reads them would wait for its end.
    let nothing = open("/dev/null", O_RDWR | O_CLOEXEC)
    defer { for descriptor in [pipe.read, nothing] { close(descriptor) } }
    lifeline = pipe.write
    child = try ChildProcess(
      path: launcher, arguments: ["launch", Self.marker, runID].map { Array($0.utf8) },
      environment: environment,
      descriptors: [(pipe.read, Self.lifelineDescriptor)] + (0...2).map { (nothing, $0) })
  }

  /// Tells it what mpirun may leave.
  func tell(_ remains: JobRemains) { write(Array("\(remains.holder)".utf8)) }

  /// Ends it: the launcher has cleaned up by itself.
  func dismiss() {
    write([Self.dismissal])
    close(lifeline)
    while waitpid(child.pid, nil, 0) < 0 && errno == EINTR {}
  }

  private func write(_ bytes: [UInt8]) { _ = Glibc.write(lifeline, bytes, bytes.count) }

  /// Acts as the reaper where `arguments` (the process's own, as bytes) ask for it; returns otherwise.
  public static func runIfAsked(_ arguments: [[UInt8]], _ environment: Environment) {
    guard arguments.count == 3, arguments[1].elementsEqual(marker.utf8) else { return }
    var told: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = read(lifelineDescriptor, &buffer, buffer.count)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { break }
      told += buffer[..<count]
    }
    guard told.last != dismissal else { exit(0) }
    let runID = String(decoding: arguments[2], as: UTF8.self)
    let deadline = ContinuousClock.now + .seconds(patienceSeconds)
    while !JobProcesses.find(runID: runID).isEmpty && ContinuousClock.now < deadline { usleep(50_000) }
    _ = JobProcesses.kill(runID: runID)
    if let holder = pid_t(String(decoding: told, as: UTF8.self)) {
      JobRemains(holder: holder).remove(from: JobRemains.Places(environment))
    }
    exit(0)
  }
}
