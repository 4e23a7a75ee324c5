import Kernels
import Testing

struct CopyTests {
  @Test("a copy past the caches has every float in its place, wherever it begins and ends, and touches none beside")
  func places() {
    let size = 200
    let source = (0..<size).map { Float($0 + 1) }
    for (from, to) in (0..<17).flatMap({ from in (0..<17).map { (from, $0) } }) {
      for count in [0, 1, 2, 15, 16, 17, 31, 32, 33, 100, 150] {
        var target = [Float](repeating: -1, count: size)
        source.withUnsafeBufferPointer { source in
          target.withUnsafeMutableBufferPointer { target in
            guard let start = source.baseAddress, let end = target.baseAddress else { return }
            copyPastCaches(start + from, to: end + to, count: count)
          }
        }
        var expected = [Float](repeating: -1, count: size)
        expected.replaceSubrange(to..<to + count, with: source[from..<from + count])
        #expect(target == expected, "\(count) floats from \(from) to \(to)")
      }
    }
  }
}
