import Collectives
import Glibc
import System

/// Faults of memory that are planted, to see that a sanitizer sees them.
let planted: [String: Check] = [
  // Two threads add to one number without an order.
  "race": { (communicator, _) throws(Failure) in
    let count = SharedCount()
    let threads = (0..<2).compactMap { _ in Thread(stackBytes: 1 << 20) { for _ in 0..<10_000 { count.value += 1 } } }
    for thread in threads { thread.join() }
    writeLine("counted \(count.value)")
  },
  // A read behind the end of a block.
  "overrun": { (communicator, number) throws(Failure) in
    let block = UnsafeMutablePointer<Int>.allocate(capacity: 4)
    block.initialize(repeating: 1, count: 4)
    writeLine("read \((block + 4 + number).pointee)")
    block.deallocate()
  },
]

/// Unchecked, because it is the fault.
private final class SharedCount: @unchecked Sendable {
  var value = 0
}
