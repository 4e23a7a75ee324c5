import Glibc
import Kernels
import System

/// A kernel on random numbers, with the same in double precision.
final class KernelBench {
  let name: String
  let elements: Int
  /// Read and written, of fp32 arrays as long as the kernel's main one.
  let bytesPerElement: Int
  /// Once `verify` has been called.
  private(set) var largestError = 0.0
  private let bound: Double
  /// Puts the inputs that `run` overwrites back.
  let prepare: () -> Void
  let run: () -> Void
  /// Each result with what it should be.
  private let compare: () -> [(value: Float, expected: Double)]

  init(
    _ name: String, elements: Int, bytesPerElement: Int, bound: Double, prepare: @escaping () -> Void = {},
    run: @escaping () -> Void, compare: @escaping () -> [(value: Float, expected: Double)]
  ) {
    self.name = name
    self.elements = elements
    self.bytesPerElement = bytesPerElement
    self.bound = bound
    self.prepare = prepare
    self.run = run
    self.compare = compare
  }

  /// Runs once and compares.
  ///
  /// - Throws: `.internalError` where an error, of the value or of 1 where that is less, exceeds the kernel's bound.
  func verify() throws(Failure) {
    prepare()
    run()
    for (index, pair) in compare().enumerated() {
      let error = abs(Double(pair.value) - pair.expected) / max(1, abs(pair.expected))
      guard error <= bound else {
        throw Failure(
          .internalError, at: name, "sample \(index) is \(pair.value), expected \(pair.expected)")
      }
      largestError = max(largestError, error)
    }
  }
}

/// Memory of a benchmark, filled with normal numbers.
final class Numbers {
  let count: Int
  let pointer: UnsafeMutablePointer<Float>

  init(_ count: Int, seed: UInt64, deviation: Float = 1) {
    self.count = count
    pointer = allocateFloats(count)
    fillNormal(count: count, deviation: deviation, seed: seed, start: 0, into: pointer)
  }

  deinit { free(pointer) }

  subscript(index: Int) -> Double { Double(pointer[index]) }

  func copy(from other: Numbers) { pointer.update(from: other.pointer, count: count) }

  /// At most a thousand places, spread over all.
  var samples: StrideTo<Int> { stride(from: 0, to: count, by: max(1, count / 1000)) }
}
