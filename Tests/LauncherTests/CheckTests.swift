import Glibc
import Launcher
import System
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
    flags: [String] = [], command: [String] = ["check"], program: [String] = [], meminfo: String = "/proc/meminfo",
    afterwards: (String) throws -> Void = { _ in }
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
        exec sh -c "$(printf '%s\\n' "$*" | sed 's,say machine ,&2,; s,/proc/meminfo,\(meminfo == "/proc/meminfo" ? meminfo : "\(folder)/meminfo"),')"
        """)
    if meminfo != "/proc/meminfo" { try writeAtomically(Array(meminfo.utf8), to: "\(folder)/meminfo") }
    try writeAtomically(Array(hosts.utf8), to: "\(folder)/hosts")
    let words = command + ["--hostfile", "\(folder)/hosts", "--remote_shell", "\(folder)/shell"]
    let result = try run(
      "\(binaries)/launch", words + flags + program.map { $0.replacing("FOLDER", with: folder) })
    try afterwards(folder)
    return result
  }

  struct Fault: Sendable, CustomTestStringConvertible {
    var name: String
    var standIns: [String: String] = [:]
    var shell: String?
    var flags: [String] = []
    var status: Int32?
    var says: String
    var testDescription: String { name }
    /// Whether hosts say it that are asked before any job, of whatever program.
    var isOfHosts: Bool {
      ((name.hasPrefix("host: ") || name.hasPrefix("network: ")) && status != nil || name.hasPrefix("shell: "))
        && !name.contains("another build")
    }
  }

  static let faults = [
    // What ssh says of a host that cannot be reached, and what it means.
    Fault(
      name: "host: name unknown",
      shell: "echo 'ssh: Could not resolve hostname fake1: Name or service not known' >&2; exit 255", status: 69,
      says: "error   host fake1: its name is unknown: ssh: Could not resolve hostname"),
    Fault(
      name: "host: host key unknown", shell: "echo 'Host key verification failed.' >&2; exit 255", status: 69,
      says:
        "error   host fake1: its key is unknown: Host key verification failed. (log in once by hand and accept it; try: "
    ),
    Fault(
      name: "host: key refused", shell: "echo 'u@fake1: Permission denied (publickey).' >&2; exit 255", status: 69,
      says:
        "error   host fake1: refuses the key: u@fake1: Permission denied (publickey). (ssh-copy-id to it, or --ssh_identity FILE; try: "
    ),
    Fault(
      name: "host: refused", shell: "echo 'ssh: connect to host fake1 port 22: Connection refused' >&2; exit 255",
      status: 69,
      says:
        "error   host fake1: refuses ssh: ssh: connect to host fake1 port 22: Connection refused (start sshd there, or --ssh_port N"
    ),
    Fault(
      name: "host: no route", shell: "echo 'ssh: connect to host fake1 port 22: No route to host' >&2; exit 255",
      status: 69,
      says: "error   host fake1: is not reached: ssh: connect to host fake1 port 22: No route to host (is it up"),
    Fault(
      name: "host: black hole", shell: "echo 'ssh: connect to host fake1 port 22: Connection timed out' >&2; exit 255",
      status: 69, says: "error   host fake1: is not reached: ssh: connect"),
    Fault(
      name: "host: no network",
      shell: "echo 'ssh: connect to host fake1 port 22: Network is unreachable' >&2; exit 255",
      status: 69,
      says:
        "error   host fake1: is not reached: ssh: connect to host fake1 port 22: Network is unreachable (is this machine on"
    ),
    Fault(name: "host: anything else", shell: "echo odd; exit 3", status: 69, says: "cannot be reached: odd (try: "),
    Fault(name: "host: agent hangs", shell: "exec sleep 600", status: 69, says: "no answer within 15 s (try: "),
    Fault(
      name: "host: half an answer", shell: "shift; sh -c \"$*\" | head -n 2; exit 1", status: 69,
      says: "error   host fake1: cannot be reached"),
    // What a host lacks or has otherwise.
    Fault(
      name: "host: no MPI", shell: "shift; PATH=/nonexistent exec /bin/sh -c \"$*\"", status: 69,
      says: "has no Open MPI on its PATH (apt-get install openmpi-bin there"),
    Fault(
      name: "host: no folder", flags: ["--working_folder", "/nonexistent"], status: 69,
      says: "has no folder /nonexistent (make it there, or give --working_folder)"),
    Fault(
      name: "host: another build", standIns: ["cksum": "[ $# = 0 ] && echo 1 2"], status: 76,
      says: "error   host fake2: has another build of \(binaries)/selftest (copy this one there, see pack)"),
    Fault(
      name: "host: another MPI", standIns: ["mpirun": "echo 'mpirun (Open MPI) 3.0.0'"], status: 69,
      says: "error   host fake2: has \"mpirun (Open MPI) 3.0.0\", here it is \"mpirun (Open MPI)"),
    Fault(
      name: "host: another release of the same MPI",
      standIns: ["mpirun": "/usr/bin/mpirun --version | sed 's/[0-9]*$/99/'"],
      says: "warning host fake2: has \"mpirun (Open MPI)"),
    Fault(
      name: "host: clock", standIns: ["date": "echo $(($(/bin/date +%s) + 86400))"],
      says: "warning host fake2: its clock is 864"),
    Fault(
      name: "host: clock behind", standIns: ["date": "echo $(($(/bin/date +%s) - 86400))"],
      says: " s behind (set it by NTP; times in logs will not fit together)"),
    Fault(
      name: "host: no room for temporary files",
      standIns: ["df": "case \"$*\" in */tmp*) echo; echo d 9 9 1024 1% /tmp;; *) exec /bin/df \"$@\";; esac"],
      says: "warning host fake2: the folder for temporary files has 1 MB free, MPI needs about 50 MB (make room"),
    Fault(
      name: "small /dev/shm",
      standIns: ["df": "case \"$*\" in */shm*) echo; echo d 9 9 2048 1% /s;; *) exec /bin/df \"$@\";; esac"],
      says: "warning host fake2: /dev/shm has 2 MB free, MPI needs about 16 MB (docker run --shm-size"),
    Fault(
      name: "oversubscription", standIns: ["nproc": "echo 1"],
      flags: ["--num_cpu_threads_per_process", "3"],
      says: "warning host fake2: 2 ranks of 3 threads want 6 cores, it has 1 (fewer slots= there, or --num_cpu_threads"),
    // An interface that leads nowhere.
    Fault(
      name: "network: docker0",
      standIns: [
        "ip": #"printf '1: lo inet 127.0.0.1/8 x\n2: eth0 inet 10.0.0.2/8 x\n3: docker0 inet 172.17.0.1/16 x\n'"#
      ],
      says: "warning network: no network is common to all hosts"),
    Fault(
      name: "network: the network named is not there", standIns: ["ip": #"printf '2: eth0 inet 10.0.0.2/24 x\n'"#],
      flags: ["--network", "10.9.0.0/16"], status: 78,
      says:
        "error   host fake2: has no interface in 10.9.0.0/16, it has eth0 10.0.0.0/24 (give --network one that all hosts have)"
    ),
    Fault(
      name: "network: no network but the host's own", standIns: ["ip": #"printf '1: lo inet 127.0.0.1/8 x\n'"#],
      flags: ["--network", "10.9.0.0/16"], status: 78,
      says: "error   host fake2: has no interface in 10.9.0.0/16, it has none but lo"),
    Fault(
      name: "the all-reduce cannot start", status: 69,
      says:
        "error   all-reduce: ended with status 1 (a firewall, or a network that does not join the hosts: --network names"
    ),
    Fault(
      name: "shell: the remote shell is not on the PATH", flags: ["--remote_shell", "no-such-shell"], status: 69,
      says: "launch: error: no-such-shell: is not on the PATH (apt-get install openssh-client)"),
    Fault(
      name: "shell: the remote shell is missing", flags: ["--remote_shell", "/nonexistent/agent"], status: 69,
      says: "launch: error: /nonexistent/agent: cannot be started: No such file or directory"),
    Fault(
      name: "what is ignored is said", flags: ["--machine_rank", "0"],
      says: "warning --machine_rank is ignored: MPI numbers the hosts"),
    Fault(name: "an unknown option", flags: ["--no-such-option"], status: 64, says: "--no-such-option: unknown option"),
  ]

  /// What hosts answer of their interfaces, if they have `ip`.
  static let networkFaults = faults.filter { $0.name.hasPrefix("network: ") }
  static let otherFaults = faults.filter { !$0.name.hasPrefix("network: ") }

  @Test("check says every fault of a host, with the way out", arguments: otherFaults) func isSaid(_ fault: Fault) throws
  {
    try requireSaid(fault)
  }

  @Test("what check says of networks that do not join the hosts", .needs(.program("ip")), arguments: networkFaults)
  func isSaidOfNetworks(_ fault: Fault) throws { try requireSaid(fault) }

  func requireSaid(_ fault: Fault) throws {
    let result = try check(fault.standIns, shell: fault.shell, flags: fault.flags)
    #expect((result.text + result.stderr).contains(fault.says), "got: \(result.text) \(result.stderr)")
    if let status = fault.status { #expect(result.status == status) }
    #expect(result.seconds < 40)
    #expect(result.left == [])
  }

  /// The same hosts before a job: an error is one line, and nothing starts.
  @Test("every fault of a host ends a job before it starts", arguments: otherFaults.filter { $0.isOfHosts })
  func endsTheJob(_ fault: Fault) throws { try requireEnd(fault) }

  @Test(
    "networks that do not join the hosts end a job before it starts", .needs(.program("ip")),
    arguments: networkFaults.filter { $0.isOfHosts })
  func endsTheJobOfNetworks(_ fault: Fault) throws { try requireEnd(fault) }

  func requireEnd(_ fault: Fault) throws {
    let result = try check(
      fault.standIns, shell: fault.shell, flags: fault.flags, command: [], program: ["/usr/bin/touch", "FOLDER/mark"]
    ) {
      #expect(!exists("\($0)/mark"))
    }
    // The first error alone: of this machine's networks, too.
    let says =
      fault.name.hasPrefix("network: ")
      ? "launch: error: host fake1: has no interface in 10.9.0.0/16, it has "
      : fault.says.hasPrefix("error   ") ? "launch: error: \(fault.says.dropFirst(8))" : fault.says
    #expect(result.stderr.contains(says), "got: \(result.stderr)")
    #expect(result.stderr.utf8.count { $0 == 10 } == 1 && result.stdout.isEmpty, "\(result.text) \(result.stderr)")
    #expect(result.status == fault.status)
    #expect(result.left == [])
  }

  @Test("no file numbers are left") func noFiles() throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    let hosts = "\(folder)/hosts"
    try writeAtomically(Array("fake1 slots=1\nfake2 slots=1\n".utf8), to: hosts)
    let results = try [5, 12, 40, 63].map { limit in
      try run(
        "/bin/sh",
        [
          "-c", "ulimit -n \(limit); exec \"$0\" check --hostfile \"$1\" --remote_shell /bin/false finetune",
          "\(binaries)/launch", hosts,
        ])
    }
    #expect(results.allSatisfy { $0.status == 69 }, "\(results.map(\.stderr))")
    #expect(results.first?.error.hasPrefix("launch: error: ") == true, "\(results.map(\.stderr))")
  }

  @Test("a program that a host lacks is named") func missingProgram() throws {
    #expect(try check(program: ["FOLDER/p"]).status == 66, "a program that is not even here")
    let there = try check(
      shell: "shift; exec sh -c \"$(printf '%s\\n' \"$*\" | sed 's,-x /bin/true,-x /nonexistent,')\"",
      program: ["/bin/true"])
    #expect(
      there.text.contains("error   host fake1: has no program /bin/true (copy it to the same path there, see pack)"))
    #expect(there.status == 69)
  }

  @Test("data of a program whose ranks all read it, which a host lacks or has otherwise, is named") func data() throws {
    let model = "\(packageFolder)/Tests/Golden/tiny-bert"
    let data = "\(packageFolder)/Tests/Golden/mrpc"
    let program = ["bench", "step", "--model", model, "--data", data]
    let other = try check(
      ["cksum": "[ $# = 0 ] && exec /usr/bin/cksum; /usr/bin/cksum \"$@\" | sed '/train.tsv/s/^[0-9]*/7/'"],
      program: program)
    #expect(other.text.contains("error   host fake2: has another \(data)/train.tsv (copy the data"), "\(other.text)")
    #expect(other.status == 76)
    // Tables of one's own, and the model under its other name.
    for file in ["\(data)/train.tsv", "\(data)/dev.tsv", "\(model)/vocab.txt"] {
      let name = file.split(separator: "/").last ?? ""
      let own = try check(
        ["cksum": "[ $# = 0 ] && exec /usr/bin/cksum; /usr/bin/cksum \"$@\" | sed '/\(name)/s/^[0-9]*/7/'"],
        program: [
          "bench", "--model_name_or_path", model, "--train_file=\(data)/train.tsv", "--validation-file",
          "\(data)/dev.tsv",
        ])
      #expect(own.text.contains("error   host fake2: has another \(file) "), "\(own.text)")
    }
    let fewer = try check(
      ["cksum": "[ $# = 0 ] && exec /usr/bin/cksum; /usr/bin/cksum \"$@\" | grep -v dev.tsv"], program: program)
    #expect(fewer.text.contains("error   host fake2: has no \(data)/dev.tsv"), "\(fewer.text)")
    let more = try check(
      ["cksum": "[ $# = 0 ] && exec /usr/bin/cksum; /usr/bin/cksum \"$@\"; echo 1 2 \(data)/extra.tsv"],
      program: program)
    #expect(
      more.text.contains("error   host fake2: has \(data)/extra.tsv, which is not here (copy the"), "\(more.text)")
    #expect(more.status == 76)
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

  static let memoryPrograms: [[String]] = [
    ["--model", "tiny-bert", "--data", "mrpc"],
    ["--model_name_or_path", "tiny-bert", "--task_name", "stsb", "--data", "tasks/STS-B"],
  ]

  @Test(arguments: memoryPrograms) func memory(_ options: [String]) throws {
    let golden = "\(packageFolder)/Tests/Golden"
    let result = try check(
      program: ["finetune"] + options.map { $0.hasPrefix("t") || $0 == "mrpc" ? "\(golden)/\($0)" : $0 },
      meminfo: "MemTotal: 9 kB\nMemAvailable:       1024 kB\n")
    #expect(result.text.contains("warning host fake2: 2 ranks need about "), "\(result.text)")
    #expect(result.text.contains(" MB of memory, 1 MB are free (fewer slots= there"))
    // Of the host that is well, all that is known.
    #expect(result.text.contains("ok      host fake1: 1 rank, ") && result.text.contains(" MB of memory free\n"))
    #expect(result.text.contains("/hosts: 3 ranks: fake1 1 (line 1), fake2 2 (line 2)\n"), "\(result.text)")
  }

  @Test func hostfileAndSlots() throws {
    let bad = try check(hosts: "fake1 slots=1\nfake2 slotz=2\n")
    #expect(bad.stderr.contains("/hosts:2:7: unknown key \"slotz\"") && bad.status == 78)
    let many = try check(flags: ["-n", "4"])
    #expect(many.stderr.contains("4 ranks, but") && many.stderr.contains("raise slots=") && many.status == 64)
  }
}
