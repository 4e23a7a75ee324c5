import Collectives
import Glibc
import Synchronization
import System

/// Moves an exchange on: by a thread of its own, or, where there may be none, while somebody waits.
///
/// The thread sleeps for fractions of a millisecond where nothing moves, so that it leaves the core to the computation;
/// the kernel's buffers carry on meanwhile.
final class ExchangeThread {
  let exchange: GradientExchange
  private let communicator: any Communicator
  private let state: State
  private let thread: Thread?
  private var begunSteps = 0

  /// What the thread and its owner share.
  private final class State: Sendable {
    let failure = Mutex<Failure?>(nil)
    let hasFailed = Atomic<Bool>(false)
    let mayEnd = Atomic<Bool>(false)
    /// Steps that the thread is through with.
    let steps = Atomic<Int>(0)
    // A semaphore is made for use by several threads.
    nonisolated(unsafe) let begun: UnsafeMutablePointer<sem_t> = .allocate(capacity: 1)

    init() { sem_init(begun, 0, 0) }

    deinit {
      sem_destroy(begun)
      begun.deallocate()
    }

    func fail(_ failure: Failure) {
      self.failure.withLock { $0 = failure }
      hasFailed.store(true, ordering: .releasing)
    }
  }

  /// - Parameter overlaps: whether the exchange runs beside the computation.
  init(_ exchange: GradientExchange, _ communicator: any Communicator, overlaps: Bool) {
    self.exchange = exchange
    self.communicator = communicator
    let state = State()
    self.state = state
    // A rank in no peer group has nothing to move.
    guard overlaps, exchange.isInPeerGroup else {
      thread = nil
      return
    }
    thread = Thread(stackBytes: 1 << 20) {
      goBeforeComputation()
      while true {
        while sem_wait(state.begun) != 0 {}
        var sleep = Sleep()
        while !exchange.isFinished {
          if state.mayEnd.load(ordering: .relaxed) { return }
          do throws(Failure) {
            if try exchange.pump() { sleep.reset() } else { sleep() }
          } catch {
            state.fail(error)
            return
          }
        }
        if state.mayEnd.load(ordering: .relaxed) { return }
        state.steps.add(1, ordering: .releasing)
      }
    }
  }

  deinit {
    state.mayEnd.store(true, ordering: .relaxed)
    sem_post(state.begun)
    thread?.join()
  }

  /// Begins a step; see `GradientExchange.begin`.
  func begin(step: Int, header: StepHeader) {
    guard thread != nil else { return exchange.begin(step: step, header: header) }
    // It said that the step before was finished a moment before it was through with it.
    while state.steps.load(ordering: .acquiring) != begunSteps && !state.hasFailed.load(ordering: .acquiring) {
      sched_yield()
    }
    begunSteps += 1
    exchange.begin(step: step, header: header)
    sem_post(state.begun)
  }

  /// Returns when `condition` gives something; moves the exchange on where no thread does.
  func wait<Value>(_ condition: () -> Value?) throws(Failure) -> Value {
    var sleep = Sleep()
    var moves = exchange.moveCount
    while true {
      if let value = condition() { return value }
      if state.hasFailed.load(ordering: .acquiring), let failure = state.failure.withLock({ $0 }) { throw failure }
      var moved = false
      if thread == nil { moved = try exchange.pump() }
      if exchange.moveCount != moves {
        moves = exchange.moveCount
        communicator.record?.touch()
      }
      if moved { sleep.reset() } else { sleep() }
    }
  }
}

/// Lets this thread run as soon as it wakes, where the process has a real-time priority: it would else wait for the end of
/// the computing thread's time slice. A wish: without the right to it, it waits.
private func goBeforeComputation() {
  var policy: Int32 = 0
  var parameters = sched_param()
  guard pthread_getschedparam(pthread_self(), &policy, &parameters) == 0, policy == SCHED_RR || policy == SCHED_FIFO
  else { return }
  parameters.sched_priority += 1
  _ = pthread_setschedparam(pthread_self(), policy, &parameters)
}

/// Sleeps that become longer while nothing happens.
private struct Sleep {
  private var microseconds: UInt32 = 20

  mutating func reset() { microseconds = 20 }

  mutating func callAsFunction() {
    usleep(microseconds)
    microseconds = min(2 * microseconds, 400)
  }
}
