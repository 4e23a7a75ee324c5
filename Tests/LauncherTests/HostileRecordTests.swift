import FlightRecorder
import Glibc
import Launcher
import System
import Testing

/// A rank with a wild pointer writes anything into its record, and a host of the job can send any report: neither the
/// agent nor the launcher may trap over it.
@Suite struct HostileRecordTests {
  static let extremes: [Int64] = [
    0, 1, -1, .max, .min, .max - 1, 2, 3, 255, 4_294_967_295, 2_147_483_648, -2_147_483_648, 1_000_000_000,
  ]

  /// The content of a record after wild writes.
  static func scribble(_ count: Int, _ random: inout some RandomNumberGenerator) -> [Int64] {
    (0..<count).map { _ in
      Bool.random(using: &random)
        ? extremes.randomElement(using: &random)! : Int64.random(in: .min ... .max, using: &random)
    }
  }

  @Test func scribbledRecordIsReadAndJudged() throws {
    let path = try temporaryFolder()
    let file = open("\(path)/record", O_RDWR | O_CREAT, 0o600)
    defer {
      close(file)
      unlink("\(path)/record")
      rmdir(path)
    }
    let record = try #require(FlightRecorder(descriptor: file, isNew: true))
    var random = Seeded(state: 1)
    for _ in 0..<300 {
      let words = Self.scribble(FlightRecorder.byteCount / 8, &random)
      #expect(pwrite(file, words, FlightRecorder.byteCount, 0) == FlightRecorder.byteCount)
      // As the agent does.
      var report = RankReport()
      report.state = record.state.clamped
      if let last = record.last(of: record.state) { report.last = last.clamped }
      var table = RankTable(count: 2)
      let now = ContinuousClock.now
      for entry in record.entries {
        table.take(RankFrame(.entry, rank: 0, withUnsafeBytes(of: entry) { Array($0) }), at: now)
      }
      table.take(RankFrame(.report, rank: 0, report.bytes), at: now)
      #expect(Watchdog(timeoutSeconds: 1).stall(table, at: now + .seconds(60)) != nil)
      for line in table.rings() { #expect(!line.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7F }) }
      // The rank itself goes on writing.
      record.enter(Call(.barrier), at: CallSite(label: "x"))
      record.leave()
      record.finish(step: 1)
    }
  }

  @Test func madeUpReportsAreTakenAndJudged() {
    var random = Seeded(state: 2)
    let size = RankReport().bytes.count
    for round in 0..<2000 {
      var table = RankTable(count: 2)
      let now = ContinuousClock.now
      for index in 0..<8 {
        let kind = RankFrame.Kind(rawValue: UInt8.random(in: 3...6, using: &random))!
        let bytes = Self.scribble(size / 8, &random).flatMap { word in withUnsafeBytes(of: word) { Array($0) } }
        let body = kind == .start ? Array(bytes.prefix(100)) : kind == .entry ? Array(bytes.prefix(120)) : bytes
        table.take(RankFrame(kind, rank: index % 3, body), at: now + .seconds(index))
      }
      _ = Watchdog(timeoutSeconds: 0.5).stall(table, at: now + .seconds(100))
      _ = table.rings()
      let verdict = Verdict(end: .status(1), fault: nil, ranks: table)
      #expect(0...255 ~= verdict.status && verdict.status != 0, "round \(round): \(verdict)")
    }
  }

  /// A failure whose status the system would cut to 0 is none the less one.
  @Test(arguments: [Int64(0), 256, -256, .min]) func failedRankIsNeverASuccess(status: Int64) {
    var report = RankReport()
    report.state.phase = FlightRecorder.Phase.joined.rawValue
    report.state.outcome = FlightRecorder.Outcome.failed.rawValue
    report.state.status = status
    var table = RankTable(count: 1)
    table.take(RankFrame(.end, rank: 0, report.bytes), at: .now)
    let verdict = Verdict(end: .status(1), fault: nil, ranks: table)
    #expect(verdict.status & 0xFF != 0)
  }

  /// mpirun knows the agent only: that it was ended by a signal is no word about its rank.
  @Test func lostAgentIsNotItsRank() {
    var table = RankTable(count: 2)
    for rank in 0..<2 { table.take(RankFrame(.start, rank: rank, Array("a".utf8)), at: .now) }
    var fault = MPIMessages.Fault()
    (fault.rank, fault.host, fault.signal) = (1, "a", SIGILL)
    let verdict = Verdict(end: .status(132), fault: fault, ranks: table)
    #expect(verdict.status == 70)
    #expect(verdict.message?.contains("the agent of rank 1") == true, "\(verdict)")
    #expect(verdict.rank == nil)
  }

  @Test func framesOfRanksThatAreNone() {
    var table = RankTable(count: 1)
    for rank in [-1, 1, 99, Int(UInt32.max)] {
      table.take(RankFrame(.start, rank: rank, Array("a".utf8)), at: .now)
    }
    #expect(table.ranks.count == 1 && table.ranks[0].host == nil)
    table.take(RankFrame(.start, rank: 0, Array("a\u{1B}[2J\nb".utf8)), at: .now)
    #expect(table.ranks[0].label == "rank 0 (host a\\u{1b}[2J\\u{a}b)")
  }

  @Test func messagesWithoutEndTakeBoundedMemory() {
    var messages = MPIMessages()
    let piece = [UInt8](repeating: UInt8(ascii: "x"), count: 1 << 16)
    var shown = 0
    for _ in 0..<64 { shown += messages.read(piece).count }
    #expect(shown > 60 << 16, "\(shown) bytes were passed on")
  }
}

/// A generator with a seed.
struct Seeded: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
