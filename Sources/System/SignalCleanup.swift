import Glibc
import Synchronization

/// Paths that a signal removes when it ends the process: temporary files and folders.
///
/// Only `kill -9` and a crash leave them; then the next run on the same output removes them.
enum SignalCleanup {
  /// Signals that end a process and that a user, a terminal or a batch system sends.
  private static let signals = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXCPU, SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2]

  /// Has `path`, a file or an empty folder, removed at such a signal; the number to `forget` it by.
  ///
  /// Nil where all places are taken: then the next run removes it.
  static func add(_ path: String) -> Int? {
    installHandlers()
    guard let copy = strdup(path) else { return nil }
    for index in 0..<placeCount {
      let isTaken = places[index].compareExchange(
        expected: 0, desired: UInt(bitPattern: copy), ordering: .sequentiallyConsistent
      ).exchanged
      if isTaken { return index }
    }
    free(copy)
    return nil
  }

  /// Its memory stays: a signal's handler on another thread may just be about to remove what it names, and must not find
  /// another path there.
  static func forget(_ index: Int?) {
    guard let index else { return }
    places[index].store(0, ordering: .sequentiallyConsistent)
  }

  /// Ends the process by a signal, as without a handler, after it has removed what is to be removed. In a handler.
  static func removeAndDie(_ number: Int32) { dieOf(number) }

  private static func installHandlers() {
    let isFirst = !areInstalled.exchange(true, ordering: .sequentiallyConsistent)
    guard isFirst else { return }
    // Where the process ends in the middle of something, without memory for instance.
    atexit(removeAll)
    for number in signals {
      var present = sigaction()
      // What the user ignores, by nohup say, or somebody else handles stays so.
      guard sigaction(number, nil, &present) == 0, present.__sigaction_handler.sa_handler == nil else { continue }
      signal(number, dieOf)
    }
  }
}

// A signal's handler can be given nothing, so what it needs is global. It may only do what is safe in the middle of
// anything: no allocation and no lock.

private let placeCount = 64
private let areInstalled = Atomic<Bool>(false)
/// Addresses of C strings; 0 where a place is free.
nonisolated(unsafe) private let places: UnsafeMutablePointer<Atomic<UInt>> = {
  let places = UnsafeMutablePointer<Atomic<UInt>>.allocate(capacity: placeCount)
  for index in 0..<placeCount { (places + index).initialize(to: Atomic(0)) }
  return places
}()

private let removeAll: @convention(c) () -> Void = {
  var index = 0
  while index < placeCount {
    if let path = UnsafePointer<CChar>(bitPattern: places[index].load(ordering: .relaxed)) { unlink(path) }
    index += 1
  }
  // Folders after what is in them: they were added before it.
  while index > 0 {
    index -= 1
    if let path = UnsafePointer<CChar>(bitPattern: places[index].load(ordering: .relaxed)) { rmdir(path) }
  }
}

private let dieOf: @convention(c) (Int32) -> Void = { number in
  removeAll()
  signal(number, SIG_DFL)
  raise(number)
}
