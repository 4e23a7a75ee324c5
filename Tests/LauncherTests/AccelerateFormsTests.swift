import Launcher
import System
import Testing

/// Configuration files in the forms that Accelerate's releases have written, each with the plan that its documentation
/// promises, or the refusal. The texts are written afresh after its documentation.
@Suite struct AccelerateFormsTests {
  struct Form: Sendable, CustomTestStringConvertible {
    var name: String
    var text: String
    /// Ranks on each host, in order; nil where the file is refused.
    var ranks: [Int]?
    /// The keys that are ignored.
    var ignored: [String] = []
    var precision: String? = nil
    /// What the refusal says, with its place.
    var refusal = ""
    var testDescription: String { name }
  }

  static let forms = [
    Form(
      name: "0.11: fp16 as a boolean, no newer keys",
      text: """
        compute_environment: LOCAL_MACHINE
        deepspeed_config: {}
        distributed_type: 'NO'
        fp16: false
        fsdp_config: {}
        machine_rank: 0
        main_process_ip: null
        main_process_port: null
        main_training_function: main
        num_machines: 1
        num_processes: 1
        """, ranks: [1], ignored: ["deepspeed_config", "fp16", "fsdp_config", "machine_rank", "main_training_function"]),
    Form(
      name: "0.11: fp16 wanted",
      text: "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_CPU\nfp16: true\nnum_processes: 2\n",
      refusal: "c:3:7: fp16 needs a GPU"),
    Form(
      name: "0.12: mixed_precision, use_cpu",
      text: """
        compute_environment: LOCAL_MACHINE
        deepspeed_config: {}
        distributed_type: 'NO'
        downcast_bf16: 'no'
        fsdp_config: {}
        machine_rank: 0
        main_process_ip: null
        main_process_port: null
        main_training_function: main
        mixed_precision: 'no'
        num_machines: 1
        num_processes: 1
        use_cpu: true
        """, ranks: [1],
      ignored: [
        "deepspeed_config", "downcast_bf16", "fsdp_config", "machine_rank", "main_training_function", "use_cpu",
      ],
      precision: "no"),
    Form(
      name: "0.15 to 0.20: dynamo, commands, gpu_ids, rdzv",
      text: """
        command_file: null
        commands: null
        compute_environment: LOCAL_MACHINE
        deepspeed_config: {}
        distributed_type: MULTI_CPU
        downcast_bf16: 'no'
        dynamo_backend: 'NO'
        dynamo_config: {}
        fsdp_config: {}
        gpu_ids: null
        machine_rank: 0
        main_process_ip: null
        main_process_port: null
        main_training_function: main
        megatron_lm_config: {}
        mixed_precision: bf16
        num_machines: 1
        num_processes: 2
        rdzv_backend: static
        same_network: true
        tpu_name: null
        tpu_zone: null
        use_cpu: true
        """, ranks: [2],
      ignored: [
        "deepspeed_config", "downcast_bf16", "dynamo_backend", "dynamo_config", "fsdp_config", "machine_rank",
        "main_training_function", "megatron_lm_config", "rdzv_backend", "same_network", "use_cpu",
      ], precision: "bf16"),
    Form(
      name: "0.28: mpirun_config with the older mpirun_ccl, unquoted no",
      text: """
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
          mpirun_hostfile: HOSTFILE
        num_machines: 4
        num_processes: 16
        rdzv_backend: static
        same_network: true
        tpu_env: []
        tpu_use_cluster: false
        tpu_use_sudo: false
        use_cpu: true
        """, ranks: [4, 4, 4, 4],
      ignored: [
        "downcast_bf16", "ipex_config", "machine_rank", "main_process_ip", "main_process_port",
        "main_training_function", "mpirun_config.mpirun_ccl", "rdzv_backend", "same_network", "tpu_env",
        "tpu_use_cluster", "tpu_use_sudo", "use_cpu",
      ], precision: "no"),
    Form(
      name: "0.34: fp8_config, enable_cpu_affinity",
      text: """
        compute_environment: LOCAL_MACHINE
        debug: true
        distributed_type: MULTI_CPU
        enable_cpu_affinity: false
        fp8_config:
          backend: TE
          amax_history_len: 1024
        machine_rank: 0
        mixed_precision: 'no'
        num_machines: 1
        num_processes: 3
        use_cpu: true
        """, ranks: [3], ignored: ["fp8_config", "machine_rank", "use_cpu"], precision: "no"),
    Form(
      name: "the newest: parallelism_config, mpirun_config without mpirun_ccl",
      text: """
        compute_environment: LOCAL_MACHINE
        debug: false
        distributed_type: MULTI_CPU
        machine_rank: 0
        main_training_function: main
        mixed_precision: bf16
        mpirun_config:
          mpirun_hostfile: HOSTFILE
        num_machines: 2
        num_processes: 5
        parallelism_config: {}
        tpu_use_cluster: false
        use_cpu: true
        """, ranks: [3, 2],
      ignored: ["machine_rank", "main_training_function", "parallelism_config", "tpu_use_cluster", "use_cpu"],
      precision: "bf16"),
    Form(
      name: "config default: JSON text under a YAML name",
      text: """
        {
          "compute_environment": "LOCAL_MACHINE",
          "debug": false,
          "distributed_type": "NO",
          "downcast_bf16": false,
          "enable_cpu_affinity": false,
          "machine_rank": 0,
          "main_training_function": "main",
          "mixed_precision": "no",
          "num_machines": 1,
          "num_processes": 1,
          "rdzv_backend": "static",
          "same_network": false,
          "tpu_use_cluster": false,
          "tpu_use_sudo": false,
          "use_cpu": true
        }
        """, ranks: [1],
      ignored: [
        "downcast_bf16", "machine_rank", "main_training_function", "rdzv_backend",
        "same_network", "tpu_use_cluster", "tpu_use_sudo", "use_cpu",
      ], precision: "no"),
    Form(
      name: "0.1 to 0.4: no mixed_precision, no deepspeed_config",
      text: """
        compute_environment: LOCAL_MACHINE
        distributed_type: 'NO'
        fp16: false
        machine_rank: 0
        main_process_ip: null
        main_process_port: null
        main_training_function: main
        num_machines: 1
        num_processes: 1
        """, ranks: [1], ignored: ["fp16", "machine_rank", "main_training_function"]),
    Form(
      name: "with all of the GPUs named, on a machine without",
      text: """
        compute_environment: LOCAL_MACHINE
        debug: false
        distributed_type: 'NO'
        downcast_bf16: 'no'
        enable_cpu_affinity: true
        gpu_ids: all
        machine_rank: 0
        main_training_function: main
        mixed_precision: 'no'
        num_machines: 1
        num_processes: 1
        rdzv_backend: static
        same_network: true
        tpu_env: []
        tpu_use_cluster: false
        tpu_use_sudo: false
        use_cpu: false
        """, ranks: [1],
      ignored: [
        "downcast_bf16", "gpu_ids", "machine_rank", "main_training_function", "rdzv_backend", "same_network", "tpu_env",
        "tpu_use_cluster", "tpu_use_sudo", "use_cpu",
      ], precision: "no"),
    Form(
      name: "several processes without mpirun_config: all of them, here",
      text: "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_CPU\nnum_processes: 8\nuse_cpu: true\n",
      ranks: [8], ignored: ["use_cpu"]),
    Form(
      name: "distributed_type unquoted, which is false to YAML 1.1", text: "distributed_type: NO\nnum_machines: 1\n",
      ranks: [1]),
    Form(
      name: "-1 processes: to be given with the flag", text: "distributed_type: MULTI_CPU\nnum_processes: -1\n",
      ranks: [2]),
    Form(
      name: "a number in quotes", text: "distributed_type: MULTI_CPU\nnum_processes: '8'\n", ranks: [8]),
    Form(
      name: "GPUs", text: "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nnum_processes: 2\n",
      refusal: "c:2:19: \"MULTI_GPU\", expected NO or MULTI_CPU"),
    Form(
      name: "FSDP",
      text: "compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nfsdp_config:\n  fsdp_offload_params: false\n",
      refusal: "c:2:19: \"FSDP\", expected NO or MULTI_CPU"),
    Form(
      name: "SageMaker",
      text: "compute_environment: AMAZON_SAGEMAKER\ndistributed_type: 'NO'\nec2_instance_type: ml.p3.2xlarge\n",
      refusal: "c:1:22: \"AMAZON_SAGEMAKER\", expected LOCAL_MACHINE"),
    Form(
      name: "unknown keys", text: "another_invalid_key: another_value\nnum_processes: 1\n",
      refusal: "c:1:1: unknown key \"another_invalid_key\""),
    Form(
      name: "an unknown key in mpirun_config",
      text: "distributed_type: MULTI_CPU\nmpirun_config:\n  mpirun_hostfiles: x\n",
      refusal: "c:3:3: unknown key \"mpirun_hostfiles\" (did you mean mpirun_hostfile?)"),
    Form(
      name: "a number beyond its range", text: "num_machines: 2\nmachine_rank: 2\n",
      refusal: "c:2:15: machine_rank is 2, expected less than num_machines 2"),
    Form(
      name: "several machines, and no hostfile",
      text:
        "distributed_type: MULTI_CPU\nmain_process_ip: 10.0.0.1\nmain_process_port: 29500\nnum_machines: 2\nnum_processes: 4\n",
      refusal: "c:4: 2 machines, but nothing says which, expected a hostfile"),
  ]

  /// The kinds of job that Accelerate's files may ask for, besides those that are here.
  @Test(arguments: [
    "MULTI_GPU", "MULTI_NPU", "MULTI_MLU", "MULTI_SDAA", "MULTI_MUSA", "MULTI_XPU", "MULTI_HPU", "DEEPSPEED", "FSDP",
    "XLA", "TPU", "MEGATRON_LM", "MPS", "multi_gpu", "other",
  ]) func otherKinds(_ type: String) {
    let failure = #expect(throws: Failure.self) {
      try ConfigFile(Array("num_processes: 2\ndistributed_type: \(type)\n".utf8), path: "c")
    }
    #expect(failure?.status == .configuration)
    #expect(failure?.description.hasPrefix("c:2:19: \"\(type)\", expected NO or MULTI_CPU") == true)
  }

  @Test(arguments: forms) func form(_ form: Form) throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    let hosts = form.ranks.map { $0.count } ?? 2
    try writeAtomically(Array((1...hosts).map { "node\($0)\n" }.joined().utf8), to: "\(folder)/hosts")
    let text = form.text.replacing("HOSTFILE", with: "\(folder)/hosts")
    do throws(Failure) {
      let file = try ConfigFile(Array(text.utf8), path: "c")
      let settings = try Settings(flags: [:], environment: Environment(), file: file)
      let plan = try ClusterPlan(settings, cores: 2, isSingleProcess: false, ownName: "me")
      #expect((plan.placement?.hosts.map(\.ranks) ?? [plan.ranks]) == form.ranks, "accepted")
      #expect(file.ignored.map(\.key) == form.ignored)
      #expect(settings[.mixedPrecision] == form.precision)
    } catch {
      #expect(form.ranks == nil, "\(error)")
      #expect(error.status == .configuration)
      #expect(error.description.contains(form.refusal), "got: \(error)")
    }
  }
}
