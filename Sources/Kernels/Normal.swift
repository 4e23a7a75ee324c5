/// Overwrites `output` with normal numbers of mean 0 that are a function of (seed, place) alone.
///
/// Box and Muller's transform: √(-2 ln u) · (cos 2πv, sin 2πv), u and v from Philox words, u in (0, 1).
///
/// - Parameter start: the place of the first number; number i is that of place `start + i`.
public func fillNormal(count: Int, deviation: Float, seed: UInt64, start: Int, into output: UnsafeMutablePointer<Float>)
{
  let key = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
  let firstBlock = start >> 2
  let skipped = start & 3
  var done = 0
  // Blocks of four numbers; the first and the last may be partial.
  if skipped > 0 {
    let block = normalBlock(firstBlock, key: key, deviation: deviation)
    let numbers = [block.0, block.1, block.2, block.3]
    while done < min(count, 4 - skipped) {
      output[done] = numbers[skipped + done]
      done += 1
    }
  }
  let wholeStart = (start + done) >> 2
  let wholeBlocks = (count - done) / 4
  let whole = output + done
  for index in 0..<wholeBlocks {
    let block = normalBlock(wholeStart + index, key: key, deviation: deviation)
    whole[4 * index] = block.0
    whole[4 * index + 1] = block.1
    whole[4 * index + 2] = block.2
    whole[4 * index + 3] = block.3
  }
  done += 4 * wholeBlocks
  if done < count {
    let block = normalBlock((start + done) >> 2, key: key, deviation: deviation)
    let numbers = [block.0, block.1, block.2, block.3]
    for index in 0..<(count - done) { output[done + index] = numbers[index] }
  }
}

@inline(__always)
private func normalBlock(_ block: Int, key: (UInt32, UInt32), deviation: Float) -> (Float, Float, Float, Float) {
  // The last counter word tells initialization from dropout, whose last word is the step.
  let words = philox4x32(
    (UInt32(truncatingIfNeeded: block), UInt32(truncatingIfNeeded: block >> 32), 0, UInt32.max), key: key)
  let first = normalPair(words.0, words.1, deviation)
  let second = normalPair(words.2, words.3, deviation)
  return (first.0, first.1, second.0, second.1)
}

@inline(__always)
private func normalPair(_ first: UInt32, _ second: UInt32, _ deviation: Float) -> (Float, Float) {
  let u = (Float(first >> 9) + 0.5) * (1 / 8_388_608)
  let turn = Float(Int32(second >> 8)) * (1 / 16_777_216) - 0.5
  let radius = (-2 * naturalLogarithm(u)).squareRoot() * deviation
  let s = turn * turn
  return (radius * cosineOfTurn(s), radius * turn * sineOfTurnOverTurn(s))
}
