import FlightRecorder
import Glibc
import System

/// Where the ranks of a `ThreadCommunicator` meet: a barrier that compares their calls and shows them each other's
/// buffers.
///
/// Unchecked, because the compiler knows no lock that one can wait on: every `var` is touched under `lock` only.
final class ThreadRendezvous: @unchecked Sendable {
  let size: Int
  let host: String
  private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var calls: [Call]
  private var buffers: [UnsafeMutableRawBufferPointer]
  private var arrived: [Int] = []
  private var finished: [Int] = []
  private var blockCount = 0
  /// Memory that ranks are about to show one another.
  private var shown: [Int: FloatBlock] = [:]
  /// Messages that were sent and not yet received, the oldest first.
  private var mail: [MailAddress: [[UInt8]]] = [:]
  /// Counts the times that all ranks have arrived.
  private var round = 0
  /// What every collective throws from now on.
  private var broken: Failure?
  private var first: Failure?

  init(size: Int, host: String) {
    self.size = size
    self.host = host
    calls = Array(repeating: Call(.barrier), count: size)
    buffers = Array(repeating: UnsafeMutableRawBufferPointer(start: nil, count: 0), count: size)
    let mutexStatus = pthread_mutex_init(lock, nil)
    let conditionStatus = pthread_cond_init(changed, nil)
    precondition(mutexStatus == 0 && conditionStatus == 0, "pthread init: \(mutexStatus), \(conditionStatus)")
  }

  deinit {
    pthread_cond_destroy(changed)
    pthread_mutex_destroy(lock)
    changed.deallocate()
    lock.deallocate()
  }

  /// Makes memory of one rank that all may see, to be found by `block(of:)` until the rank hides it.
  func showBlock(_ count: Int, of rank: Int) -> FloatBlock {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    blockCount += 1
    let block = FloatBlock(count, number: blockCount)
    shown[rank] = block
    return block
  }

  func block(of rank: Int) -> FloatBlock? {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    return shown[rank]
  }

  func hideBlock(of rank: Int) {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    shown[rank] = nil
  }

  /// Throws where a rank has failed.
  func check() throws(Failure) {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    if let broken { throw broken }
  }

  /// Keeps a copy of a message for its receiver.
  func post(_ bytes: UnsafeRawBufferPointer, _ address: MailAddress) {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    mail[address, default: []].append(Array(bytes))
  }

  /// Copies the oldest message for `address` into `bytes`; false where there is none yet.
  func take(_ address: MailAddress, into bytes: UnsafeMutableRawBufferPointer) throws(Failure) -> Bool {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    // What broke first counts, not what follows from it.
    if let broken { throw broken }
    guard var waiting = mail[address], !waiting.isEmpty else {
      if finished.contains(address.sender) {
        throw fail(
          Failure(
            .disagreement,
            "ranks on host \(host) disagree: rank \(address.sender) has ended, rank \(address.receiver) waits for its message"
          ))
      }
      return false
    }
    let message = waiting.removeFirst()
    mail[address] = waiting.isEmpty ? nil : waiting
    guard message.count == bytes.count else {
      throw fail(
        Failure(
          .disagreement,
          "rank \(address.sender) sends \(message.count) bytes, rank \(address.receiver) expects \(bytes.count)"))
    }
    bytes.copyBytes(from: message)
    return true
  }

  /// Waits until all ranks have made the same `call`, lets each do its `work` on all ranks' buffers, and returns when
  /// all have done it, so that no buffer is in use any more.
  func collective(
    _ call: Call, rank: Int, buffer: UnsafeMutableRawBufferPointer,
    _ work: ([UnsafeMutableRawBufferPointer]) -> Void
  ) throws(Failure) {
    work(try arrive(rank, call: call, buffer: buffer))
    // Nobody leaves before all have done their work, whatever a message elsewhere has broken meanwhile: they read one
    // another's buffers. All ranks come here, so nobody waits in vain.
    _ = try arrive(rank, call: call, buffer: buffer, isLeaving: true)
  }

  /// All ranks' buffers, in an array of the caller's own: it is read without the lock, and sharing one would leave the order
  /// of these reads before the next round's writes to reference counts.
  private func arrive(
    _ rank: Int, call: Call, buffer: UnsafeMutableRawBufferPointer, isLeaving: Bool = false
  ) throws(Failure) -> [UnsafeMutableRawBufferPointer] {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    if !isLeaving {
      if let broken { throw broken }
      if let gone = finished.first { throw fail(unmatched(gone, waiting: rank, at: call)) }
    }
    calls[rank] = call
    buffers[rank] = buffer
    arrived.append(rank)
    if arrived.count == size {
      if let other = calls.firstIndex(where: { $0 != calls[0] }) {
        throw fail(
          Failure(
            .disagreement,
            "ranks on host \(host) call different collectives: rank 0 \(calls[0]), rank \(other) \(calls[other])"))
      }
      arrived = []
      round += 1
      pthread_cond_broadcast(changed)
      return buffers.map { $0 }
    }
    let current = round
    while round == current {
      // After the round has moved on nothing can stop this collective, so `broken` counts only before.
      if let broken, !isLeaving { throw broken }
      pthread_cond_wait(changed, lock)
    }
    return buffers.map { $0 }
  }

  /// Tells the others that `rank` has ended. A failure that all ranks agreed on is nobody's in particular.
  func finish(_ rank: Int, failure: Failure?, isAgreed: Bool = false) {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    finished.append(rank)
    if let failure {
      if broken == nil {
        let named = isAgreed ? failure : failure.from(rank: rank, host: host)
        first = named
        broken = Failure(.lost, "\(rankLabel(rank, host: host)) has failed: \(named)")
        pthread_cond_broadcast(changed)
      }
    } else if broken == nil, let waiting = arrived.first {
      _ = fail(unmatched(rank, waiting: waiting, at: calls[waiting]))
    }
  }

  /// The failure that came first; nil if no rank failed.
  var firstFailure: Failure? {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    return first
  }

  private func unmatched(_ gone: Int, waiting: Int, at call: Call) -> Failure {
    Failure(.disagreement, "ranks on host \(host) disagree: rank \(gone) has ended, rank \(waiting) calls \(call)")
  }

  /// Under the lock: breaks the rendezvous for all ranks.
  private func fail(_ failure: Failure) -> Failure {
    broken = failure
    first = failure
    pthread_cond_broadcast(changed)
    return failure
  }
}
