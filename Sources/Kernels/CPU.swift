import CCPU

/// The CPU that the kernels were compiled for against the CPU that they run on.
public enum CPU {
  /// Instruction sets that the kernels use and this CPU lacks; empty where they may run.
  ///
  /// Ask before any other function of this module: a kernel with an instruction that the CPU lacks dies with SIGILL.
  public static var missingFeatures: [String] { names(lockstep_compiled_cpu_features() & ~lockstep_cpu_features()) }

  /// Instruction sets, of those that matter here, that this CPU has.
  public static var features: [String] { names(lockstep_cpu_features()) }

  static func has(_ feature: String) -> Bool { features.contains(feature) }

  private static func names(_ bits: UInt32) -> [String] {
    (0..<32).compactMap { index in
      guard bits >> UInt32(index) & 1 == 1, let name = lockstep_cpu_feature_name(Int32(index)) else { return nil }
      return String(cString: name)
    }
  }
}
