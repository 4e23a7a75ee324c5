import System

/// Ranks of one machine that count as several hosts, for tests: they see only the memory of their own.
struct SimulatedHosts: Sendable {
  /// How many ranks each host has, as `2,1`.
  static let variable = "LOCKSTEP_PRETEND_HOSTS"

  private let sizes: [Int]

  /// - Parameter text: how many ranks each host has, as the variable says it.
  init(_ text: String, ranks: Int) throws(Failure) {
    let numbers = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
    guard numbers.allSatisfy({ (1...ranks).contains($0) }), numbers.reduce(0, +) == ranks else {
      throw Failure(.usage, at: Self.variable, "\"\(text)\", expected ranks of each host, \(ranks) together")
    }
    self.sizes = numbers
  }

  func ranks(beside rank: Int) -> Range<Int> {
    let start = sizes.prefix(host(of: rank)).reduce(0, +)
    return start..<start + sizes[host(of: rank)]
  }

  func host(of rank: Int) -> Int {
    var end = 0
    return sizes.firstIndex {
      end += $0
      return rank < end
    } ?? 0
  }

  func name(of rank: Int, on machine: String) -> String { "\(machine)#\(host(of: rank))" }
}
