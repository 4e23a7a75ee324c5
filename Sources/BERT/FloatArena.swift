import Glibc
import Kernels

/// Float memory in pieces that are freed together.
final class FloatArena {
  private let isMeasuring: Bool
  private var pieces: [UnsafeMutablePointer<Float>]
  /// Floats of all pieces together.
  private(set) var floatCount = 0

  /// - Parameter isMeasuring: counts only; nothing is allocated, and the pieces must not be used.
  init(isMeasuring: Bool) {
    self.isMeasuring = isMeasuring
    pieces = isMeasuring ? [allocateFloats(1)] : []
  }

  deinit { for piece in pieces { free(piece) } }

  /// Memory of `count` floats, not initialised, there as long as the arena.
  func allocate(_ count: Int) -> UnsafeMutablePointer<Float> {
    // Ends at what is more than any machine has: sizes may come from a file.
    floatCount = min(floatCount + count, 1 << 60)
    if isMeasuring { return pieces[0] }
    let piece = allocateFloats(count)
    pieces.append(piece)
    return piece
  }
}
