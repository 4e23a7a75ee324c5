import FlightRecorder

/// An agent's look at its rank.
package struct RankReport: BitwiseCopyable {
  package var state = FlightRecorder.State()
  /// The last collective.
  package var last = FlightRecorder.Entry()
  /// Nanoseconds since the record last changed.
  var idle: Int64 = 0
  /// The rank's process.
  var pid: Int64 = 0
  /// The letter that the kernel has for its state: R, S, D, T (stopped), Z.
  var letter: Int64 = 0
  /// The time that it has computed and the bytes that it has read and written: grow while it is busy.
  var activity: Int64 = 0
  /// Whether it has ended, and then its exit status or signal.
  var hasEnded: Int64 = 0
  var status: Int64 = 0
  var signal: Int64 = 0
  /// Whether mpirun had told it to end.
  var wasTold: Int64 = 0
  /// Processes that the kernel killed for lack of memory meanwhile.
  var memoryKills: Int64 = 0
  /// The limit that it may have crashed at: a kind of `ResourceLimit`, and its value.
  var limit: Int64 = 0
  var limitValue: Int64 = 0

  package init() {}

  package init?(_ bytes: [UInt8]) {
    guard bytes.count == MemoryLayout<RankReport>.size else { return nil }
    self = bytes.withUnsafeBytes { $0.loadUnaligned(as: RankReport.self) }
    // A report may come from any host of the job.
    state = state.clamped
    last = last.clamped
    idle = min(max(idle, 0), FlightRecorder.mostNanoseconds)
    pid = min(max(pid, 0), FlightRecorder.mostPID)
    letter = min(max(letter, 0), 255)
    status = min(max(status, 0), 255)
    signal = min(max(signal, 0), 64)
    memoryKills = max(memoryKills, 0)
  }

  package var bytes: [UInt8] { withUnsafeBytes(of: self) { Array($0) } }

  var isStopped: Bool { letter == Int64(UInt8(ascii: "T")) || letter == Int64(UInt8(ascii: "t")) }
  var isInside: Bool { state.isInside != 0 }
}
