import Kernels
import System

extension FloatBuffer {
  /// A digest of all bits, the same for the same bits.
  public var digest: UInt64 { Training.digest(of: pointer, count: count) }
}

/// A digest of all bits of `count` floats.
public func digest(of floats: UnsafePointer<Float>, count: Int) -> UInt64 {
  FNV1a.hash(inLanes: UnsafeRawBufferPointer(UnsafeBufferPointer(start: floats, count: count)))
}
