import Kernels
import System

extension FloatBuffer {
  /// A digest of all bits, the same for the same bits.
  public var digest: UInt64 { FNV1a.hash(inLanes: UnsafeRawBufferPointer(buffer)) }
}
