import Launcher
import System

/// Flags of `accelerate launch` that have no meaning on CPUs and MPI: refused by name, with the reason.
enum RefusedFlags {
  private static let families: [(prefixes: [String], reason: String)] = [
    (["multi_gpu", "gpu_ids", "num_gpus"], "is for GPUs; ranks here are processes on CPUs"),
    (["tpu", "vm", "env", "downcast_bf16"], "is for TPUs; ranks here are processes on CPUs"),
    (
      ["use_deepspeed", "deepspeed", "zero", "offload_", "gradient_clipping"],
      "is DeepSpeed's; optimizer state is divided over the ranks without it"
    ),
    (["use_fsdp", "fsdp"], "is FSDP's; optimizer state is divided over the ranks without it"),
    (["use_megatron_lm", "megatron_lm"], "is Megatron-LM's; there is data parallelism only"),
    (["use_parallelism_config", "parallelism_config"], "divides a model over GPUs; there is data parallelism only"),
    (["fp8"], "is for GPUs; CPUs have bf16"),
    (["aws_", "sagemaker"], "is for SageMaker"),
    (["dynamo"], "is torch's compiler; everything here is compiled already"),
    (["rdzv", "role", "same_network"], "is torchrun's; MPI finds the hosts"),
    (["module", "no_python", "main_training_function"], "is for Python programs"),
    (["ipex", "use_xpu", "use_mps"], "is for torch's extensions"),
  ]

  /// The refusal of the unknown option `option`, given before PROGRAM.
  static func refusal(_ option: String) -> Failure {
    let name = String(option.prefix { $0 != "=" })
    let bare = String(decoding: name.utf8.drop { $0 == 0x2D }.map { $0 == 0x2D ? 0x5F : $0 }, as: UTF8.self)
    if let family = families.first(where: {
      $0.prefixes.contains { prefix in
        prefix.hasSuffix("_") || bare.contains("_") ? bare.hasPrefix(prefix) : bare == prefix
      }
    }) {
      return Failure(.usage, at: name, family.reason)
    }
    let near = nearest(to: name, among: LaunchOptions.spellings)
    return Failure(
      .usage, at: name, "unknown option",
      hint: near.map { "did you mean \($0)?" } ?? "./launch run --help shows the options")
  }
}
