import CCPU

/// The instruction sets that this module was compiled with, as bits; `CPU.lacks` tells which of them this CPU has not.
///
/// The only function of this module that runs on every CPU. Not to be inlined: in another module, compiled for another
/// CPU, it would tell that module's.
@inline(never)
public func compiledCPUFeatures() -> UInt32 { lockstep_compiled_cpu_features() }
