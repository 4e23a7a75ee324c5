/// The rows of a table that a target's tokens have, and which tokens have each, in order.
struct TableTokens {
  /// A row, and the places of its tokens in `order`.
  private(set) var runs: [(row: Int32, places: Range<Int>)] = []
  private(set) var order: [Int] = []
  /// By row of the table: its place in `runs`, or -1.
  private var places: [Int32] = []

  mutating func begin(rows: Int) {
    for run in runs { places[Int(run.row)] = -1 }
    runs.removeAll(keepingCapacity: true)
    order.removeAll(keepingCapacity: true)
    while places.count < rows { places.append(-1) }
  }

  /// Notes that one more token has the row.
  mutating func count(_ row: Int32) {
    if places[Int(row)] < 0 {
      places[Int(row)] = Int32(runs.count)
      runs.append((row, 0..<0))
    }
    let place = Int(places[Int(row)])
    runs[place].places = 0..<runs[place].places.count + 1
  }

  /// Makes room for the tokens that were counted.
  mutating func makeRoom() {
    var end = 0
    for place in runs.indices {
      let count = runs[place].places.count
      runs[place].places = end..<end
      end += count
    }
    while order.count < end { order.append(0) }
  }

  mutating func add(_ token: Int, row: Int32) {
    let place = Int(places[Int(row)])
    order[runs[place].places.upperBound] = token
    runs[place].places = runs[place].places.lowerBound..<runs[place].places.upperBound + 1
  }
}
