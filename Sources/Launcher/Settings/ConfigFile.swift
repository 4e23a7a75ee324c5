import System

/// A configuration file: Accelerate's YAML as its releases have written it, with our own keys under `lockstep:`.
public struct ConfigFile: Sendable, Equatable {
  public struct Entry: Sendable, Equatable {
    public var value: SettingValue
    public var line: Int
    public var place: String
  }

  public var path: String
  /// What the file sets, by the setting's name.
  public var values: [String: Entry] = [:]
  /// Keys that are Accelerate's and have no meaning here, with the line and the reason.
  public var ignored: [(key: String, line: Int, reason: String)] = []
  /// What is not wrong but unwise.
  public var warnings: [String] = []
  /// `distributed_type`, where the file has one.
  public var distributedType: String?
  /// Says what `~` is.
  private let environment: Environment

  public static func == (a: ConfigFile, b: ConfigFile) -> Bool {
    a.path == b.path && a.values == b.values && a.ignored.map(\.key) == b.ignored.map(\.key)
  }

  public static let mostBytes = 1 << 20

  /// - Parameter environment: says what `~` is.
  public init(path: String, _ environment: Environment = Environment()) throws(Failure) {
    let bytes: [UInt8]
    do throws(Failure) { bytes = try readSettings(path, limitBytes: Self.mostBytes) } catch {
      throw Failure(.configuration, at: error.place, "the configuration file \(error.message)")
    }
    try self.init(bytes, path: path, environment)
    guard let named = Self.executed.first(where: { values[$0] != nil }) else { return }
    if let danger = FileSafety.danger(path) {
      warnings.append("\(path): \(danger.who), and so decide what runs by \(named) (\(danger.remedy))")
    }
  }

  /// Settings that name programs, or files that decide where programs run.
  private static let executed = [
    Setting.mpirun.name, Setting.remoteShell.name, Setting.mpirunArguments.name, Setting.hostfile.name,
    Setting.sshIdentity.name,
  ]

  public init(_ bytes: [UInt8], path: String, _ environment: Environment = Environment()) throws(Failure) {
    self.path = path
    self.environment = environment
    let root = try Self.compose(bytes, path: path)
    guard let mapping = root.mapping else {
      throw Self.refuse(path, root, "is \(Self.kind(root)), expected keys with values", hint: "num_processes: 2")
    }
    for (key, value) in mapping {
      let name = try Self.plainKey(key, path)
      switch name {
      case "lockstep", "mpirun_config": try readSection(name, value)
      default: try readTopLevel(name, key, value)
      }
    }
    // As its key was read, the rank is a plain number or nothing.
    if let node = mapping.first(where: { $0.key.scalar == "machine_rank" })?.value,
      let rank = node.scalar.flatMap({ Int($0) }),
      case .integer(let machines)? = plainValues[Setting.machines.name], rank >= machines
    {
      throw Self.refuse(path, node, "machine_rank is \(rank), expected less than num_machines \(machines)")
    }
  }

  // MARK: Keys

  private mutating func readTopLevel(_ name: String, _ key: YAMLNode, _ value: YAMLNode) throws(Failure) {
    if let setting = SettingDefinition.all.first(where: { $0.path == [name] }) {
      return try set(setting, value)
    }
    // Accelerate writes null for what was not asked.
    let isKnown = Self.checked.contains(name) || Self.meaningless[name] != nil || Self.sageMaker.contains(name)
    if isKnown && Self.isNull(value) { return }
    let line = key.line
    switch name {
    case "compute_environment":
      guard try text(value, name) == "LOCAL_MACHINE" else {
        throw Self.refuse(
          path, value, "\"\(try text(value, name).shortened)\", expected LOCAL_MACHINE: there is no SageMaker here")
      }
    case "distributed_type":
      let type = try text(value, name)
      guard ["NO", "MULTI_CPU"].contains(type.uppercased()) else {
        throw Self.refuse(
          path, value, "\"\(type.shortened)\", expected NO or MULTI_CPU: ranks here are processes on CPUs")
      }
      distributedType = type.uppercased()
    case "fp16":
      if try boolean(value, name) {
        throw Self.refuse(path, value, "fp16 needs a GPU, expected mixed_precision: no or bf16")
      }
      ignored.append((name, line, "old form of mixed_precision: no"))
    case "machine_rank":
      try checkInteger(value, name, 0...65_534)
      ignored.append((name, line, "MPI numbers the hosts"))
    case "main_process_port":
      try checkInteger(value, name, 1...65_535)
      ignored.append((name, line, "MPI finds its own ports"))
    default:
      if let reason = Self.meaningless[name] {
        ignored.append((name, line, reason))
      } else if Self.sageMaker.contains(name) {
        throw Self.refuse(path, key, "\"\(name)\" is for SageMaker, expected a cluster of machines")
      } else {
        throw unknown(
          key, name,
          among: SettingDefinition.all.filter { $0.path.count == 1 }.map { $0.path[0] }
            + ["lockstep", "mpirun_config", "distributed_type", "compute_environment", "use_cpu"])
      }
    }
  }

  private mutating func readSection(_ section: String, _ value: YAMLNode) throws(Failure) {
    if Self.isNull(value) { return }
    guard let mapping = value.mapping else {
      throw Self.refuse(path, value, "\(section) is \(Self.kind(value)), expected keys with values")
    }
    for (key, value) in mapping {
      let name = try Self.plainKey(key, path)
      if let setting = SettingDefinition.all.first(where: { $0.path == [section, name] }) {
        try set(setting, value)
      } else if section == "mpirun_config" && name == "mpirun_ccl" {
        ignored.append(("mpirun_config.mpirun_ccl", key.line, "oneCCL is not used"))
      } else {
        throw unknown(
          key, name, among: SettingDefinition.all.filter { $0.path.first == section }.compactMap(\.path.last))
      }
    }
  }

  private func unknown(_ key: YAMLNode, _ name: String, among names: [String]) -> Failure {
    let hint = nearest(to: name, among: names).map { "did you mean \($0)?" }
    return Self.refuse(path, key, "unknown key \"\(name.shortened)\"", hint: hint)
  }

  /// Keys of Accelerate's whose values are looked at.
  private static let checked = ["compute_environment", "distributed_type", "fp16", "machine_rank", "main_process_port"]

  /// Keys of Accelerate's that mean nothing to CPUs and MPI.
  static let meaningless: [String: String] = {
    let gpu = "for GPUs and other accelerators"
    var reasons = [
      "use_cpu": "everything runs on CPUs", "main_process_ip": "MPI finds the hosts", "rdzv_backend": "torchrun's",
      "same_network": "torchrun's", "main_training_function": "for notebooks",
      "dynamo_backend": "torch's compiler", "dynamo_config": "torch's compiler", "mpirun_ccl": "oneCCL is not used",
    ]
    for key in [
      "gpu_ids", "downcast_bf16", "fp8_config", "deepspeed_config", "fsdp_config", "megatron_lm_config",
      "parallelism_config", "tpu_name", "tpu_zone", "tpu_use_cluster", "tpu_use_sudo", "tpu_vm", "tpu_env",
      "ipex_config",
      "command_file", "commands", "num_gpus",
    ] { reasons[key] = gpu }
    return reasons
  }()

  static let sageMaker: Set<String> = [
    "ec2_instance_type", "iam_role_name", "image_uri", "profile", "region", "base_job_name", "pytorch_version",
    "transformers_version", "py_version", "sagemaker_inputs_file", "sagemaker_metrics_file", "additional_args",
  ]

  // MARK: Values

  private mutating func set(_ setting: SettingDefinition, _ node: YAMLNode) throws(Failure) {
    if Self.isNull(node) { return }
    let place = Self.place(path, node)
    let value: SettingValue
    if setting.kind.isList {
      var items: [String] = []
      for item in node.sequence ?? [node] {
        let text = try text(item, setting.name)
        try setting.checkItem(
          text, at: "\(Self.place(path, item)): \(setting.name)", status: .configuration)
        items.append(text)
      }
      value = .list(items)
    } else {
      let text = try text(node, setting.name)
      if setting.kind == .path, node.isPlain, Self.isBooleanOrNumber(text) {
        throw Self.refuse(path, node, "\(setting.name) is \(text), expected a text; quote it if it is one")
      }
      // Accelerate writes -1 for "to be given with the flag".
      if setting.name == Setting.processes.name && text == "-1" { return }
      value = try setting.value(text, at: "\(place): \(setting.name)", status: .configuration, environment)
    }
    values[setting.name] = Entry(value: value, line: node.line, place: place)
  }

  private func text(_ node: YAMLNode, _ name: String) throws(Failure) -> String {
    guard let scalar = node.scalar else {
      throw Self.refuse(path, node, "\(name) is \(Self.kind(node)), expected one value")
    }
    return scalar
  }

  private func boolean(_ node: YAMLNode, _ name: String) throws(Failure) -> Bool {
    try plainValue(node, name, .boolean) == .boolean(true)
  }

  private func checkInteger(_ node: YAMLNode, _ name: String, _ range: ClosedRange<Int>) throws(Failure) {
    if !Self.isNull(node) { _ = try plainValue(node, name, .integer(range)) }
  }

  /// The value of a key of Accelerate's that is no setting.
  private func plainValue(
    _ node: YAMLNode, _ name: String, _ kind: SettingDefinition.Kind
  ) throws(Failure) -> SettingValue {
    try SettingDefinition(name: name, kind: kind, flag: name).value(
      try text(node, name), at: "\(Self.place(path, node)): \(name)", status: .configuration, environment)
  }
}
