import FileSystem
import Glibc
import Launcher
import Testing

/// `launch check` against hosts that are stand-ins: a remote shell of the test's own, which runs the question here with
/// other answers. Each message is made by its fault.
@Suite struct CheckTests {
  /// Runs `check` on the hosts `fake1` and `fake2`, with `stand-ins` (name and script) in front of the PATH of `fake2`.
  ///
  /// - Parameters:
  ///   - shell: the remote shell's script, where it is not one that runs the question.
  func check(
    _ standIns: [String: String] = [:], shell: String? = nil, hosts: String = "fake1 slots=1\nfake2 slots=2\n",
    flags: [String] = [], program: [String] = [], meminfo: String = "/proc/meminfo",
    setUp: (String) throws -> Void = { _ in }
  ) throws -> RunResult {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    func script(_ name: String, _ text: String) throws {
      try makeDirectory(parent(of: "\(folder)/\(name)"))
      try writeAtomically(Array("#!/bin/sh\n\(text)\n".utf8), to: "\(folder)/\(name)")
      chmod("\(folder)/\(name)", 0o755)
    }
    for (name, text) in standIns { try script("bin/\(name)", text) }
    // The hosts are one machine, so MPI's own helpers cannot start: the all-reduce ends at once.
    try script(
      "shell",
      shell ?? """
        host=$1; shift
        case "$*" in *lockstep-preflight*) ;; *) exit 1;; esac
        [ $host = fake2 ] || exec sh -c "$*"
        PATH=\(folder)/bin:$PATH; F=\(folder); export PATH F
        exec sh -c "$(printf '%s\\n' "$*" | sed 's,/proc/meminfo,\(meminfo == "/proc/meminfo" ? meminfo : "\(folder)/meminfo"),')"
        """)
    if meminfo != "/proc/meminfo" { try writeAtomically(Array(meminfo.utf8), to: "\(folder)/meminfo") }
    try writeAtomically(Array(hosts.utf8), to: "\(folder)/hosts")
    try setUp(folder)
    let words = ["check", "--hostfile", "\(folder)/hosts", "--remote_shell", "\(folder)/shell"]
    return try run("\(binaries)/launch", words + flags + program.map { $0 == "FOLDER" ? folder : $0 })
  }

  struct Fault: Sendable, CustomTestStringConvertible {
    var name: String
    var standIns: [String: String] = [:]
    var shell: String?
    var flags: [String] = []
    var status: Int32?
    var says: String
    var testDescription: String { name }
  }

  static let faults = [
    // N7: what ssh says of a host that cannot be reached, and what it means.
    Fault(
      name: "N7 name unknown",
      shell: "echo 'ssh: Could not resolve hostname fake1: Name or service not known' >&2; exit 255", status: 69,
      says: "error   host fake1: its name is unknown: ssh: Could not resolve hostname"),
    Fault(
      name: "N7 host key unknown", shell: "echo 'Host key verification failed.' >&2; exit 255", status: 69,
      says:
        "error   host fake1: its key is unknown: Host key verification failed. (log in once by hand and accept it; try: "
    ),
    Fault(
      name: "N7 key refused", shell: "echo 'u@fake1: Permission denied (publickey).' >&2; exit 255", status: 69,
      says:
        "error   host fake1: refuses the key: u@fake1: Permission denied (publickey). (ssh-copy-id to it, or --ssh_identity FILE; try: "
    ),
    Fault(
      name: "N7 refused", shell: "echo 'ssh: connect to host fake1 port 22: Connection refused' >&2; exit 255",
      status: 69,
      says:
        "error   host fake1: refuses ssh: ssh: connect to host fake1 port 22: Connection refused (start sshd there, or --ssh_port N"
    ),
    Fault(
      name: "N7 no route", shell: "echo 'ssh: connect to host fake1 port 22: No route to host' >&2; exit 255",
      status: 69,
      says: "error   host fake1: is not reached: ssh: connect to host fake1 port 22: No route to host (is it up"),
    Fault(
      name: "N7 black hole", shell: "echo 'ssh: connect to host fake1 port 22: Connection timed out' >&2; exit 255",
      status: 69, says: "error   host fake1: is not reached: ssh: connect"),
    Fault(name: "N7 anything else", shell: "echo odd; exit 3", status: 69, says: "cannot be reached: odd (try: "),
    Fault(name: "N7 agent hangs", shell: "exec sleep 600", status: 69, says: "no answer within 15 s (try: "),
    Fault(
      name: "N7 half an answer", shell: "shift; sh -c \"$*\" | head -n 2; exit 1", status: 69,
      says: "error   host fake1: cannot be reached"),
    // N8: what a host lacks or has otherwise.
    Fault(
      name: "N8 no MPI", shell: "shift; PATH=/nonexistent exec /bin/sh -c \"$*\"", status: 69,
      says: "has no Open MPI on its PATH (apt-get install openmpi-bin there"),
    Fault(
      name: "N8 no folder", flags: ["--working_folder", "/nonexistent"], status: 69,
      says: "has no folder /nonexistent (make it there, or give --working_folder)"),
    Fault(
      name: "N8 another build", standIns: ["cksum": "[ $# = 0 ] && echo 1 2"], status: 76,
      says: "error   host fake2: has another build of \(binaries)/selftest (copy this one there, see pack)"),
    Fault(
      name: "N8 another MPI", standIns: ["mpirun": "echo 'mpirun (Open MPI) 3.0.0'"], status: 69,
      says: "error   host fake2: has \"mpirun (Open MPI) 3.0.0\", here it is \"mpirun (Open MPI)"),
    Fault(
      name: "N8 another release of the same MPI",
      standIns: ["mpirun": "/usr/bin/mpirun --version | sed 's/[0-9]*$/99/'"],
      says: "warning host fake2: has \"mpirun (Open MPI)"),
    Fault(
      name: "N8 clock", standIns: ["date": "echo $(($(/bin/date +%s) + 86400))"],
      says: "warning host fake2: its clock is 864"),
    Fault(
      name: "N8 no room for temporary files",
      standIns: ["df": "case \"$*\" in */tmp*) echo; echo d 9 9 1024 1% /tmp;; *) exec /bin/df \"$@\";; esac"],
      says: "warning host fake2: the folder for temporary files has 1 MB free, MPI needs about 50 MB (make room"),
    Fault(
      name: "small /dev/shm",
      standIns: ["df": "case \"$*\" in */shm*) echo; echo d 9 9 2048 1% /s;; *) exec /bin/df \"$@\";; esac"],
      says: "warning host fake2: /dev/shm has 2 MB free, MPI needs about 16 MB (docker run --shm-size"),
    Fault(
      name: "oversubscription", standIns: ["nproc": "echo 1"],
      says: "warning host fake2: 2 ranks of "),
    // N9: an interface that leads nowhere.
    Fault(
      name: "N9 docker0",
      standIns: [
        "ip": #"printf '1: lo inet 127.0.0.1/8 x\n2: eth0 inet 10.0.0.2/8 x\n3: docker0 inet 172.17.0.1/16 x\n'"#
      ],
      says: "warning network: no network is common to all hosts"),
    Fault(
      name: "N9 the network named is not there", standIns: ["ip": #"printf '2: eth0 inet 10.0.0.2/24 x\n'"#],
      flags: ["--network", "10.9.0.0/16"], status: 78,
      says:
        "error   host fake2: has no interface in 10.9.0.0/16, it has eth0 10.0.0.0/24 (give --network one that all hosts have)"
    ),
    Fault(
      name: "the all-reduce cannot start", says: "error   all-reduce: "),
  ]

  @Test(arguments: faults) func isSaid(_ fault: Fault) throws {
    let result = try check(fault.standIns, shell: fault.shell, flags: fault.flags)
    #expect(result.text.contains(fault.says), "got: \(result.text) \(result.stderr)")
    if let status = fault.status { #expect(result.status == status) }
    #expect(result.seconds < 25)
  }

  @Test("N8 no program") func missingProgram() throws {
    let result = try check(
      program: ["FOLDER/p"].map { $0 }, setUp: { _ in })
    #expect(result.status == 66, "a program that is not even here")
    let there = try check(
      shell: "shift; exec sh -c \"$(printf '%s\\n' \"$*\" | sed 's,-x /bin/true,-x /nonexistent,')\"",
      program: ["/bin/true"])
    #expect(
      there.text.contains("error   host fake1: has no program /bin/true (copy it to the same path there, see pack)"))
    #expect(there.status == 69)
  }

  @Test("N8 data missing or different") func data() throws {
    let model = "\(packageFolder)/Tests/Golden/tiny-bert"
    let data = "\(packageFolder)/Tests/Golden/mrpc"
    let program = ["finetune", "--model", model, "--data", data]
    let other = try check(
      ["cksum": "[ $# = 0 ] && exec /usr/bin/cksum; /usr/bin/cksum \"$@\" | sed '/train.tsv/s/^[0-9]*/7/'"],
      program: program)
    #expect(other.text.contains("error   host fake2: has another \(data)/train.tsv (copy the data"), "\(other.text)")
    #expect(other.status == 76)
    let fewer = try check(
      ["cksum": "[ $# = 0 ] && exec /usr/bin/cksum; /usr/bin/cksum \"$@\" | grep -v dev.tsv"], program: program)
    #expect(fewer.text.contains("error   host fake2: has no \(data)/dev.tsv"), "\(fewer.text)")
    let none = try check(
      shell: "shift; exec sh -c \"$(printf '%s\\n' \"$*\" | sed 's,-e \(data) ,-e /nonexistent ,')\"", program: program)
    #expect(none.text.contains("error   host fake1: has no \(data) (copy it to the same path there)"), "\(none.text)")
    #expect(none.status == 66)
  }

  /// Before a job, large files count by their sizes; `check` reads them.
  @Test(arguments: [false, true]) func largeFiles(_ isThorough: Bool) throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    try writeAtomically([1, 2, 3], to: "\(folder)/small")
    try writeAtomically([], to: "\(folder)/large")
    truncate("\(folder)/large", 65 << 20)
    let question = HostReport.question(
      daemon: nil, mpirun: "mpirun", folder: "/", programs: [], summed: [], data: [folder], isThorough: isThorough)
    let report = try #require(HostReport(try run("/bin/sh", ["-c", question]).text))
    #expect(report.isComplete)
    #expect(report.dataSums["\(folder)/small"]?.hasSuffix(" 3") == true)
    #expect((report.dataSums["\(folder)/large"] == "0 \(65 << 20)") == !isThorough, "\(report.dataSums)")
    #expect(report.dataSums.count == 2)
  }

  @Test func memory() throws {
    let golden = "\(packageFolder)/Tests/Golden"
    let result = try check(
      program: ["finetune", "--model", "\(golden)/tiny-bert", "--data", "\(golden)/mrpc"],
      meminfo: "MemTotal: 9 kB\nMemAvailable:       1024 kB\n")
    #expect(result.text.contains("warning host fake2: 2 ranks need about "), "\(result.text)")
    #expect(result.text.contains(" MB of memory, 1 MB are free (fewer slots= there"))
  }

  @Test func hostfileAndSlots() throws {
    let bad = try check(hosts: "fake1 slots=1\nfake2 slotz=2\n")
    #expect(bad.stderr.contains("/hosts:2:7: unknown key \"slotz\"") && bad.status == 78)
    let many = try check(flags: ["-n", "4"])
    #expect(many.stderr.contains("4 ranks, but") && many.stderr.contains("raise slots=") && many.status == 64)
  }

  @Test func oneProcess() throws {
    let result = try launch("check", "-n", "1")
    #expect(result.text == "ok      one process, started without MPI: nothing to check between hosts\n")
  }

  @Test func thisMachine() throws {
    // The variable for OpenMP is no number of cores.
    let result = try launch("check", "-n", "2", environment: ["OMP_NUM_THREADS": "1"])
    #expect(!result.text.contains("want") || Cores.ofThisProcess().allowedCPUs < 2, "\(result.text)")
    #expect(result.status == 0, "\(result.text) \(result.stderr)")
    #expect(result.text.contains("all-reduce of 1 kB over 2 ranks on 1 host: "))
    #expect(result.text.contains("all-reduce of 64 MB over 2 ranks on 1 host: "))
    #expect(result.text.contains("ok      Open MPI"))
  }
}

@Suite struct NetworkJudgementTests {
  func addresses(_ text: String) -> [HostReport.Address] {
    text.split(separator: " ").map {
      let parts = $0.split(separator: "=").map(String.init)
      return HostReport.Address(interface: parts[0], parts[1])!
    }
  }

  @Test func whereEachHostStands() {
    let lo = "lo=127.0.0.1/8 "
    let clean = [("a", addresses(lo + "eth0=10.0.0.1/24")), ("b", addresses(lo + "eth0=10.0.0.2/24"))]
    #expect(NetworkJudgement(clean, networks: []).findings.isEmpty)
    // A bridge with one address on every host leads nowhere.
    let docker = [
      ("a", addresses("eth0=10.0.0.1/24 docker0=172.17.0.1/16")),
      ("b", addresses("eth0=10.0.0.2/24 docker0=172.17.0.1/16")),
    ]
    let judged = NetworkJudgement(docker, networks: [])
    #expect(judged.advised == "10.0.0.0/24")
    #expect(judged.findings.count == 2)
    #expect(
      judged.findings.first?.failure.description
        == "a: docker0 (172.17.0.1/16) leads to no other host, MPI may try it and hang (--network 10.0.0.0/24)")
    #expect(NetworkJudgement(docker, networks: ["10.0.0.0/8"]).findings.isEmpty)
    #expect(NetworkJudgement(docker, networks: ["eth0"]).findings.isEmpty)
    #expect(NetworkJudgement(docker, networks: ["10.1.0.0/16"]).findings.count == 2)
    // One host alone has a further network.
    let one = [("a", addresses("eth0=10.0.0.1/24")), ("b", addresses("eth0=10.0.0.2/24 ib0=192.168.1.2/24"))]
    #expect(NetworkJudgement(one, networks: []).findings.map(\.failure.place) == ["b"])
    // Nothing is known without `ip`.
    #expect(NetworkJudgement([("a", []), ("b", addresses("eth0=10.0.0.2/24"))], networks: []).findings.isEmpty)
  }

  @Test func badAddresses() {
    for text in ["", "/", "/8", "1.2.3/8", "1.2.3.4/33", "1.2.3.256/8", "a.b.c.d/8", "fe80::1/64"] {
      #expect(HostReport.Address(interface: "e", text) == nil, "\(text)")
    }
    #expect(HostReport.Address(interface: "tun0", "1.2.3.4")?.prefix == 32, "the end of a tunnel")
  }
}
