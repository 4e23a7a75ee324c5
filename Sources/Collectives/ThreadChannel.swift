import System

/// Whom a message between threads is from and for.
struct MailAddress: Hashable {
  var channel: Int
  var sender: Int
  var receiver: Int
  var tag: Int
}

/// Messages between ranks that are threads of one process: copies, kept until they are asked for.
///
/// Unchecked, because a channel is used by one thread at a time; the rendezvous has a lock of its own.
final class ThreadChannel: PointToPointChannel, @unchecked Sendable {
  private struct Awaited {
    var address: MailAddress
    var bytes: UnsafeMutableRawBufferPointer
  }

  private let rendezvous: ThreadRendezvous
  private let rank: Int
  private let number: Int
  /// What a message waits for; nil where it is done.
  private var awaited: [Awaited?] = []
  private var unused: [Int] = []
  /// The numbers of those that wait, in the order in which they were asked for.
  private var waiting: [Int] = []

  init(_ rendezvous: ThreadRendezvous, rank: Int, number: Int) {
    self.rendezvous = rendezvous
    self.rank = rank
    self.number = number
  }

  func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int) -> Int {
    rendezvous.post(bytes, MailAddress(channel: number, sender: self.rank, receiver: rank, tag: tag))
    return makeMessage(nil)
  }

  func receive(_ bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int) -> Int {
    let address = MailAddress(channel: number, sender: rank, receiver: self.rank, tag: tag)
    let message = makeMessage(Awaited(address: address, bytes: bytes))
    waiting.append(message)
    return message
  }

  func poll() throws(Failure) {
    try rendezvous.check()
    var left = 0
    // What comes between two looks is for the first who waits for it.
    var absent: [MailAddress] = []
    for message in waiting {
      guard let content = awaited[message] else { continue }
      if !absent.contains(content.address), try rendezvous.take(content.address, into: content.bytes) {
        awaited[message] = nil
      } else {
        absent.append(content.address)
        waiting[left] = message
        left += 1
      }
    }
    waiting.removeLast(waiting.count - left)
  }

  func isDone(_ message: Int) -> Bool {
    guard awaited[message] == nil else { return false }
    unused.append(message)
    return true
  }

  private func makeMessage(_ content: Awaited?) -> Int {
    if let message = unused.popLast() {
      awaited[message] = content
      return message
    }
    awaited.append(content)
    return awaited.count - 1
  }
}
