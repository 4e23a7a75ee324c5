import FlightRecorder
import Glibc
import System

/// Messages between ranks that travel while the ranks do other things.
///
/// Used by one thread at a time, which may be another than the communicator's. Messages of one sender, receiver and tag
/// keep their order. A message's memory belongs to the channel until the message is done.
public protocol PointToPointChannel: AnyObject, Sendable {
  /// Begins to send `bytes`; returns the message's number.
  func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int) throws(Failure) -> Int
  /// Begins to receive as many bytes as were sent; returns the message's number.
  func receive(_ bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int) throws(Failure) -> Int
  /// Moves what can be moved.
  func poll() throws(Failure)
  /// Whether a message is done, which it says once: the number is then another message's.
  func isDone(_ message: Int) -> Bool
}

extension Communicator {
  /// Gives memory that the ranks of each group share the bytes of rank 0's group. Called by all ranks, of which the first
  /// of each group passes the bytes on to the next group's, piece by piece.
  public func broadcast(
    _ bytes: UnsafeMutableRawBufferPointer, over groups: HostTopology, _ channel: any PointToPointChannel,
    file: StaticString = #fileID,
    line: UInt32 = #line
  ) throws(Failure) {
    record?.enter(Call(.broadcast, count: bytes.count), at: CallSite(file: file, line: line))
    if groups.place == 0 {
      let pieceBytes = 1 << 22
      func piece(_ start: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: bytes[start..<min(start + pieceBytes, bytes.count)])
      }
      var sent: [Int] = []
      for start in stride(from: 0, to: bytes.count, by: pieceBytes) {
        if groups.own > 0 {
          try channel.wait(for: channel.receive(piece(start), from: groups.ranks[groups.own - 1][0], tag: 0))
        }
        if groups.own + 1 < groups.count {
          sent.append(
            try channel.send(UnsafeRawBufferPointer(piece(start)), to: groups.ranks[groups.own + 1][0], tag: 0))
        }
        record?.touch()
      }
      for message in sent { try channel.wait(for: message) }
    }
    record?.leave()
    try barrier(file: file, line: line)
  }
}

extension PointToPointChannel {
  /// Returns when `message` is done.
  public func wait(for message: Int) throws(Failure) {
    while !isDone(message) {
      try poll()
      // Somebody else may need the core more, such as who sends it.
      sched_yield()
    }
  }
}
