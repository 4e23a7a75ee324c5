import Glibc
import Kernels
import Synchronization
import Testing

struct ThreadPoolTests {
  @Test("every part of a loop is done once, by the thread that it belongs to", arguments: 1...5)
  func parts(threads: Int) {
    let pool = ThreadPool(count: threads)
    #expect(pool.count == threads)
    for (total, grain) in [(0, 1), (1, 1), (2, 1), (7, 3), (64, 64), (65, 64), (1000, 7), (1000, 1)] {
      let parts = Mutex<[(thread: Int, range: Range<Int>)]>([])
      pool.forEachPart(of: total, grain: grain) { thread, range in parts.withLock { $0.append((thread, range)) } }
      let sorted = parts.withLock { $0 }.sorted { $0.range.lowerBound < $1.range.lowerBound }
      #expect(sorted.flatMap { Array($0.range) } == Array(0..<total), "\(total) by \(grain)")
      #expect(sorted.allSatisfy { !$0.range.isEmpty && $0.range.lowerBound % grain == 0 })
      #expect(Set(sorted.map(\.thread)).count == sorted.count)
      let sizes = sorted.map(\.range.count)
      #expect((sizes.max() ?? 0) - (sizes.min() ?? 0) < 2 * grain)
    }
  }

  @Test("every item and every block is done once, blocks the same for any number of threads", arguments: 1...5)
  func items(threads: Int) {
    let pool = ThreadPool(count: threads)
    for count in [0, 1, 2, 7, 1000] {
      let items = Mutex<[Int]>([])
      pool.forEachItem(of: count) { thread, item in
        #expect(0..<threads ~= thread)
        items.withLock { $0.append(item) }
      }
      #expect(items.withLock { $0 }.sorted() == Array(0..<count))
    }
    let blocks = Mutex<[Range<Int>]>([])
    pool.forEachBlock(of: 10, blockCount: 4) { _, block in blocks.withLock { $0.append(block) } }
    #expect(blocks.withLock { $0 }.sorted { $0.lowerBound < $1.lowerBound } == [0..<4, 4..<8, 8..<10])
  }

  @Test("threads work at the same time, and what they wrote is seen after the loop, however long they slept before")
  func rounds() {
    let pool = ThreadPool(count: 3)
    var values = [Int](repeating: 0, count: 3)
    for round in 1...2000 {
      // Now and then longer than the threads look for work.
      if round % 400 == 0 { usleep(20_000) }
      let arrived = Atomic<Int>(0)
      values.withUnsafeMutableBufferPointer { values in
        pool.run { thread in
          arrived.add(1, ordering: .relaxed)
          // Returns only if all are in here together.
          while arrived.load(ordering: .relaxed) < 3 { sched_yield() }
          values[thread] += thread + round
        }
      }
      #expect(values == (0..<3).map { thread in (1...round).reduce(0) { $0 + thread + $1 } })
    }
  }

  @Test("a pool that is gone leaves no thread behind")
  func end() throws {
    func threadCount() throws -> Int {
      let status = try #require(fopen("/proc/self/status", "r"))
      defer { fclose(status) }
      var line = [CChar](repeating: 0, count: 256)
      while fgets(&line, 256, status) != nil {
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if text.hasPrefix("Threads:") { return Int(text.dropFirst(8).filter(\.isNumber)) ?? 0 }
      }
      return 0
    }
    for _ in 0..<50 {
      let pool = ThreadPool(count: 8)
      pool.run { _ in }
    }
    // Other tests have threads too, but not hundreds.
    var left = 1000
    for _ in 0..<200 where left > 100 {
      usleep(10_000)
      left = try threadCount()
    }
    #expect(left <= 100, "\(left) threads")
  }
}
