import ArgumentParser
import Collectives
import Kernels
import System
import Training

/// The options that say how exact the products are.
public struct PrecisionOptions: ParsableArguments {
  /// Accelerate's.
  public enum MixedPrecision: String, ExpressibleByArgument, CaseIterable, Sendable { case no, bf16 }
  /// torch's.
  public enum Float32Products: String, ExpressibleByArgument, CaseIterable, Sendable { case highest, high }

  @Option(
    name: bothSpellings("mixed-precision"),
    help: "bf16: products of numbers rounded to bf16, weights and sums in fp32. (default: no, or what launch was told)")
  public var mixedPrecision: MixedPrecision?

  @Option(
    name: bothSpellings("float32-matmul-precision"),
    help:
      "On CPUs with AMX. highest: as fp32. high: gradients within 4e-5 of a tensor's largest, and faster. (default: high; highest for predictions)"
  )
  public var float32MatmulPrecision: Float32Products?

  public init() {}

  /// - Parameters:
  ///   - settings: of the process, with what the launcher was told.
  ///   - standard: what fp32 means where nobody says.
  /// - Throws: `.usage` for a variable that is no precision, `.unavailable` where the CPU cannot compute in it.
  public func precision(
    _ settings: RankSettings, standard: Float32Products = .high
  ) throws(Failure) -> ProductPrecision {
    var mixed = mixedPrecision
    if mixed == nil { mixed = try settings.mixedPrecision(as: MixedPrecision.self) }
    let precision: ProductPrecision =
      switch (mixed, float32MatmulPrecision ?? standard) {
      case (.bf16, _): .bf16
      case (_, .highest): .highest
      case (_, .high): .high
      }
    guard precision.isAvailable else {
      throw Failure(
        .unavailable, at: "--mixed-precision", "bf16 on a CPU without AVX2",
        hint: "without it the run computes in fp32")
    }
    return precision
  }
}

extension WirePrecision: ExpressibleByArgument {}
extension ReductionMode: ExpressibleByArgument {}

extension NonFinitePolicy: ExpressibleByArgument {}

/// The option that says how gradients travel.
public struct WireOptions: ParsableArguments {
  @Option(
    name: bothSpellings("ddp-comm-hook"),
    help: "How gradients travel between hosts: no (fp32), fp16 or bf16; what rounding loses counts in the next step.")
  public var ddpCommHook = WirePrecision.no

  public init() {}
}
