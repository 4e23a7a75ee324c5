import System

/// The names that one part of a list of hosts stands for, such as `n[0-1]c[2,4]`.
struct NodeList {
  private enum Piece {
    case text(String)
    case numbers([(range: ClosedRange<Int>, width: Int)])
  }

  private var pieces: [Piece] = []
  /// How many they are.
  private(set) var count = 1
  /// The most bytes that one of the names has.
  private(set) var nameBytes = 0

  /// Reads `part`, whose brackets match and are not nested.
  init(_ part: [UInt8]) throws(Failure) {
    let text = String(decoding: part, as: UTF8.self)
    var rest = part[...]
    while !rest.isEmpty {
      let literal = rest.prefix { $0 != UInt8(ascii: "[") }
      rest = rest.dropFirst(literal.count)
      nameBytes += literal.count
      if !literal.isEmpty { pieces.append(.text(String(decoding: literal, as: UTF8.self))) }
      guard !rest.isEmpty else { break }
      let inside = rest.dropFirst().prefix { $0 != UInt8(ascii: "]") }
      rest = rest.dropFirst(inside.count + 2)
      let numbers = try Self.numbers(inside, text)
      nameBytes += numbers.map { max($0.width, "\($0.range.upperBound)".utf8.count) }.max() ?? 0
      let (product, isTooMany) = count.multipliedReportingOverflow(by: numbers.reduce(0) { $0 + $1.range.count })
      guard !isTooMany, product <= SlurmAllocation.mostHosts else {
        throw SlurmAllocation.bad(text, "stands for more than \(SlurmAllocation.mostHosts) hosts")
      }
      count = product
      pieces.append(.numbers(numbers))
      guard nameBytes <= 253 else { throw SlurmAllocation.bad(text, "has names of more than 253 characters") }
    }
  }

  private static func numbers(
    _ list: ArraySlice<UInt8>, _ text: String
  ) throws(Failure) -> [(range: ClosedRange<Int>, width: Int)] {
    var numbers: [(range: ClosedRange<Int>, width: Int)] = []
    for range in list.split(separator: UInt8(ascii: ",")) {
      let ends = range.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        .map { String(decoding: $0, as: UTF8.self) }
      guard ends.count <= 2 else { throw SlurmAllocation.bad(text, "has a range with two dashes") }
      let first = try SlurmAllocation.number(ends[0][...], at: "SLURM_JOB_NODELIST", 0...99_999_999)
      let last = try SlurmAllocation.number(ends[ends.count - 1][...], at: "SLURM_JOB_NODELIST", 0...99_999_999)
      guard first <= last, last - first < SlurmAllocation.mostHosts else {
        throw SlurmAllocation.bad(text, "has a range that falls or is too long")
      }
      // Leading zeros belong to the name.
      numbers.append((first...last, ends[0].utf8.count))
    }
    return numbers
  }

  /// All of them, in order.
  var all: [String] {
    var names = [""]
    for piece in pieces {
      switch piece {
      case .text(let text): for index in names.indices { names[index] += text }
      case .numbers(let numbers):
        names = names.flatMap { name in
          numbers.flatMap { number in
            number.range.map { value in
              let digits = "\(value)"
              return name + String(repeating: "0", count: max(0, number.width - digits.utf8.count)) + digits
            }
          }
        }
      }
    }
    return names
  }
}
