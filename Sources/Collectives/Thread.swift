import Glibc
import Synchronization

/// A POSIX thread with a stack of a given size: the default of 8 MB is little for a rank.
package struct Thread {
  private let handle: pthread_t

  private final class Job: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }

  /// Starts `body`; nil, with `errno` set, where the system refuses.
  package init?(stackBytes: Int, _ body: @escaping @Sendable () -> Void) {
    var attributes = pthread_attr_t()
    guard pthread_attr_init(&attributes) == 0 else { return nil }
    defer { pthread_attr_destroy(&attributes) }
    let sizeStatus = pthread_attr_setstacksize(&attributes, stackBytes)
    precondition(sizeStatus == 0, "a stack of \(stackBytes) bytes: error \(sizeStatus)")
    let job = Unmanaged.passRetained(Job(body))
    var handle = pthread_t()
    let status = pthread_create(
      &handle, &attributes,
      { argument in
        Unmanaged<Job>.fromOpaque(argument!).takeRetainedValue().body()
        return nil
      }, job.toOpaque())
    guard status == 0 else {
      job.release()
      errno = status
      return nil
    }
    self.handle = handle
  }

  /// Waits until the thread has ended.
  package func join() {
    let status = pthread_join(handle, nil)
    precondition(status == 0, "pthread_join: error \(status)")
  }
}

/// The ranks' results, set by each thread.
final class SharedResults<Result: Sendable>: Sendable {
  private let results: Mutex<[Result?]>

  init(count: Int) { results = Mutex(Array(repeating: nil, count: count)) }

  func set(_ result: Result, at index: Int) { results.withLock { $0[index] = result } }

  /// All results; every thread has set its own.
  func all() -> [Result] {
    results.withLock { results in
      results.enumerated().map { index, result in
        guard let result else { preconditionFailure("rank \(index) has ended without result or failure") }
        return result
      }
    }
  }
}
