import Glibc
import Synchronization

/// The threads of one rank, which share out a loop's work; the caller is one of them.
///
/// A worker that has nothing to do looks for work for about a millisecond, since the next loop of a layer is near and
/// waking up takes longer than many a loop, and then sleeps. One instance serves one caller at a time.
public final class ThreadPool {
  /// Threads, the caller included.
  public let count: Int
  private let workers: [Worker]

  /// - Parameter count: at least 1. Where the system gives fewer threads, there are fewer.
  public init(count: Int) {
    precondition(count >= 1, "\(count) threads")
    var workers: [Worker] = []
    for thread in 1..<count {
      guard let worker = Worker(thread: thread) else { break }
      workers.append(worker)
    }
    self.workers = workers
    self.count = workers.count + 1
  }

  deinit { for worker in workers { worker.end() } }

  /// Calls `body` once for each thread, `0..<count`, at the same time, and returns when all have returned.
  public func run(_ body: (Int) -> Void) {
    guard !workers.isEmpty else { return body(0) }
    withoutActuallyEscaping(body) { body in
      // The workers know no more than its address.
      withExtendedLifetime(Work(body)) { work in
        for worker in workers { worker.begin(work) }
        body(0)
        for worker in workers { worker.wait() }
      }
    }
  }

  /// Calls `body` with a thread and its part of `0..<total`, for each thread whose part is not empty. Parts begin at
  /// multiples of `grain`, and are as even as that allows.
  public func forEachPart(of total: Int, grain: Int = 1, _ body: (Int, Range<Int>) -> Void) {
    let grains = (total + grain - 1) / grain
    let used = min(count, grains)
    guard used > 1 else {
      if total > 0 { body(0, 0..<total) }
      return
    }
    run { thread in
      guard thread < used else { return }
      let start = grains * thread / used * grain
      let end = min(grains * (thread + 1) / used * grain, total)
      body(thread, start..<end)
    }
  }

  /// Calls `body` with a thread and an item, once for each of `0..<count`. Whoever is free takes the next one, so that
  /// threads end together though items differ, or the system took a core away for a while.
  public func forEachItem(of count: Int, _ body: (Int, Int) -> Void) {
    guard self.count > 1 && count > 1 else {
      for item in 0..<count { body(0, item) }
      return
    }
    let taken = Atomic<Int>(0)
    run { thread in
      while case let item = taken.add(1, ordering: .relaxed).oldValue, item < count { body(thread, item) }
    }
  }

  /// The same for blocks of `blockCount` of `0..<total`, the last one shorter. Which blocks there are does not depend on
  /// the number of threads, so neither do sums over each.
  public func forEachBlock(of total: Int, blockCount: Int, _ body: (Int, Range<Int>) -> Void) {
    forEachItem(of: (total + blockCount - 1) / blockCount) { thread, block in
      body(thread, block * blockCount..<min((block + 1) * blockCount, total))
    }
  }
}

/// A loop's body on its way to the workers.
private final class Work {
  let body: (Int) -> Void
  init(_ body: @escaping (Int) -> Void) { self.body = body }
}

/// One thread and what is passed to it.
private final class Worker: Sendable {
  private let thread: Int
  /// Counts what was given out.
  private let given = Atomic<Int>(0)
  private let done = Atomic<Int>(0)
  /// The `Work` as an address: whoever gives it out keeps it alive until it is done.
  private let work = Atomic<UInt>(0)
  private let isAsleep = Atomic<Bool>(false)
  private let mayEnd = Atomic<Bool>(false)
  // A semaphore is made for use by several threads.
  private nonisolated(unsafe) let alarm: UnsafeMutablePointer<sem_t>

  init?(thread: Int) {
    self.thread = thread
    alarm = .allocate(capacity: 1)
    sem_init(alarm, 0, 0)
    var handle = pthread_t()
    let reference = Unmanaged.passRetained(self)
    let status = pthread_create(
      &handle, nil,
      { argument in
        Unmanaged<Worker>.fromOpaque(argument!).takeRetainedValue().live()
        return nil
      }, reference.toOpaque())
    guard status == 0 else {
      reference.release()
      return nil
    }
    pthread_detach(handle)
  }

  deinit {
    sem_destroy(alarm)
    alarm.deallocate()
  }

  func begin(_ work: Work) {
    self.work.store(UInt(bitPattern: Unmanaged.passUnretained(work).toOpaque()), ordering: .relaxed)
    giveOut()
  }

  /// Returns when the work given out last is done.
  func wait() {
    let target = given.load(ordering: .relaxed)
    var looks = 0
    while done.load(ordering: .acquiring) != target {
      looks += 1
      // The thread may need this core.
      if looks % 4096 == 0 { sched_yield() }
    }
  }

  func end() {
    mayEnd.store(true, ordering: .relaxed)
    giveOut()
  }

  private func giveOut() {
    given.add(1, ordering: .sequentiallyConsistent)
    if isAsleep.exchange(false, ordering: .sequentiallyConsistent) { sem_post(alarm) }
  }

  private func live() {
    var seen = 0
    while true {
      waitForMore(than: seen)
      seen += 1
      if mayEnd.load(ordering: .relaxed) { return }
      if let address = UnsafeRawPointer(bitPattern: work.load(ordering: .relaxed)) {
        Unmanaged<Work>.fromOpaque(address).takeUnretainedValue().body(thread)
      }
      done.store(seen, ordering: .releasing)
    }
  }

  private func waitForMore(than seen: Int) {
    let looksBeforeSleep = 500_000
    for look in 1...looksBeforeSleep {
      if given.load(ordering: .acquiring) != seen { return }
      // Another thread may need this core.
      if look % 4096 == 0 { sched_yield() }
    }
    while given.load(ordering: .sequentiallyConsistent) == seen {
      isAsleep.store(true, ordering: .sequentiallyConsistent)
      // Whoever takes the flag back decides: the giver, who then rings, or this thread, who then need not sleep.
      if given.load(ordering: .sequentiallyConsistent) != seen,
        isAsleep.exchange(false, ordering: .sequentiallyConsistent)
      {
        return
      }
      while sem_wait(alarm) != 0 {}
    }
  }
}
