import CCPU
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
  guard status == 0, let memory else { endForLackOfMemory(byteCount) }
  // A wish: without huge pages it is slower, not wrong.
  if isLarge { madvise(memory, byteCount, MADV_HUGEPAGE) }
  return memory.bindMemory(to: Float.self, capacity: count)
}

/// Copies `count` floats that are not read again soon, at the memory's speed: overwrites those at `target`. The two do not
/// overlap.
public func copyPastCaches(
  _ source: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>, count: Int
) {
  lockstep_copy_past_caches(target, source, count)
}

/// Ends the process with one line and the status of a machine that lacks something (`EX_UNAVAILABLE`).
///
/// What a run needs is compared with what there is before; this is for memory that somebody else has taken meanwhile.
private func endForLackOfMemory(_ byteCount: Int) -> Never {
  let line = Array("error: no memory for \(byteCount) bytes\n".utf8)
  _ = write(STDERR_FILENO, line, line.count)
  // No clean-up: ranks that wait for this one must not be waited for.
  _exit(69)
}
