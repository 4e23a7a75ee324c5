import FlightRecorder
import Foundation
import Glibc
import System
import Testing

/// The memory that a rank and its agent share.
struct FlightRecorderTests {
  private func file() throws -> Int32 {
    var template = Array("/tmp/lockstep-record.XXXXXX\0".utf8CString)
    let file = mkstemp(&template)
    unlink(template)
    try #require(file >= 0)
    return file
  }

  @Test("each field is read back from its own place, by another mapping") func fields() throws {
    let file = try file()
    defer { close(file) }
    let rank = try #require(FlightRecorder(descriptor: file, isNew: true))
    let agent = try #require(FlightRecorder(descriptor: file, isNew: false))
    #expect(!rank.isAskedToStop && agent.state.acceptsStop == 0 && agent.last(of: agent.state) == nil)
    rank.join(rank: 3, size: 5)
    rank.enter(.init(.broadcast, count: 7, root: 2), at: .init(file: "Some/File.swift", line: 12))
    var state = agent.state
    #expect(state.rank == 3 && state.size == 5 && state.sequence == 1 && state.isInside == 1 && state.step == -1)
    #expect(state.knownPhase == .joined && state.knownOutcome == .none && state.changed > 0)
    let entry = try #require(agent.last(of: state))
    #expect(entry.text == "broadcast from rank 2 of 7 bytes at Some/File.swift:12" && entry.left == 0)
    rank.leave()
    rank.finish(step: 9)
    rank.setDigest(11)
    // Looking is no promise.
    _ = rank.isAskedToStop
    #expect(agent.state.acceptsStop == 0)
    agent.requestStop()
    #expect(rank.isAskedToStop)
    rank.acceptStop()
    rank.noteStop()
    rank.end(.failed, status: 65, isAgreed: true)
    state = agent.state
    #expect(state.isInside == 0 && state.step == 9 && state.digest == 11 && state.hasDigest == 1)
    #expect(state.acceptsStop == 1 && state.stopRequested == 1 && state.hasStopped == 1)
    #expect(state.knownOutcome == .failed && state.status == 65 && state.isAgreed == 1)
    #expect(try #require(agent.last(of: state)).left > 0)
  }

  @Test("a reader beside a rank that writes sees whole entries only, and of each collective what came before it")
  func ordered() throws {
    let file = try file()
    defer { close(file) }
    let rank = try #require(FlightRecorder(descriptor: file, isNew: true))
    let agent = try #require(FlightRecorder(descriptor: file, isNew: false))
    let count = 200_000
    // A thread of its own: on one core tasks take turns, and the reader below never gives its turn away.
    Thread.detachNewThread {
      for number in 1...count {
        // Its count and root tell its number.
        rank.enter(.init(.broadcast, count: number, root: number), at: .init(file: "a", line: UInt32(number)))
        rank.leave()
      }
    }
    var last: Int64 = 0
    var torn: [String] = []
    while last < count, torn.isEmpty {
      let state = agent.state
      if state.sequence < last { torn.append("sequence \(state.sequence) after \(last)") }
      last = state.sequence
      for entry in agent.entries
      where entry.count != entry.sequence || entry.root != entry.sequence || entry.siteText != "a:\(entry.sequence)" {
        torn.append("entry \(entry.sequence): \(entry.text)")
      }
      if state.sequence > 0, state.progress < 2 * state.sequence - 1 {
        torn.append("progress \(state.progress) at \(state.sequence)")
      }
    }
    #expect(torn == [])
  }
}
