import CCPU

/// The CPU that this process runs on.
///
/// A target of its own, compiled for any CPU of the architecture: it is asked before code that was compiled for one CPU
/// may run.
public enum CPU {
  /// Instruction sets, of those that matter here, that this CPU has.
  public static var features: [String] { names(lockstep_cpu_features()) }

  /// Instruction sets of `needed`, a set of bits as `compiledCPUFeatures` of `Kernels` gives it, that this CPU lacks.
  public static func lacks(_ needed: UInt32) -> [String] { names(needed & ~lockstep_cpu_features()) }

  /// Whether this CPU has the instruction set `feature`, by GCC's name for it.
  public static func has(_ feature: String) -> Bool { features.contains(feature) }

  private static func names(_ bits: UInt32) -> [String] {
    (0..<32).compactMap { index in
      guard bits >> UInt32(index) & 1 == 1, let name = lockstep_cpu_feature_name(Int32(index)) else { return nil }
      return String(cString: name)
    }
  }
}
