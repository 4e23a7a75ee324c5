import Kernels

/// What this process computes with.
public enum Hardware {
  /// Library, version and the kernels that it chose: `OpenBLAS 0.3.21, SkylakeX kernels`.
  public static var blas: String { "\(BLAS.version), \(BLAS.coreName) kernels" }
}
