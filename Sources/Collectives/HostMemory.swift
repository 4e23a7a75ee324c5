import Glibc

/// Float memory that all ranks of a host see: weights and gradients need no copies between them.
///
/// Each rank keeps all parts that it sees, so the memory is there as long as anybody holds it, whoever lets go first. What
/// one rank writes others may read after a collective.
public final class HostMemory {
  /// The part of each rank on this host, by local rank. Valid as long as this object.
  public let parts: [UnsafeMutableBufferPointer<Float>]
  private let owners: [AnyObject]

  /// - Parameter owners: what frees the parts when nobody holds it any more.
  init(_ parts: [UnsafeMutableBufferPointer<Float>], owners: [AnyObject]) {
    self.parts = parts
    self.owners = owners
  }

  convenience init(_ block: FloatBlock) { self.init([block.floats], owners: [block]) }
}

let hugePageBytes = 1 << 21

/// Buffers that loops walk through side by side begin at different places of their large pages: lines at the same place
/// drive one another out of the caches, and AdamW's pass took twice the time. Some odd number of cache lines.
let staggerBytes = 161 * 64

/// A mapping, undone when nobody holds it any more.
///
/// Unchecked: the range never changes, and whoever reads or writes there keeps to the rules of what the memory is for.
final class Mapping: @unchecked Sendable {
  let range: UnsafeMutableRawBufferPointer

  init(_ range: UnsafeMutableRawBufferPointer) { self.range = range }

  deinit { munmap(range.baseAddress, range.count) }
}

/// Float memory that nobody but this process sees.
///
/// Unchecked as `Mapping` is.
final class FloatBlock: @unchecked Sendable {
  let floats: UnsafeMutableBufferPointer<Float>
  private let mapping: Mapping

  /// `count` floats, 0 at first; pages that nobody writes take no memory, and large ones are asked for.
  ///
  /// - Parameter number: of the block among those that are used side by side, from 1.
  init(_ count: Int, number: Int) {
    let offset = number % 16 * staggerBytes
    let byteCount = max(count, 1) * MemoryLayout<Float>.stride + hugePageBytes + offset
    guard
      let start = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), start != MAP_FAILED
    else { preconditionFailure("no memory for \(byteCount) bytes: error \(errno)") }
    mapping = Mapping(UnsafeMutableRawBufferPointer(start: start, count: byteCount))
    let aligned = start.alignedUp(toMultipleOf: hugePageBytes)
    // A wish: without huge pages it is slower, not wrong.
    if byteCount >= 3 * hugePageBytes { madvise(aligned, byteCount - (aligned - start), MADV_HUGEPAGE) }
    floats = UnsafeMutableBufferPointer(
      start: (aligned + offset).bindMemory(to: Float.self, capacity: count), count: count)
  }
}
