import Collectives
import Glibc
import System
import TestSupport
import Testing

import struct System.ExitStatus  // Testing has one too.

@Suite("Ranks as threads")
struct ThreadTests {
  @Test("sums are added in rank order, on every rank", arguments: 1...4)
  func rankOrder(ranks: Int) throws {
    for count in [0, 1, 2, 3, 1000, 4097, 65_537] {
      let value: @Sendable (Int, Int) -> Float = { rank, index in
        1 / Float(3 + 7 * rank + index % 1013)
      }
      let expected = (0..<count).map { index in (1..<ranks).reduce(value(0, index)) { $0 + value($1, index) } }
      let sums = try ThreadCommunicator.run(ranks: ranks) { (communicator) throws(Failure) in
        var values = (0..<count).map { value(communicator.rank, $0) }
        try values.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in try communicator.sum(buffer) }
        return values
      }
      #expect(sums.count == ranks)
      for sum in sums { #expect(sum == expected) }
    }
  }

  @Test("many rounds keep their order")
  func manyRounds() throws {
    let totals = try ThreadCommunicator.run(ranks: 3) { (communicator) throws(Failure) in
      var total = 0.0
      for round in 0..<2000 {
        total += try communicator.sum(Double(communicator.rank + round))
        if round % 100 == 0 { try communicator.agree { () throws(Failure) in } }
      }
      return total
    }
    #expect(totals == Array(repeating: Double(2000 * 3 + 3 * 2000 * 1999 / 2), count: 3))
  }

  @Test("messages of one sender and tag keep their order, whatever places the channel uses again")
  func messagesKeepTheirOrder() throws {
    let received = try ThreadCommunicator.run(ranks: 2) { (communicator) throws(Failure) in
      let channel = communicator.makeLink()
      let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 4, alignment: 1)
      defer { bytes.deallocate() }
      bytes.copyBytes(from: communicator.rank == 1 ? [1, 2, 3, 4] : [0, 0, 0, 0])
      func byte(_ index: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: bytes[index..<index + 1])
      }
      if communicator.rank == 1 {
        for index in 0..<4 {
          try channel.wait(for: channel.send(UnsafeRawBufferPointer(byte(index)), to: 0, tag: 0))
        }
      } else {
        // The second two get the places of the first two in another order.
        for pair in [[0, 1], [2, 3]] {
          let messages = try pair.map { (index) throws(Failure) in
            try channel.receive(byte(index), from: 1, tag: 0)
          }
          for message in messages { try channel.wait(for: message) }
        }
      }
      try communicator.barrier()
      return Array(bytes)
    }
    #expect(received[0] == [1, 2, 3, 4])
  }

  @Test("messages keep their order when they come while the receiver looks for those before them")
  func messagesKeepTheirOrderWhileTheyCome() throws {
    let (rounds, each) = (5000, 4)
    let received = try ThreadCommunicator.run(ranks: 2) { (communicator) throws(Failure) in
      let channel = communicator.makeLink()
      let numbers = UnsafeMutableBufferPointer<UInt32>.allocate(capacity: rounds * each)
      defer { numbers.deallocate() }
      for index in numbers.indices { numbers[index] = communicator.rank == 1 ? UInt32(index) : 0 }
      for round in 0..<rounds {
        let parts = (round * each..<(round + 1) * each).map { index in
          UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: numbers[index...index]))
        }
        // The sender begins when the receiver does.
        if communicator.rank == 1 {
          try channel.wait(for: channel.receive(UnsafeMutableRawBufferPointer(start: nil, count: 0), from: 0, tag: 1))
          for part in parts { try channel.wait(for: channel.send(UnsafeRawBufferPointer(part), to: 0, tag: 0)) }
        } else {
          let messages = try parts.map { (part) throws(Failure) in try channel.receive(part, from: 1, tag: 0) }
          try channel.wait(for: channel.send(UnsafeRawBufferPointer(start: nil, count: 0), to: 1, tag: 1))
          for message in messages { try channel.wait(for: message) }
        }
      }
      try communicator.barrier()
      return Array(numbers)
    }
    let isInOrder = received.first == (0..<rounds * each).map(UInt32.init)
    #expect(isInOrder)
  }

  @Test("the failure of a rank is told, and not what a rank met that waits for its messages")
  func failureComesFirst() throws {
    for round in 0..<200 {
      let found = failure { () throws(Failure) in
        try ThreadCommunicator.run(ranks: 2) { (communicator) throws(Failure) in
          let channel = communicator.makeLink()
          let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 1)
          defer { bytes.deallocate() }
          try communicator.barrier()
          if communicator.rank == 1 {
            usleep(UInt32(round))
            throw Failure(.ioError, "no room")
          }
          let messages = try bytes.indices.map { (index) throws(Failure) in
            try channel.receive(UnsafeMutableRawBufferPointer(rebasing: bytes[index...index]), from: 1, tag: index)
          }
          for message in messages { try channel.wait(for: message) }
        }
      }
      #expect(found?.status == .ioError, "\(found?.description ?? "nothing")")
    }
  }

  @Test("calls of another kind are told, with both")
  func kindDiffers() throws {
    let failures = try failuresOfEachRank(ranks: 2) { (communicator) throws(Failure) in
      if communicator.rank == 0 { _ = try communicator.sum([1, 2, 3]) } else { try communicator.barrier() }
    }
    let message = "ranks on host \(failures.host) call different collectives: rank 0 sum of 3 doubles, rank 1 barrier"
    #expect(failures.caught == Array(repeating: Failure(.disagreement, message), count: 2))
    #expect(failures.thrown == Failure(.disagreement, message))
  }

  @Test("calls with another count, element type or root are told")
  func countDiffers() throws {
    let cases: [(@Sendable (any Communicator) throws(Failure) -> Void, String)] = [
      (
        { (communicator) throws(Failure) in
          _ = try communicator.sum([Double](repeating: 1, count: communicator.rank == 2 ? 4 : 2))
        }, "rank 0 sum of 2 doubles, rank 2 sum of 4 doubles"
      ),
      (
        { (communicator) throws(Failure) in
          if communicator.rank == 1 {
            _ = try communicator.sum([1, 2])
            return
          }
          var floats: [Float] = [1, 2]
          try floats.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in try communicator.sum(buffer) }
        }, "rank 0 sum of 2 floats, rank 1 sum of 2 doubles"
      ),
      (
        { (communicator) throws(Failure) in
          var floats: [Float] = [1, 2]
          try floats.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
            try communicator.broadcast(buffer, from: communicator.rank == 2 ? 1 : 0)
          }
        }, "rank 0 broadcast from rank 0 of 8 bytes, rank 2 broadcast from rank 1 of 8 bytes"
      ),
    ]
    for (body, text) in cases {
      let failures = try failuresOfEachRank(ranks: 3, body)
      #expect(failures.thrown?.status == .disagreement)
      #expect(failures.thrown?.message.hasSuffix(text) == true, "\(failures)")
      #expect(failures.caught == Array(repeating: failures.thrown, count: 3))
    }
  }

  @Test("a rank that throws wakes the others; its own failure is the one that counts")
  func oneThrows() throws {
    let failures = try failuresOfEachRank(ranks: 3) { (communicator) throws(Failure) in
      try communicator.barrier()
      if communicator.rank == 1 { throw Failure(.badData, at: "a.tsv:3", "wrong") }
      try communicator.barrier()
    }
    #expect(failures.thrown == Failure(.badData, at: "rank 1 (host \(failures.host)): a.tsv:3", "wrong"))
    let thrown = try #require(failures.thrown)
    let lost = Failure(.lost, "rank 1 (host \(failures.host)) has failed: \(thrown)")
    #expect(failures.caught == [lost, Failure(.badData, at: "a.tsv:3", "wrong"), lost])
  }

  @Test("a rank that returns early is told", arguments: [0, 1])
  func oneReturns(early: Int) throws {
    let failures = try failuresOfEachRank(ranks: 2) { (communicator) throws(Failure) in
      if communicator.rank != early { try communicator.barrier() }
    }
    let message =
      "ranks on host \(failures.host) disagree: rank \(early) has ended, rank \(1 - early) calls barrier"
    #expect(failures.thrown == Failure(.disagreement, message))
    try #require(failures.caught.count == 2)
    #expect(failures.caught[1 - early] == failures.thrown && failures.caught[early] == nil)
  }

  @Test("agree returns the work's value, or throws the same on all ranks", arguments: 0...3)
  func agree(failing: Int) throws {
    let values = try ThreadCommunicator.run(ranks: 4) { (communicator) throws(Failure) in
      try communicator.agree { () throws(Failure) in communicator.rank * 10 }
    }
    #expect(values == [0, 10, 20, 30])
    let failures = try failuresOfEachRank(ranks: 4) { (communicator) throws(Failure) in
      try communicator.agree { () throws(Failure) in
        // The last rank fails too: the lowest one counts.
        if communicator.rank == failing || communicator.rank == 3 {
          throw Failure(.configuration, "n = \(communicator.rank)", hint: "1 = 1 — \u{1F600}")
        }
      }
    }
    let expected = Failure(
      .configuration, "rank \(failing) (host \(failures.host)): n = \(failing)", hint: "1 = 1 — \u{1F600}")
    #expect(failures.caught == Array(repeating: expected, count: 4))
    #expect(failures.thrown == expected)
  }

  @Test("a failure that all ranks share names none")
  func agreeOnTheSame() throws {
    let shared = Failure(.missingInput, at: "model", "is missing")
    let failures = try failuresOfEachRank(ranks: 3) { (communicator) throws(Failure) in
      try communicator.agree { () throws(Failure) in throw shared }
    }
    #expect(failures.caught == [shared, shared, shared] && failures.thrown == shared)
  }

  private struct Failures {
    var host: String
    var caught: [Failure?]
    var thrown: Failure?
  }

  /// What each rank's `body` threw, and what `run` threw.
  private func failuresOfEachRank(
    ranks: Int, _ body: @escaping @Sendable (any Communicator) throws(Failure) -> Void
  ) throws -> Failures {
    let caught = Collected(count: ranks)
    var result = Failures(host: SoloCommunicator().host, caught: [], thrown: nil)
    do {
      _ = try ThreadCommunicator.run(ranks: ranks) { (communicator) throws(Failure) in
        do throws(Failure) { try body(communicator) } catch {
          caught.set(error, at: communicator.rank)
          throw error
        }
      }
    } catch {
      result.thrown = error
    }
    result.caught = caught.all
    return result
  }
}
