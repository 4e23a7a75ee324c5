/// Float memory that all ranks of a host see: weights and gradients need no copies between them.
///
/// It lives as long as the communicator that made it. What one rank writes others may read after a collective.
public struct HostMemory {
  /// The part of each rank on this host, by local rank.
  public let parts: [UnsafeMutableBufferPointer<Float>]

  init(_ parts: [UnsafeMutableBufferPointer<Float>]) { self.parts = parts }
}

/// Owns float memory.
final class FloatAllocations {
  private var pointers: [UnsafeMutablePointer<Float>] = []

  /// `count` floats, 0 at first.
  func make(_ count: Int) -> UnsafeMutableBufferPointer<Float> {
    let pointer = UnsafeMutablePointer<Float>.allocate(capacity: max(count, 1))
    pointer.initialize(repeating: 0, count: count)
    pointers.append(pointer)
    return UnsafeMutableBufferPointer(start: pointer, count: count)
  }

  deinit { for pointer in pointers { pointer.deallocate() } }
}
