import Glibc

/// Memory for `count` floats, not initialised, at a cache line's start; freed with `free`.
///
/// Large blocks ask for huge pages: a matrix product walks through megabytes with large strides, and with pages of 4 kB
/// the processor's table of pages is exhausted all the time.
public func allocateFloats(_ count: Int) -> UnsafeMutablePointer<Float> {
  let hugePageBytes = 1 << 21
  let byteCount = max(count, 1) * MemoryLayout<Float>.stride
  var memory: UnsafeMutableRawPointer?
  let isLarge = byteCount >= 2 * hugePageBytes
  let status = posix_memalign(&memory, isLarge ? hugePageBytes : 64, byteCount)
  guard status == 0, let memory else { preconditionFailure("no memory for \(byteCount) bytes: error \(status)") }
  // A wish: without huge pages it is slower, not wrong.
  if isLarge { madvise(memory, byteCount, MADV_HUGEPAGE) }
  return memory.bindMemory(to: Float.self, capacity: count)
}
