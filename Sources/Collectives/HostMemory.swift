import Glibc

/// Float memory that all ranks of a host see: weights and gradients need no copies between them.
///
/// It lives as long as the communicator that made it. What one rank writes others may read after a collective.
public struct HostMemory {
  /// The part of each rank on this host, by local rank.
  public let parts: [UnsafeMutableBufferPointer<Float>]

  init(_ parts: [UnsafeMutableBufferPointer<Float>]) { self.parts = parts }
}

/// Owns float memory that nobody but this process sees.
final class FloatAllocations {
  private var mappings: [(start: UnsafeMutableRawPointer, byteCount: Int)] = []

  /// `count` floats, 0 at first; pages that nobody writes take no memory, and large ones are asked for.
  func make(_ count: Int) -> UnsafeMutableBufferPointer<Float> {
    let hugePageBytes = 1 << 21
    let byteCount = max(count, 1) * MemoryLayout<Float>.stride + hugePageBytes
    guard
      let start = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), start != MAP_FAILED
    else { preconditionFailure("no memory for \(byteCount) bytes: error \(errno)") }
    mappings.append((start, byteCount))
    let aligned = start.alignedUp(toMultipleOf: hugePageBytes)
    // A wish: without huge pages it is slower, not wrong.
    if byteCount >= 3 * hugePageBytes { madvise(aligned, byteCount - (aligned - start), MADV_HUGEPAGE) }
    return UnsafeMutableBufferPointer(start: aligned.bindMemory(to: Float.self, capacity: count), count: count)
  }

  deinit { for mapping in mappings { munmap(mapping.start, mapping.byteCount) } }
}
