// Counter-based randomness: whether an element is dropped is a function of its address, not of a generator's history,
// so the masks are the same on any number of ranks and backward makes them again instead of storing them.
// Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.

/// Where in a training run a vector of random numbers belongs.
public struct RandomAddress: Sendable {
  /// Which dropout of the model.
  public var site: UInt32
  /// The row's index in the data set.
  public var row: UInt32
  /// Position of the token in its sequence, or anything that tells vectors of one row and site apart.
  public var position: UInt32

  public init(site: UInt32, row: UInt32, position: UInt32) {
    self.site = site
    self.row = row
    self.position = position
  }
}

/// Dropout of one step: elements become 0 with `probability` and are scaled by 1 / (1 - probability) otherwise.
public struct Dropout: Sendable {
  let key: (UInt32, UInt32)
  let step: UInt32
  let threshold: UInt32
  let keptScale: Float
  public let probability: Float

  /// - Parameters:
  ///   - probability: 0 ≤ probability < 1; 0 keeps every element as it is.
  ///   - seed: the run's seed.
  ///   - step: the optimizer step.
  public init(probability: Float, seed: UInt64, step: Int) {
    precondition(probability >= 0 && probability < 1, "dropout probability \(probability), expected 0 ≤ p < 1")
    self.probability = probability
    key = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
    self.step = UInt32(truncatingIfNeeded: step)
    threshold = UInt32((Double(probability) * 4_294_967_296).rounded())
    keptScale = 1 / (1 - probability)
  }

  public var isActive: Bool { threshold > 0 }

  /// Elements that may be written behind a vector of factors.
  public static let padding = 31

  /// Overwrites `scales` with the factor of each element of the vector at `address`: 0, or 1 / (1 - probability).
  ///
  /// - Parameter scales: room for `count` and `padding`.
  @inline(__always)
  func fill(_ scales: UnsafeMutablePointer<Float>, count: Int, at address: RandomAddress) {
    // Always whole groups of eight blocks of four: one by one, the last few would take longer than all before.
    for group in 0..<UInt32((count + 31) / 32) {
      for block in 8 * group..<8 * group + 8 {
        let word = philox4x32((block | address.site << 16, address.position, address.row, step), key: key)
        let out = scales + Int(block) * 4
        out[0] = word.0 < threshold ? 0 : keptScale
        out[1] = word.1 < threshold ? 0 : keptScale
        out[2] = word.2 < threshold ? 0 : keptScale
        out[3] = word.3 < threshold ? 0 : keptScale
      }
    }
  }

  /// Multiplies the vector `x` in place by its factors.
  ///
  /// - Parameter scratch: room for `count` and `padding`.
  @inline(__always)
  func apply(
    to x: UnsafeMutablePointer<Float>, count: Int, at address: RandomAddress, scratch: UnsafeMutablePointer<Float>
  ) {
    fill(scratch, count: count, at: address)
    for j in 0..<count { x[j] *= scratch[j] }
  }
}

/// Applies dropout in place to `[rows, columns]`; its own backward.
///
/// - Parameters:
///   - address: the address of each row.
///   - scratch: room for `columns` and `Dropout.padding`.
public func applyDropout(
  _ dropout: Dropout, rows: Int, columns: Int, x: UnsafeMutablePointer<Float>, scratch: UnsafeMutablePointer<Float>,
  address: (Int) -> RandomAddress
) {
  guard dropout.isActive else { return }
  for row in 0..<rows {
    dropout.apply(to: x + row * columns, count: columns, at: address(row), scratch: scratch)
  }
}

/// Overwrites `scales` `[rows, columns]` with the factors of dropout: 0, or 1 / (1 - probability).
///
/// - Parameter scales: room for `Dropout.padding` elements more.
public func dropoutScales(
  _ dropout: Dropout, rows: Int, columns: Int, into scales: UnsafeMutablePointer<Float>,
  address: (Int) -> RandomAddress
) {
  for row in 0..<rows { dropout.fill(scales + row * columns, count: columns, at: address(row)) }
}

/// output = x · y, elementwise; `output` may be `x`.
public func multiply(
  count: Int, _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, into output: UnsafeMutablePointer<Float>
) {
  for i in 0..<count { output[i] = x[i] * y[i] }
}

/// Four random words for a counter of four words under a key of two: Philox4x32 with ten rounds.
@inline(__always)
package func philox4x32(
  _ counter: (UInt32, UInt32, UInt32, UInt32), key: (UInt32, UInt32)
) -> (UInt32, UInt32, UInt32, UInt32) {
  var c = counter
  var k = key
  for _ in 0..<10 {
    let product0 = UInt64(c.0) &* 0xD251_1F53
    let product1 = UInt64(c.2) &* 0xCD9E_8D57
    c = (
      UInt32(truncatingIfNeeded: product1 >> 32) ^ c.1 ^ k.0, UInt32(truncatingIfNeeded: product1),
      UInt32(truncatingIfNeeded: product0 >> 32) ^ c.3 ^ k.1, UInt32(truncatingIfNeeded: product0)
    )
    k = (k.0 &+ 0x9E37_79B9, k.1 &+ 0xBB67_AE85)
  }
  return c
}
