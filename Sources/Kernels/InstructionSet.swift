import CTiles

/// What multiplies; each has what those before it have.
public enum InstructionSet: String, Sendable, CaseIterable {
  case shortVectors = "AVX2"
  case vectors = "AVX-512"
  case bf16Vectors = "AVX512-BF16"
  case amx = "AMX"

  /// Those that this CPU has, the best one last.
  public static let available = Array(allCases.prefix(Int(lockstep_tile_kind().rawValue)))

  /// The best of those that this CPU has.
  public static var ofThisCPU: InstructionSet? { available.last }

  /// Whether it multiplies bf16. The others round factors to bf16 and multiply them as fp32.
  public var multipliesBF16: Bool { self == .bf16Vectors || self == .amx }

  /// Parts that it can cut numbers into: 0 leaves them whole, in fp32.
  public var parts: ClosedRange<Int> { multipliesBF16 ? 0...3 : 0...1 }

  var kind: lockstep_tile_kind_t {
    switch self {
    case .amx: lockstep_amx
    case .bf16Vectors: lockstep_avx512_bf16
    case .vectors: lockstep_avx512
    case .shortVectors: lockstep_avx2
    }
  }
}
