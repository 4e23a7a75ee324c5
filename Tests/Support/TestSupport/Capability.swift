import Glibc
import Synchronization
import System
import Testing

/// What a test needs and not every machine has. Each is found out by trying it, once in a process: a user id or a file
/// that is there says little about what a container allows.
package enum Capability: Hashable, Sendable {
  /// Hosts made of network namespaces, as Tests/Cluster/with-hosts makes them.
  case hosts
  /// A limit on the rate of such a host's link.
  case slowLink
  /// A tunnel device between such hosts, as Tests/Cluster/wire makes it.
  case tunnel
  /// sshd on such a host, as Tests/Cluster/with-sshd starts it: the system's, or the one that LOCKSTEP_SSHD names.
  case sshServer
  /// A mount namespace in which a file can be mounted over another.
  case mounts
  /// A mount namespace in which a folder can be laid over another.
  case overlay
  /// An image of a file system that can be mounted, in a mount namespace.
  case loopDevices
  /// A pseudoterminal, and script(1), which runs a program on one.
  case terminal
  /// A program on the PATH, or at a path.
  case program(String)
  /// strace, as far as delaying a system call.
  case tracing
  /// gdb, as far as running a program.
  case debugger
  /// To write to the memory of a process that a test has started.
  case othersMemory
  /// qemu, as far as running this machine's programs on a CPU of x86-64.
  case emulator
  /// A control group with little memory whose processes the kernel kills.
  case memoryGroup
  /// To run a program that may not read what the file's mode forbids.
  case ordinaryUser
  /// To give a file to another user.
  case givingFiles
  /// To be root, for what the launcher does otherwise as root.
  case root
  /// Cores that this process may run on.
  case cores(Int)
  /// Memory that is free, under every limit of this process.
  case memory(megabytes: Int)
  /// Room in the folder for temporary files.
  case temporarySpace(megabytes: Int)
  /// An address of IPv6's on this machine.
  case ipv6
  /// `Tests/run --slow`.
  case patience
  /// The reference values that are too large, or not free, to be checked in.
  case reference
  /// A variable that names something.
  case variable(String)

  /// Why there is none here; nil where there is.
  package var whyMissing: String? {
    if let known = Self.found.withLock({ $0[self] }) { return known }
    // Not under the lock: one that stands on another asks for that one.
    let answer = tryIt()
    Self.found.withLock { $0[self] = .some(answer) }
    return answer
  }

  package static var sshd: String { Golden.variable("LOCKSTEP_SSHD") ?? "/usr/sbin/sshd" }

  private static let found = Mutex<[Capability: String?]>([:])
}

/// Skips a test or a suite where something that it needs is missing, with the reason.
package struct Needs: TestTrait, SuiteTrait {
  fileprivate let capabilities: [Capability]

  package var isRecursive: Bool { true }

  /// Called for tests that are to run only, so that nothing is tried in vain.
  package func prepare(for test: Test) async throws {
    for capability in capabilities {
      guard let reason = capability.whyMissing else { continue }
      try await ConditionTrait.disabled(Comment(rawValue: reason)).prepare(for: test)
    }
  }
}

extension Trait where Self == Needs {
  /// `@Test(.needs(.hosts, .program("tc")))`
  package static func needs(_ capabilities: Capability...) -> Needs { Needs(capabilities: capabilities) }
}

extension Collection {
  /// The element at `place`, counted from the first; nil where there are fewer. What a program wrote may be short.
  package subscript(at place: Int) -> Element? { place < count ? self[index(startIndex, offsetBy: place)] : nil }
}
