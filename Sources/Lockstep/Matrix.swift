/// Numbers of a batch's rows, row by row, such as logits: `[rows, columns]`.
public struct Matrix: Sendable, Equatable {
  public let rows: Int
  public let columns: Int
  /// `[rows * columns]`, a row after the other.
  public var values: [Float]

  /// All zeros.
  public init(rows: Int, columns: Int) {
    self.init(rows: rows, columns: columns, [Float](repeating: 0, count: rows * columns))
  }

  /// - Parameters:
  ///   - rows: how many.
  ///   - columns: numbers of a row.
  ///   - values: `rows * columns` numbers, a row after the other.
  public init(rows: Int, columns: Int, _ values: [Float]) {
    precondition(values.count == rows * columns, "\(values.count) numbers for a matrix of \(rows) times \(columns)")
    self.rows = rows
    self.columns = columns
    self.values = values
  }

  /// `[rows, columns]`.
  public var shape: [Int] { [rows, columns] }

  public subscript(row: Int, column: Int) -> Float {
    get { values[place(row, column)] }
    set { values[place(row, column)] = newValue }
  }

  private func place(_ row: Int, _ column: Int) -> Int {
    precondition(
      0..<rows ~= row && 0..<columns ~= column, "[\(row), \(column)] of a matrix of \(rows) times \(columns)")
    return row * columns + column
  }

  /// The column of each row's largest number, the first where several are: `[rows]`. torch's `argmax(dim=-1)`.
  public func argmax() -> [Int] {
    (0..<rows).map { row in
      (1..<max(columns, 1)).reduce(0) { self[row, $1] > self[row, $0] ? $1 : $0 }
    }
  }
}
