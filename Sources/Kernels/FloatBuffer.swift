import Glibc

/// Float memory of a fixed size, zero at first: its own, or memory that the ranks of a host share. Either is there as long
/// as the buffer.
public final class FloatBuffer {
  public let count: Int
  public let pointer: UnsafeMutablePointer<Float>
  /// What keeps memory that is not the buffer's own.
  private let owner: AnyObject?

  public init(count: Int) {
    self.count = count
    pointer = allocateFloats(count)
    pointer.initialize(repeating: 0, count: count)
    owner = nil
  }

  /// A view of memory that `owner` frees.
  package init(_ memory: UnsafeMutableBufferPointer<Float>, keeping owner: AnyObject) {
    guard let start = memory.baseAddress else { preconditionFailure("a buffer of no memory") }
    count = memory.count
    pointer = start
    self.owner = owner
  }

  deinit { if owner == nil { free(pointer) } }

  public var buffer: UnsafeMutableBufferPointer<Float> { UnsafeMutableBufferPointer(start: pointer, count: count) }
}
