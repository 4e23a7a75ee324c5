import System

/// Whom a message between threads is from and for.
struct MailAddress: Hashable {
  var link: Int
  var sender: Int
  var receiver: Int
  var tag: Int
}

/// Messages between ranks that are threads of one process: copies, kept until they are asked for.
///
/// Unchecked, because a link is used by one thread at a time; the meeting has a lock of its own.
final class ThreadLink: Link, @unchecked Sendable {
  private struct Awaited {
    var address: MailAddress
    var bytes: UnsafeMutableRawBufferPointer
  }

  private let meeting: Meeting
  private let rank: Int
  private let number: Int
  /// What a message waits for; nil where it is done.
  private var awaited: [Awaited?] = []
  private var unused: [Int] = []

  init(_ meeting: Meeting, rank: Int, number: Int) {
    self.meeting = meeting
    self.rank = rank
    self.number = number
  }

  func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int) -> Int {
    meeting.post(bytes, MailAddress(link: number, sender: self.rank, receiver: rank, tag: tag))
    return makeMessage(nil)
  }

  func receive(_ bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int) -> Int {
    makeMessage(
      Awaited(address: MailAddress(link: number, sender: rank, receiver: self.rank, tag: tag), bytes: bytes))
  }

  func poll() throws(Failure) {
    try meeting.check()
    for (index, message) in awaited.enumerated() {
      if let message, try meeting.take(message.address, into: message.bytes) { awaited[index] = .none }
    }
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
