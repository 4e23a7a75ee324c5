import Glibc
import Launcher
import System
import TestSupport
import Testing

/// Machines that lack what MPI takes for granted: it works, or one line says what is missing.
@Suite(.serialized) struct BareMachineTests {
  @Test(
    "host names on which Open MPI 4 crashes are refused",
    arguments: [
      (String(repeating: "a", count: 60), true), (String(repeating: "a", count: 40), false),
      ("pod." + String(repeating: "a", count: 58), false),
    ]) func longHostName(name: String, isRefused: Bool)
  {
    let surroundings = HostRequirements(environment: .ofThisProcess(), hostName: name)
    let plan = LaunchPlan(program: "/bin/true", ranks: 2, cores: 2)
    var failure: Failure?
    do throws(Failure) { try surroundings.check(plan) } catch { failure = error }
    #expect(failure?.status == (isRefused ? .unavailable : nil), "\(String(describing: failure))")
    if isRefused { #expect(failure!.description.contains("60 characters")) }
  }

  static let own = LocalHostNames(hostName: "Node1", addresses: ["10.0.0.1"]) { name in
    ["node1.example.org": ["10.0.0.1"], "node1.other.org": ["10.0.0.9"]][name] ?? []
  }

  @Test(
    "this machine under other names",
    arguments: [
      ("node1", true), ("NODE1", true), ("localhost", true), ("127.0.0.1", true), ("10.0.0.1", true),
      ("node1.example.org", true), ("node1.unknown.org", true), ("node1.other.org", false), ("10.0.0.9", false),
      ("node10", false),
    ]) func names(name: String, isOwn: Bool)
  {
    #expect(Self.own.contains(name) == isOwn)
  }

  @Test("a host name with a domain is the short name of the hostfile, and not another domain's") func domain() {
    let own = LocalHostNames(hostName: "node1.example.org", addresses: ["10.0.0.1"])
    #expect(own.contains("node1") && own.contains("node1.example.org") && !own.contains("node1.other.org"))
  }

  @Test(
    "one machine twice in a hostfile is refused with both lines",
    arguments: [
      "node1 slots=1\nnode1.example.org slots=1\n", "10.0.0.1\nnode1\n", "localhost\n# us\n10.0.0.1\n",
    ]) func twice(text: String)
  {
    var failure: Failure?
    do throws(Failure) { _ = try Hostfile(Array(text.utf8), path: "h", ownName: Self.own) } catch { failure = error }
    #expect(failure?.status == .configuration)
    #expect(failure?.description.contains("is this machine, as is") ?? false)
    #expect(failure?.description.contains("in line 1") ?? false)
  }

  @Test("another machine twice is found by what it says of itself", .needs(.hosts)) func otherTwice() throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    try writeAtomically(Array("node1 slots=1\nnode2 slots=1\nnode2.example.org slots=1\n".utf8), to: "\(folder)/h")
    let result = try run(
      "\(packageFolder)/Tests/Cluster/with-hosts",
      ["2", "bash", "-c", "\(binaries)/launch --remote_shell $CLUSTER_AGENT --hostfile \(folder)/h true"])
    #expect(result.status == 78)
    #expect(
      result.error.hasPrefix("launch: error: \(folder)/h:3: node2.example.org is the same machine as node2 in line 2"),
      "\(result.stderr)")
  }

  @Test(
    "hosts whose own names have a domain, and those of the hostfile none; and the reverse", .needs(.hosts),
    arguments: [(".example.org", ""), ("", ".example.org")])
  func domains(own: String, listed: String) throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    try writeAtomically(Array("node1\(listed) slots=1\nnode2\(listed) slots=1\n".utf8), to: "\(folder)/h")
    let agent = """
      #!/bin/sh
      host=${1%.example.org}; shift
      [ $host = node2 ] || exit 1
      exec ip netns exec $host unshare --uts sh -c 'hostname "$1"; shift; exec sh -c "$*"' sh "$host\(own)" "$@"
      """
    try writeAtomically(Array(agent.utf8), to: "\(folder)/agent")
    chmod("\(folder)/agent", 0o755)
    let script = """
      hostname node1\(own)
      \(binaries)/launch --remote_shell \(folder)/agent --hostfile \(folder)/h sh -c 'echo $OMPI_COMM_WORLD_RANK $(hostname)'
      """
    let result = try run("\(packageFolder)/Tests/Cluster/with-hosts", ["2", "bash", "-c", script])
    #expect(result.status == 0, "\(result.stderr)")
    #expect(result.lines.sorted() == ["0 node1\(own)", "1 node2\(own)"], "\(result.text) \(result.stderr)")
  }

  @Test(
    "too little or no /dev/shm: ranks speak over TCP, or elsewhere, and that is said", .needs(.mounts),
    arguments: ["mount -t tmpfs -o size=4m x /dev/shm", "mount -t tmpfs -o ro x /dev/shm"])
  func smallSharedMemory(mount: String) throws {
    let script = "\(mount) && exec \(binaries)/launch -n 2 \(FailureTests.check) steps 3"
    let result = try run("/usr/bin/unshare", ["--mount", "sh", "-c", script])
    #expect(result.status == 0, "\(result.stderr)")
    let notes = result.stderr.split(separator: "\n")
    #expect(notes.count <= 1 && notes.allSatisfy { $0.contains("they speak over TCP") }, "\(result.stderr)")
    #expect(mount.contains("ro") || notes.count == 1, "\(result.stderr)")
  }

  @Test("without the loopback interface: one line", .needs(.hosts)) func noLoopback() throws {
    let result = try run("/usr/bin/unshare", ["--net", "\(binaries)/launch", "-n", "2", "true"])
    #expect(result.status == 69)
    #expect(
      result.stderr.split(separator: "\n").count == 1 && result.error.contains("interface lo is down"),
      "\(result.stderr)")
  }

  @Test("a system that forbids to read other processes' memory, as containers do", .needs(.program("python3")))
  func noCrossMemory() throws {
    let script = """
      import ctypes, os, struct, sys
      numbers = {"x86_64": [310, 311], "aarch64": [270, 271]}[os.uname().machine]
      code = lambda *words: struct.pack("HBBI", *words)
      program = code(0x20, 0, 0, 0)
      for index, number in enumerate(numbers): program += code(0x15, len(numbers) - index, 0, number)
      program += code(6, 0, 0, 0x7FFF0000) + code(6, 0, 0, 0x00050001)
      buffer = ctypes.create_string_buffer(program)
      filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer)))
      libc = ctypes.CDLL(None)
      assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(filter), 0, 0) == 0
      os.execv(sys.argv[1], sys.argv[1:])
      """
    let result = try run(
      "/usr/bin/env",
      [
        "LOCKSTEP_SHARED_MEMORY=off", "python3", "-c", script, "\(binaries)/launch", "-n", "2", "finetune",
        "--max-steps", "2",
      ])
    #expect(result.status == 0, "\(result.stderr)")
    #expect(!result.stderr.contains("Read -1"), "\(result.stderr)")
  }

  @Test("a limit on the address space is named, and no crash is called a mistake of ours") func addressSpace() throws {
    let script = "ulimit -v 300000; exec \(binaries)/launch -n 2 finetune --max-steps 2"
    let result = try run("/bin/bash", ["-c", script])
    #expect(result.status == 69, "\(result.stderr)")
    #expect(result.error.contains("its address space may have 292 MB at most (ulimit -v)"), "\(result.stderr)")
  }
}
