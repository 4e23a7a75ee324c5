import Glibc
import Kernels

/// Float memory of a fixed size, zero at first: its own, freed with it, or memory of a communicator.
public final class FloatBuffer {
  public let count: Int
  public let pointer: UnsafeMutablePointer<Float>
  private let isOwner: Bool

  public init(count: Int) {
    self.count = count
    pointer = allocateFloats(count)
    pointer.initialize(repeating: 0, count: count)
    isOwner = true
  }

  /// A view of memory that somebody else keeps and frees.
  init(borrowing memory: UnsafeMutableBufferPointer<Float>) {
    guard let start = memory.baseAddress else { preconditionFailure("a buffer of no memory") }
    count = memory.count
    pointer = start
    isOwner = false
  }

  deinit { if isOwner { free(pointer) } }

  public var buffer: UnsafeMutableBufferPointer<Float> { UnsafeMutableBufferPointer(start: pointer, count: count) }
}
