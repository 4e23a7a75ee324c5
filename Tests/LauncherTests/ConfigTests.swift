import Glibc
import Launcher
import System
import Testing

@Suite struct ConfigFileTests {
  struct Bad: Sendable, CustomTestStringConvertible {
    var row: String
    var text: String
    /// What follows the file's name.
    var place: String
    var says: String
    var testDescription: String { row }
    init(_ row: String, _ text: String, _ place: String, _ says: String) {
      (self.row, self.text, self.place, self.says) = (row, text, place, says)
    }

    /// Some rows are bytes that no text has.
    var bytes: [UInt8] {
      switch row {
      case "UTF-16": [0xFF, 0xFE] + text.utf16.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] }
      case "UTF-16, high byte first": [0xFE, 0xFF] + text.utf16.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }
      case "invalid UTF-8": Array(text.utf8) + [0x61, 0xFF, 0x0A]
      default: Array(text.utf8)
      }
    }
  }

  static let bomb = (0..<9).map {
    "a\($0): &a\($0) [\($0 == 0 ? "x" : Array(repeating: "*a\($0 - 1)", count: 9).joined(separator: ","))]\n"
  }
  .joined()

  static let bad = [
    Bad("bomb", bomb, ":1:5", "anchor"),
    Bad("bomb as key", bomb + "? *a8\n: 1\n", ":", "anchor"),
    Bad("nested brackets", "lockstep: " + String(repeating: "[", count: 1001), ":1", "nested more than 100"),
    Bad("nested a million", String(repeating: "[", count: 1_000_000), ":1", "nested more than 100"),
    Bad("key twice", "num_processes: 1\nnum_processes: 2\n", ":", "key twice: \"num_processes\""),
    Bad("tab", "lockstep:\n\tbinding: core\n", ":2:1", "not YAML"),
    Bad("unknown", "num_proceses: 2\n", ":1:1", "did you mean num_processes?"),
    Bad("unknown below", "lockstep:\n  bindin: core\n", ":2:3", "did you mean binding?"),
    Bad(
      "unknown in mpirun_config", "mpirun_config:\n  mpirun_hostfil: x\n", ":2:3", "did you mean mpirun_hostfile?"),
    Bad("word", "num_processes: two\n", ":1:16", "\"two\", expected a whole number"),
    Bad("list", "num_processes: [2]\n", ":1:16", "is a list, expected one value"),
    Bad("map", "mixed_precision: {a: 1}\n", ":1:18", "is a mapping"),
    Bad("section", "lockstep: 3\n", ":1:11", "lockstep is a single value, expected keys"),
    Bad("off", "mixed_precision: off\n", ":1:18", "expected no or bf16"),
    Bad("text that is a boolean", "mpirun_config:\n  mpirun_hostfile: no\n", ":2:20", "expected a text"),
    Bad("octal", "num_processes: 010\n", ":1:16", "\"010\""),
    Bad("underscore", "num_processes: 1_000\n", ":1:16", "\"1_000\""),
    Bad("base 60", "num_processes: 12:30\n", ":1:16", "\"12:30\""),
    Bad("hexadecimal", "num_processes: 0x10\n", ":1:16", "\"0x10\""),
    Bad("fraction", "num_processes: 2.0\n", ":1:16", "\"2.0\""),
    Bad("exponent", "num_processes: 1e3\n", ":1:16", "\"1e3\""),
    Bad("zero", "num_processes: 0\n", ":1:16", "\"0\""),
    Bad("negative", "num_machines: -1\n", ":1:15", "\"-1\", expected a whole number from 1"),
    Bad("negative ranks", "num_processes: -3\n", ":1:16", "\"-3\", expected a whole number from 1"),
    Bad("port zero", "main_process_port: 0\n", ":1:20", "expected a whole number from 1 to 65535"),
    Bad(
      "machine's rank", "num_machines: 2\nmachine_rank: 2\n", ":2:15",
      "machine_rank is 2, expected less than num_machines 2"),
    Bad("beyond Int", "num_processes: 100000000000000000000\n", ":1:16", "expected a whole number"),
    Bad("port", "main_process_port: 99999\n", ":1:20", "expected a whole number from 1 to 65535"),
    Bad("two documents", "num_processes: 1\n---\nnum_processes: 2\n", ":", "document"),
    Bad("empty", "", "", "is empty"),
    Bad("comments", "# nothing\n", "", "is empty"),
    Bad("null", "null\n", ":1:1", "expected keys with values"),
    Bad("scalar", "hello\n", ":1:1", "is a single value, expected keys with values"),
    Bad("list", "- a\n", ":1:1", "is a list"),
    Bad("nested dashes", String(repeating: "- ", count: 100_000) + "a\n", ":1", "nested more than 100"),
    Bad("tag", "num_processes: !!python/object/apply:os.system ['id']\n", ":1:16", "has a tag"),
    Bad("binary", "mixed_precision: !!binary bm8=\n", ":1:18", "has a tag"),
    Bad("recursive alias", "lockstep: &a\n  export: *a\n", ":1:11", "anchor"),
    Bad("another's key", "mpirun_hostfile: x\n", ":1:1", "unknown key"),
    Bad("network", "lockstep:\n  network: [10.0.0.0/8, a b]\n", ":2:25", "expected a network as"),
    Bad("host", "lockstep:\n  include: ['a;b']\n", ":2:13", "has \";\""),
    Bad("merge", "<<: {num_processes: 2}\n", ":1:1", "merge key"),
    Bad("UTF-16", "num_processes: 2\n", "", "is UTF-16, expected UTF-8"),
    Bad("UTF-16, high byte first", "num_processes: 2\n", "", "is UTF-16, expected UTF-8"),
    Bad("invalid UTF-8", "num_processes: 2\n", "", "is not UTF-8"),
    Bad("a BOM and nothing else", "\u{FEFF}", "", "is empty"),
    Bad("NUL", "num_processes: 1\n\u{0}\n", ":2", "NUL"),
    Bad("undefined alias", "num_processes: *x\n", ":1:16", "alias"),
    Bad("GPU", "distributed_type: MULTI_GPU\n", ":1:19", "expected NO or MULTI_CPU"),
    Bad("fp16", "fp16: true\n", ":1:7", "fp16 needs a GPU"),
    Bad("mixed fp16", "mixed_precision: fp16\n", ":1:18", "fp16 needs a GPU"),
    Bad("SageMaker", "compute_environment: AMAZON_SAGEMAKER\n", ":1:22", "no SageMaker"),
    Bad("SageMaker key", "ec2_instance_type: ml.p3\n", ":1:1", "SageMaker"),
  ]

  @Test func aFileThatEndsInAnEscapeIsRefused() {
    #expect(throws: Failure.self) { try ConfigFile(Array("lockstep: {network: [\"\\".utf8), path: "c.yaml") }
  }

  @Test("bad configuration files are refused, with line and column", arguments: bad) func refused(_ bad: Bad) {
    do throws(Failure) {
      let file = try ConfigFile(bad.bytes, path: "c.yaml")
      Issue.record("accepted: \(file.values)")
    } catch {
      #expect(error.status == .configuration)
      #expect(error.place?.hasPrefix("c.yaml" + bad.place) == true, "place: \(error.place ?? "none")")
      #expect(error.description.contains(bad.says), "got: \(error)")
      #expect(error.description.utf8.count < 400)
    }
  }

  @Test func whatOnlyLooksLikeAnAnchor() throws {
    let text = "lockstep:\n  log_dir: 'it''s &a [[ *b'\n  mpirun_arguments: [a-b, c&d, \"\\\" &x\"] # &c\n"
    let file = try ConfigFile(Array(text.utf8), path: "c")
    #expect(file.plainValues["log_dir"] == .text("it's &a [[ *b"))
    #expect(file.plainValues["mpirun_arguments"] == .list(["a-b", "c&d", "\" &x"]))
  }

  @Test("what is legal: no, off and on, ~ and nothing for what is not set, a BOM, CRLF") func legal() throws {
    let text =
      "\u{FEFF}mixed_precision: no\r\ndebug: off\r\nnum_processes: ~\r\nnum_machines:\r\nlockstep:\r\n  tee: on\r\n"
    #expect(
      try ConfigFile(Array(text.utf8), path: "c").plainValues == [
        "mixed_precision": .text("no"), "debug": .boolean(false), "tee": .boolean(true),
      ])
  }

  /// The forms that Accelerate's releases have written: with and without the newer keys, nulls, YAML 1.1 booleans.
  @Test func formsOfAccelerate() throws {
    let oldest = """
      compute_environment: LOCAL_MACHINE
      deepspeed_config: {}
      distributed_type: 'NO'
      fp16: false
      machine_rank: 0
      main_process_ip: null
      main_process_port: null
      main_training_function: main
      num_machines: 1
      num_processes: 1
      """
    let old = try ConfigFile(Array(oldest.utf8), path: "c")
    #expect(old.plainValues == ["num_machines": .integer(1), "num_processes": .integer(1)])
    #expect(old.distributedType == "NO")
    #expect(old.ignored.map(\.key) == ["deepspeed_config", "fp16", "machine_rank", "main_training_function"])

    let mpi = """
      compute_environment: LOCAL_MACHINE
      debug: false
      distributed_type: MULTI_CPU
      downcast_bf16: 'no'
      ipex_config:
        ipex: false
      machine_rank: 0
      main_process_ip: 127.0.0.1
      main_process_port: 29500
      main_training_function: main
      mixed_precision: no
      mpirun_config:
        mpirun_ccl: '1'
        mpirun_hostfile: /home/user/hostfile
      num_machines: 4
      num_processes: 16
      rdzv_backend: static
      same_network: true
      tpu_env: []
      tpu_use_cluster: false
      use_cpu: true
      """
    let file = try ConfigFile(Array(("\u{FEFF}" + mpi).utf8), path: "c")
    #expect(
      file.plainValues == [
        "debug": .boolean(false), "mixed_precision": .text("no"), "num_machines": .integer(4),
        "num_processes": .integer(16), "mpirun_hostfile": .text("/home/user/hostfile"),
      ])
    #expect(file.values["num_processes"]?.line == 16)
  }

  @Test func ownKeys() throws {
    let text = """
      num_processes: -1
      lockstep:
        ranks_per_host: 3
        threads_per_rank: 2
        network: [10.0.0.0/24, eth0]
        export: HF_HOME
        binding: core
      """
    let file = try ConfigFile(Array(text.utf8), path: "c")
    #expect(
      file.plainValues == [
        "ranks_per_host": .integer(3), "num_cpu_threads_per_process": .integer(2),
        "network": .list(["10.0.0.0/24", "eth0"]), "export": .list(["HF_HOME"]), "binding": .text("core"),
      ])
  }

  @Test func whatIsWrittenReadsBack() throws {
    let values: [String: SettingValue] = [
      "num_processes": .integer(4), "mpirun_hostfile": .text("it's a #file: no"), "debug": .boolean(true),
      "network": .list(["eth0", "10.0.0.0/8"]), "mixed_precision": .text("no"), "log_dir": .text("12"),
    ]
    #expect(try ConfigFile(Array(ConfigFile.text(values).utf8), path: "c").plainValues == values)
  }
}

@Suite struct SettingsTests {
  func settings(
    _ flags: [String: [String]] = [:], _ variables: [String: String] = [:], _ yaml: String? = nil
  ) throws -> Settings {
    try Settings(
      flags: flags, environment: Environment(variables),
      file: try yaml.map { try ConfigFile(Array($0.utf8), path: "c") })
  }

  @Test func flagThenVariableThenFile() throws {
    let yaml = "num_processes: 2\nlockstep:\n  threads_per_rank: 2\n"
    let all = try settings(["num_processes": ["4"]], ["LOCKSTEP_NUM_PROCESSES": "3", "OMP_NUM_THREADS": "5"], yaml)
    #expect(all[.processes] == 4)
    #expect(all.origin(.processes) == .flag("--num_processes"))
    #expect(all.values["num_processes"]?.overridden == ["variable LOCKSTEP_NUM_PROCESSES says 3", "c:1 says 2"])
    #expect(all.origin(.threads) == .variable("OMP_NUM_THREADS"))
    let file = try settings([:], [:], yaml)
    #expect(file.origin(.threads) == .file(path: "c", line: 3))
  }

  @Test func aFlagsMistakeIsUsage() throws {
    do throws(Failure) {
      _ = try Settings(flags: ["binding": ["cor"]], environment: Environment(), file: nil)
      Issue.record("accepted")
    } catch {
      #expect(error.status == .usage)
      #expect(error.description == "--binding: \"cor\", expected none or core or socket or numa (did you mean core?)")
    }
  }

  func cluster(_ hostfile: String?, _ flags: [String: [String]] = [:], _ yaml: String? = nil, cores: Int = 4) throws
    -> ClusterPlan
  {
    let folder = try temporaryFolder()
    defer {
      unlink("\(folder)/h")
      rmdir(folder)
    }
    var flags = flags
    if let hostfile {
      try writeAtomically(Array(hostfile.utf8), to: "\(folder)/h")
      flags["mpirun_hostfile"] = ["\(folder)/h"]
    }
    return try ClusterPlan(try settings(flags, [:], yaml), cores: cores, isSingleProcess: false, ownName: "me")
  }

  @Test func ranksOfHosts() throws {
    #expect(try cluster("a slots=2\nb slots=1\n").placement?.hostfile == "a slots=2\nb slots=1\n")
    #expect(
      try cluster("a\nb\nc\n", ["num_processes": ["7"]]).placement?.hostfile == "a slots=3\nb slots=2\nc slots=2\n")
    #expect(try cluster("a\nb\n", ["ranks_per_host": ["2"]]).ranks == 4)
    #expect(try cluster("a\nb\nc\n", ["ranks_per_host": ["2"], "num_machines": ["2"]]).ranks == 4)
    #expect(try cluster("a slots=1\nb slots=2\n", ["exclude": ["a"]]).placement?.hostfile == "b slots=2\n")
    #expect(try cluster("a slots=1\nb slots=2\n", ["include": ["a"]]).placement?.hostfile == "a slots=1\n")
    #expect(try cluster("a slots=4\nb slots=2\n", cores: 8).threadsPerRank == 2)
    #expect(try cluster(nil).ranks == 4)
    #expect(try cluster(nil, [:], "distributed_type: NO\n").ranks == 1)
    #expect(try cluster(nil, [:], "distributed_type: MULTI_CPU\nnum_processes: 8\n").ranks == 8)
  }

  @Test func contradictions() throws {
    func refusal(_ hostfile: String?, _ flags: [String: [String]] = [:], _ yaml: String? = nil) -> String {
      do {
        return "accepted \(try cluster(hostfile, flags, yaml))"
      } catch { return "\(error)" }
    }
    #expect(refusal("a slots=2\n", ["num_processes": ["3"]]).contains("3 ranks, but"))
    #expect(refusal("a slots=2\n", [:], "num_processes: 1\n").contains("c:1: num_processes is 1, but"))
    #expect(refusal("a\nb slots=1\n").contains("host a has no slots"))
    #expect(refusal("a\n").contains("has no slots"))
    #expect(refusal("a slots=1\n", ["num_machines": ["2"]]).contains("2 machines, but"))
    #expect(refusal("alpha slots=1\n", ["exclude": ["alpah"]]).contains("did you mean alpha?"))
    #expect(refusal("a slots=1\n", ["exclude": ["a"]]).contains("leaves no host"))
    #expect(refusal(nil, ["num_machines": ["2"]]).contains("nothing says which"))
    #expect(refusal(nil, ["include": ["a"]]).contains("there is no hostfile"))
  }
}

@Suite struct ConfigCommandTests {
  @Test func makesChangesAndExplains() throws {
    let folder = try temporaryFolder()
    defer {
      unlink("\(folder)/c.yaml")
      rmdir(folder)
    }
    let path = "\(folder)/c.yaml"
    #expect(try launch("config", "default", "--config_file", path).text == "configuration saved at \(path)\n")
    #expect(try launch("config", "default", "--config_file", path).text.contains("will not override"))
    #expect(try launch("config", "set", "--config-file", path, "num_processes=3", "lockstep.binding=core").status == 0)
    let clear: [String: String?] = ["OMP_NUM_THREADS": nil, "OPENBLAS_NUM_THREADS": nil, "LOCKSTEP_NUM_THREADS": nil]
    let explained = try launch(
      "config", "explain", "--config_file", path, "--num_cpu_threads_per_process", "2", environment: clear)
    #expect(explained.text.contains("num_processes                3     \(path):4\n"), "got: \(explained.text)")
    #expect(explained.text.contains("flag --num_cpu_threads_per_process"))
    let job = try launch("--config_file", path, "--binding", "none", "sh", "-c", "echo $OMPI_COMM_WORLD_SIZE")
    #expect(job.text == "3\n3\n3\n", "\(job.stderr)")
    #expect(job.stderr.contains("note: binding is none (flag --binding)"))
    #expect(try launch("config", "set", "--config_file", path, "num_proceses=3").status == 64)
    #expect(try launch("config", "update", "--config_file", path).status == 0)
    #expect(try ConfigFile(path: path).plainValues["num_processes"] == .integer(3))
  }

  @Test func environmentBlock() throws {
    let result = try launch("env", environment: ["OMP_NUM_THREADS": "3"])
    #expect(result.status == 0)
    for text in [
      "- Platform: ", "- CPU: ", "- Cores: ", "- Memory: ", "- MPI: mpirun (Open MPI)", "- BLAS: /",
      "- BLAS kernels: OpenBLAS ", "- NUMA nodes: ", "- CPU features: ", "- MPI library: /", "- Configuration: ",
      "- OMP_NUM_THREADS: 3",
    ] {
      #expect(result.text.contains(text), "\(text) is missing in \(result.text)")
    }
  }
}
