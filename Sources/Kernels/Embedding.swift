/// Sums the rows of three tables for every token: BERT's word + position + token type embeddings; or of two, where there
/// are no types.
///
/// - Parameters:
///   - words, positions, types: tables with `columns` columns.
///   - wordIDs, typeIDs: `[tokens]`.
///   - positionIDs: `[tokens]`.
///   - output: `[tokens, columns]`, overwritten.
public func embed(
  tokens: Int, columns: Int, words: UnsafePointer<Float>, wordIDs: UnsafePointer<Int32>,
  positions: UnsafePointer<Float>, positionIDs: UnsafePointer<Int32>, types: UnsafePointer<Float>?,
  typeIDs: UnsafePointer<Int32>, into output: UnsafeMutablePointer<Float>
) {
  for token in 0..<tokens {
    let word = words + Int(wordIDs[token]) * columns
    let position = positions + Int(positionIDs[token]) * columns
    let out = output + token * columns
    guard let types else {
      for j in 0..<columns { out[j] = word[j] + position[j] }
      continue
    }
    let type = types + Int(typeIDs[token]) * columns
    for j in 0..<columns { out[j] = word[j] + type[j] + position[j] }
  }
}

/// Adds each token's gradient to the row of its id.
///
/// - Parameters:
///   - skippedID: tokens of this id add nothing (torch's `padding_idx`); nil where all count.
///   - gradient: `[tokens, width]`.
///   - table: `[ids, width]`, of which the columns `part` are added to.
public func embedBackward(
  tokens: Int, width: Int, _ part: Range<Int>, ids: UnsafePointer<Int32>, skippedID: Int32? = nil,
  gradient: UnsafePointer<Float>, into table: UnsafeMutablePointer<Float>
) {
  for token in 0..<tokens where ids[token] != skippedID {
    let row = table + Int(ids[token]) * width
    let source = gradient + token * width
    for j in part { row[j] += source[j] }
  }
}
