import Glibc
import Launcher
import System
import Testing

struct ChildProcessTests {
  @Test("a file whose number another is to have in the child reaches its own place")
  func takenNumber() throws {
    let (first, second) = (try Pipe(), try Pipe())
    let number: Int32 = 201
    try #require(dup2(first.write, number) == number)
    _ = fcntl(number, F_SETFD, FD_CLOEXEC)
    let child = try ChildProcess(
      path: "/bin/bash", arguments: ["bash", "-c", "echo one; echo two >&201"].map { Array($0.utf8) },
      environment: Environment.ofThisProcess(), descriptors: [(second.write, number), (number, STDOUT_FILENO)])
    for descriptor in [first.write, second.write, number] { close(descriptor) }
    while child.end() == nil { usleep(1000) }
    for (pipe, text) in [(first, "one\n"), (second, "two\n")] {
      var bytes = [UInt8](repeating: 0, count: 100)
      let count = read(pipe.read, &bytes, bytes.count)
      #expect(String(decoding: bytes.prefix(max(0, count)), as: UTF8.self) == text)
      close(pipe.read)
    }
  }
}
