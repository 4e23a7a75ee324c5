/// The rows of one step on one rank, packed: their tokens end to end, without padding.
///
/// What reads a data set fills it, and a model computes it where it lies. It is filled again and again: memory grows where a
/// batch is larger than all before, and stays where it is otherwise. Pointers are valid until the next row is appended.
public final class PackedBatch {
  private var tokenIDColumn = Column<Int32>()
  private var typeIDColumn = Column<Int32>()
  private var startColumn = Column<Int32>()
  private var rowColumn = Column<Int>()
  private var classColumn = Column<Int32>()
  private var scoreColumn = Column<Float>()
  private var categoryColumn = Column<Int32>()
  private var categoryStartColumn = Column<Int32>()

  /// The tokens of the longest row, to which a padded batch is padded.
  public private(set) var longestRow = 0
  /// Whether rows have sets of classes, so that the loss is binary cross-entropy.
  public private(set) var isMultiLabel = false

  public init() {
    startColumn.append(0)
    categoryStartColumn.append(0)
  }

  deinit {
    for column in [tokenIDColumn, typeIDColumn, startColumn, classColumn, categoryColumn, categoryStartColumn] {
      column.free()
    }
    rowColumn.free()
    scoreColumn.free()
  }

  /// Tokens of all rows.
  public var tokens: Int { tokenIDColumn.count }
  /// Rows.
  public var sequences: Int { rowColumn.count }
  /// `[tokens]`.
  public var tokenIDs: UnsafePointer<Int32> { UnsafePointer(tokenIDColumn.start) }
  /// `[tokens]`.
  public var typeIDs: UnsafePointer<Int32> { UnsafePointer(typeIDColumn.start) }
  /// `[sequences + 1]`: row `i` of the batch is tokens `starts[i]..<starts[i + 1]`.
  public var starts: UnsafePointer<Int32> { UnsafePointer(startColumn.start) }
  /// `[sequences]`: the rows' numbers in the data set, the address of their randomness.
  public var rows: UnsafePointer<Int> { UnsafePointer(rowColumn.start) }
  /// `[sequences]`: the class, or -1 where the row has none.
  public var classes: UnsafePointer<Int32> { UnsafePointer(classColumn.start) }
  /// `[sequences]`: the score of a regression task, or 0 where the row has none.
  public var scores: UnsafePointer<Float> { UnsafePointer(scoreColumn.start) }
  /// Classes of rows that may have several, end to end; none for other tasks.
  public var categories: UnsafeBufferPointer<Int32> {
    UnsafeBufferPointer(start: categoryColumn.start, count: categoryColumn.count)
  }
  /// `[sequences + 1]`: row `i` has `categories[categoryStarts[i]..<categoryStarts[i + 1]]`.
  public var categoryStarts: UnsafePointer<Int32> { UnsafePointer(categoryStartColumn.start) }

  /// The tokens of a row.
  public func length(_ sequence: Int) -> Int { Int(starts[sequence + 1]) - Int(starts[sequence]) }

  /// Makes room for the largest batch, so that filling it allocates nothing.
  public func reserveCapacity(sequences: Int, tokens: Int) {
    tokenIDColumn.reserve(tokens)
    typeIDColumn.reserve(tokens)
    startColumn.reserve(sequences + 1)
    rowColumn.reserve(sequences)
    classColumn.reserve(sequences)
    scoreColumn.reserve(sequences)
    categoryStartColumn.reserve(sequences + 1)
  }

  /// Forgets all rows.
  ///
  /// - Parameter isMultiLabel: whether those that come have sets of classes.
  public func removeAll(isMultiLabel: Bool = false) {
    tokenIDColumn.count = 0
    typeIDColumn.count = 0
    startColumn.count = 1
    rowColumn.count = 0
    classColumn.count = 0
    scoreColumn.count = 0
    categoryColumn.count = 0
    categoryStartColumn.count = 1
    longestRow = 0
    self.isMultiLabel = isMultiLabel
  }

  /// Appends a row, which has no sets of classes yet.
  ///
  /// - Parameters:
  ///   - row: its number in the data set.
  ///   - typeIDs: as many as `tokenIDs`.
  public func append(
    row: Int, tokenIDs: UnsafeBufferPointer<Int32>, typeIDs: UnsafeBufferPointer<Int32>, class index: Int32 = -1,
    score: Float = 0
  ) {
    precondition(tokenIDs.count == typeIDs.count, "\(tokenIDs.count) tokens with \(typeIDs.count) types")
    tokenIDColumn.append(contentsOf: tokenIDs)
    typeIDColumn.append(contentsOf: typeIDs)
    startColumn.append(Int32(tokens))
    rowColumn.append(row)
    classColumn.append(index)
    scoreColumn.append(score)
    categoryStartColumn.append(Int32(categoryColumn.count))
    longestRow = max(longestRow, tokenIDs.count)
  }

  /// Gives the last row one more class.
  public func append(category: Int32) {
    categoryColumn.append(category)
    categoryStartColumn.start[sequences] = Int32(categoryColumn.count)
  }
}

/// Numbers in memory that moves only where there is no room.
private struct Column<Value: BitwiseCopyable> {
  private(set) var start: UnsafeMutablePointer<Value> = .allocate(capacity: 16)
  private var capacity = 16
  var count = 0

  mutating func reserve(_ wanted: Int) {
    guard wanted > capacity else { return }
    let larger = UnsafeMutablePointer<Value>.allocate(capacity: wanted)
    larger.update(from: start, count: count)
    start.deallocate()
    start = larger
    capacity = wanted
  }

  mutating func append(_ value: Value) {
    if count == capacity { reserve(2 * count) }
    start[count] = value
    count += 1
  }

  mutating func append(contentsOf values: UnsafeBufferPointer<Value>) {
    guard let source = values.baseAddress else { return }
    if count + values.count > capacity { reserve(max(2 * count, count + values.count)) }
    (start + count).update(from: source, count: values.count)
    count += values.count
  }

  func free() { start.deallocate() }
}
