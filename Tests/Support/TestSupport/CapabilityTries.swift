import Glibc
import System

extension Capability {
  /// Why it is missing, after trying it; nil where it works.
  func tryIt() -> String? {
    switch self {
    case .hosts:
      failure(
        "network namespaces as hosts cannot be made here",
        of: [Self.withHosts, "2", "sh", "-c", "\"$CLUSTER_AGENT\" node2 true"])
    case .slowLink:
      Self.hosts.whyMissing
        ?? failure(
          "a link cannot be made slow here",
          of: [Self.withHosts, "1"] + "tc qdisc add dev eth0 root tbf rate 10mbit burst 32kbit latency 400ms".words)
    case .tunnel: Self.hosts.whyMissing ?? Self.tryTunnel()
    case .sshServer: Self.hosts.whyMissing ?? Self.program(Self.sshd).whyMissing ?? Self.trySSH()
    case .mounts:
      failure("nothing can be mounted here", of: "unshare --mount mount --bind /etc/passwd /etc/hosts".words)
    case .overlay:
      failure(
        "overlays cannot be mounted here",
        of: "unshare --mount mount -t overlay overlay -o lowerdir=/etc:/usr /usr".words)
    case .loopDevices:
      Self.program("mkfs.ext4").whyMissing
        ?? failure(
          "an image cannot be mounted here",
          of: [
            "unshare", "--mount", "sh", "-c",
            "i=$(mktemp) && truncate -s 4M $i && mkfs.ext4 -q -F $i && mount -o loop $i /mnt; s=$?; rm -f $i; exit $s",
          ])
    case .terminal:
      Self.program("script").whyMissing
        ?? failure("a pseudoterminal cannot be opened here", of: ["script", "-qec", "test -t 0", "/dev/null"])
    case .program(let name): Self.find(name) == nil ? "\(name) is not installed" : nil
    case .tracing:
      Self.program("strace").whyMissing
        ?? failure(
          "strace cannot delay a system call here",
          of: "strace -f -o /dev/null -e trace=fsync -e inject=fsync:delay_enter=1:when=1 true".words)
    case .debugger:
      Self.program("gdb").whyMissing
        ?? failure("gdb cannot run a program here", of: "gdb --batch --ex run --return-child-result true".words)
    case .othersMemory: Self.tryOthersMemory()
    case .emulator:
      Self.program("qemu-x86_64").whyMissing
        ?? failure("qemu cannot run this machine's programs", of: ["qemu-x86_64", "/bin/true"])
    case .memoryGroup: MemoryGroup.tryIt()
    case .ordinaryUser: geteuid() != 0 ? nil : Self.trySetpriv()
    case .givingFiles: Self.tryGiving()
    case .root: geteuid() == 0 ? nil : "only root is treated so, and this user is not root"
    case .cores(let count):
      Self.cores >= count ? nil : "needs \(count) cores, and these processes may use \(Self.cores)"
    case .memory(let megabytes): Self.lack(of: "memory", needed: megabytes, free: FreeMemory.ofThisProcess() >> 20)
    case .temporarySpace(let megabytes):
      Self.lack(of: "room in the folder for temporary files", needed: megabytes, free: Self.temporarySpace >> 20)
    case .ipv6: Self.tryIPv6()
    case .patience: Self.variable("LOCKSTEP_SLOW").whyMissing.map { _ in "takes long; Tests/run --slow runs it" }
    case .reference: Self.variable("LOCKSTEP_REFERENCE").whyMissing
    case .variable(let name): Golden.variable(name) == nil ? "\(name) is not set" : nil
    }
  }

  private static var withHosts: String { "\(Golden.testsFolder)/Cluster/with-hosts" }

  /// The last line of a program that fails says why.
  private func failure(_ what: String, of command: [String]) -> String? {
    do {
      let outcome = try Program.run(command)
      if outcome.status == 0 { return nil }
      return "\(what): \(outcome.errorLines.last ?? "\(command.first ?? "") ended with status \(outcome.status)")"
    } catch {
      return "\(what): \(error)"
    }
  }

  private static func tryOthersMemory() -> String? {
    guard let program = try? Program(["sleep", "60"]) else { return "sleep cannot be started" }
    let memory = open("/proc/\(program.process)/mem", O_RDWR | O_CLOEXEC)
    let why = memory < 0 ? "the memory of another process cannot be written: \(lastSystemError())" : nil
    close(memory)
    kill(program.process, SIGKILL)
    _ = program.wait(seconds: 10)
    return why
  }

  private static func find(_ program: String) -> String? {
    let folders = program.contains("/") ? [""] : (Golden.variable("PATH") ?? "").split(separator: ":").map { "\($0)/" }
    return folders.map { $0 + program }.first { path in access(path, X_OK) == 0 }
  }

  private static func trySSH() -> String? {
    Self.hosts.failure(
      "sshd cannot run on a host here",
      of: [
        withHosts, "2", "\(Golden.testsFolder)/Cluster/with-sshd", sshd, "bash", "-c",
        "ssh -p 2222 -i $SSH_KEY -o BatchMode=yes node2 true",
      ])
  }

  private static func tryTunnel() -> String? {
    // Its first line says that it is up; else it has ended.
    Self.hosts.failure(
      "a tunnel device cannot be made here",
      of: [
        withHosts, "2", "bash", "-c",
        "coproc \(Golden.testsFolder)/Cluster/wire 1 0; read -r line <&${COPROC[0]}; kill $COPROC_PID; [[ $line == up ]]",
      ])
  }

  private static func tryGiving() -> String? {
    withUnreadableFile("a file cannot be given to another user here") { path in
      chown(path, 65_534, 65_534) == 0 ? nil : lastSystemError()
    }
  }

  private static func trySetpriv() -> String? {
    withUnreadableFile("root cannot give up its rights here") { path in
      let outcome = try Program.run("setpriv --bounding-set=-all --inh-caps=-all cat".words + [path])
      return outcome.errors.contains("Permission denied") ? nil : outcome.errorLines.last ?? "cat reads what it may not"
    }
  }

  /// What `body` says is wrong after `what`; nil where nothing is.
  private static func withUnreadableFile(_ what: String, _ body: (String) throws -> String?) -> String? {
    do {
      let folder = try TemporaryFolder()
      return try withExtendedLifetime(folder) {
        let path = try folder.write("", "unreadable")
        chmod(path, 0)
        return try body(path).map { "\(what): \($0)" }
      }
    } catch {
      return "\(what): \(error)"
    }
  }

  /// Counted from the mask of CPUs, in hexadecimal.
  private static var cores: Int {
    let line = systemText("/proc/self/status").split(separator: "\n").first { $0.hasPrefix("Cpus_allowed:") } ?? ""
    return line.dropFirst("Cpus_allowed:".count).reduce(0) { $0 + ($1.hexDigitValue?.nonzeroBitCount ?? 0) }
  }

  private static func lack(of what: String, needed: Int, free: Int) -> String? {
    free >= needed ? nil : "needs \(needed) MB of \(what), \(free) MB are free"
  }

  private static var temporarySpace: Int {
    var info = statvfs()
    guard statvfs("/tmp", &info) == 0 else { return 0 }
    return Int(info.f_bavail) * Int(info.f_frsize)
  }

  private static func tryIPv6() -> String? {
    let socket = socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
    guard socket >= 0 else { return "there is no IPv6 here: \(lastSystemError())" }
    defer { close(socket) }
    var address = sockaddr_in6()
    address.sin6_family = sa_family_t(AF_INET6)
    address.sin6_addr = in6addr_loopback
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
      }
    }
    return result == 0 ? nil : "there is no IPv6 here: \(lastSystemError())"
  }
}

extension String {
  fileprivate var words: [String] { split(separator: " ").map(String.init) }
}
