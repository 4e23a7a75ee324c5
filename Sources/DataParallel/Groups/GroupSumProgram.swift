import Kernels

/// How the sum over a node of `GroupTree` is made of nodes that are there.
package struct GroupSumProgram {
  private indirect enum Node {
    case source(Int)
    case sum(Node, Node)
  }

  private let root: Node
  /// Buffers that a sum needs beside its sources.
  package let scratchCount: Int

  /// - Parameter sources: nodes that are there, which make up `node`.
  package init(_ node: Range<Int>, of sources: [Range<Int>]) {
    func make(_ node: Range<Int>) -> Node {
      if let index = sources.firstIndex(of: node) { return .source(index) }
      precondition(node.count > 1, "group \(node.lowerBound) is not there")
      let middle = GroupTree.middle(node)
      return .sum(make(node.lowerBound..<middle), make(middle..<node.upperBound))
    }
    func depth(_ node: Node) -> Int {
      if case .sum(let left, let right) = node { max(1, depth(left), depth(right) + 1) } else { 0 }
    }
    root = make(node)
    scratchCount = depth(root)
  }

  /// The sum of `count` floats; in `scratch` or, where there is one source, in that.
  ///
  /// - Parameters:
  ///   - sources: where the floats of each source begin.
  ///   - scratch: `scratchCount` buffers of `width` floats.
  package func sum(
    count: Int, _ sources: (Int) -> UnsafePointer<Float>, scratch: UnsafeMutablePointer<Float>, width: Int
  ) -> UnsafePointer<Float> {
    func value(_ node: Node, _ level: Int) -> UnsafePointer<Float> {
      switch node {
      case .source(let index): return sources(index)
      case .sum(let left, let right):
        let left = value(left, level)
        let right = value(right, level + 1)
        let output = scratch + level * width
        add(count: count, left, right, into: output)
        return UnsafePointer(output)
      }
    }
    return value(root, 0)
  }
}
