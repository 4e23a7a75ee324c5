import Glibc
import System

/// A command that was started to hear what it says; it leads a session of its own and is ended with what it started.
package final class CapturedCommand {
  private let child: ChildProcess
  private let output: Int32
  private var hasEnded = false

  /// - Parameter words: the path of the program, then its arguments.
  package init(_ words: [String], _ environment: Environment) throws(Failure) {
    (child, output) = try Self.start(words, environment)
  }

  deinit {
    end()
    close(output)
  }

  private static func start(_ words: [String], _ environment: Environment) throws(Failure) -> (ChildProcess, Int32) {
    let pipe = try Pipe()
    let input = open("/dev/null", O_RDONLY | O_CLOEXEC)
    defer {
      close(pipe.write)
      close(input)
    }
    do throws(Failure) {
      let child = try ChildProcess(
        path: words[0], arguments: words.map { Array($0.utf8) }, environment: environment,
        descriptors: [(input, 0), (pipe.write, 1), (pipe.write, 2)])
      return (child, pipe.read)
    } catch {
      close(pipe.read)
      throw error
    }
  }

  /// What it printed until its end; nil where that takes too long.
  package func answer(until deadline: ContinuousClock.Instant) -> String? {
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

  /// Ends it if it still runs, with what it started.
  package func end() {
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

/// What `words` print, standard error included; nil where they cannot be run or take longer than `seconds`.
package func capturedOutput(_ words: [String], environment: Environment, seconds: Double) -> String? {
  let command = try? CapturedCommand(words, environment)
  return command?.answer(until: .now + .milliseconds(Int(seconds * 1000)))
}
