import Glibc
import System

/// What the ranks write: to the user's screen with whole lines kept whole, to a file each, and its last lines kept for
/// the summary.
public struct JobOutput {
  /// What a user can choose.
  public struct Options: Sendable, Equatable {
    /// Whether rank and host stand in front of each line.
    public var isTagged = false
    /// The ranks that are shown; nil for all.
    public var shownRanks: Set<Int>?
    /// A folder for a file of each rank's output and one of its errors.
    public var folder: String?

    public init() {}
  }

  private let options: Options
  private let screen: Screen
  /// Whether both outputs are the user's terminal, where a progress bar may stand.
  private let isTerminal = isatty(STDOUT_FILENO) == 1 && isatty(STDERR_FILENO) == 1
  private var streams: [Stream: Pending] = [:]
  /// The stream whose unfinished line is on the screen, for each of the two outputs; one for both on a terminal.
  private var owners: [Stream?] = [nil, nil]
  private var hosts: [Int: String] = [:]
  private var tails: [Int: [UInt8]] = [:]
  private var logs: RankLogs?
  /// Why output cannot be written any more.
  package var failure: Failure? { logs?.failure ?? screen.failure }
  /// When output came last, of whatever rank, and was taken from us.
  private var lastTaken = ContinuousClock.now
  /// Whose output came last.
  package private(set) var lastRank: Int?

  private struct Stream: Hashable {
    var rank: Int
    var isError: Bool
  }

  private struct Pending {
    /// Not yet on the screen.
    var bytes: [UInt8] = []
    /// The unfinished line that is on the screen.
    var shown: [UInt8] = []
    var since: ContinuousClock.Instant?
  }

  /// Longer lines are shown in pieces.
  private static let longestLine = 1 << 16
  private static let tailBytes = 4096

  /// Makes the folder of files, where asked for.
  package init(_ options: Options) throws(Failure) {
    self.options = options
    screen = try Screen()
    logs = try options.folder.map { folder throws(Failure) in try RankLogs(folder) }
  }

  /// Takes what a rank has written.
  package mutating func take(_ bytes: [UInt8], rank: Int, host: String?, isError: Bool) {
    let stream = Stream(rank: rank, isError: isError)
    let begin = ContinuousClock.now
    defer { discount(since: begin) }
    // Also when the screen takes nothing any more: the ranks' last words are of interest.
    logs?.write(bytes, rank: rank, isError: isError)
    if let host { hosts[rank] = host }
    tails[rank, default: []] += bytes
    if let count = tails[rank]?.count, count > 2 * Self.tailBytes { tails[rank]?.removeFirst(count - Self.tailBytes) }
    guard options.shownRanks?.contains(rank) ?? true else { return }
    lastRank = rank
    if options.isTagged {
      tag(bytes, stream)
    } else {
      show(bytes, stream)
    }
  }

  /// While the screen or a file took nothing, no rest of a line could come: that is no waiting.
  private mutating func discount(since begin: ContinuousClock.Instant) {
    lastTaken = .now
    let held = lastTaken - begin
    guard held > .milliseconds(20) else { return }
    for (stream, pending) in streams {
      if let since = pending.since { streams[stream]?.since = since + held }
    }
  }

  /// Shows lines that have waited for their end, or for that of another rank's line, for too long.
  package mutating func tick() {
    let now = ContinuousClock.now
    // While much is under way, the rest of a line may be behind it.
    let patience: Duration = now - lastTaken > .milliseconds(200) ? .milliseconds(200) : .seconds(2)
    for (stream, pending) in streams where pending.since.map({ now - $0 > patience }) ?? false { release(stream) }
  }

  /// Shows all that is left.
  package mutating func finish() {
    for stream in streams.keys.sorted(by: { ($0.rank, $0.isError ? 1 : 0) < ($1.rank, $1.isError ? 1 : 0) }) {
      guard let bytes = streams[stream]?.bytes, !bytes.isEmpty else { continue }
      if options.isTagged {
        tag([UInt8(ascii: "\n")], stream)
      } else {
        release(stream)
      }
    }
    endLine()
    logs?.close()
  }

  /// On a terminal a progress bar stands in the line, which what follows is not to be glued to.
  package mutating func endLine() {
    guard isTerminal, let owner = owners[0] else { return }
    put([UInt8(ascii: "\n")], isError: false)
    streams[owner]?.shown = []
    owners[0] = nil
  }

  /// The last lines of a rank, the oldest first.
  package func lastLines(of rank: Int, count: Int = 5) -> [String] {
    (tails[rank] ?? []).split { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }.suffix(count).map {
      String(decoding: $0.prefix(400), as: UTF8.self).escapingControlCharacters
    }
  }

  // MARK: The screen.

  private mutating func tag(_ bytes: [UInt8], _ stream: Stream) {
    var pending = streams[stream]?.bytes ?? []
    pending += bytes
    var shown: [UInt8] = []
    let label = Array("[\(stream.rank)\(hosts[stream.rank].map { " \($0)" } ?? "")] ".utf8)
    var start = 0
    // A progress bar's redrawn states end in CR only: of each line the last state counts.
    while let end = pending[start...].firstIndex(of: UInt8(ascii: "\n")) {
      shown += label + pending[start...end]
      start = end + 1
    }
    pending.removeFirst(start)
    if pending.count > Self.longestLine {
      shown += label + pending + [UInt8(ascii: "\n")]
      pending = []
    }
    streams[stream, default: Pending()].bytes = pending
    put(shown, isError: stream.isError)
  }

  private mutating func show(_ bytes: [UInt8], _ stream: Stream) {
    let row = self.row(of: stream)
    if isTerminal && (owners[row] ?? stream) == stream { return write(bytes, stream, row) }
    var pending = streams[stream] ?? Pending()
    pending.bytes += bytes
    if isTerminal, let owner = owners[row] {
      streams[stream] = pending
      return interject(stream, owner)
    }
    // Whole lines at once; the rest after a while, in case the line is never ended.
    if (owners[row] ?? stream) == stream, let end = pending.bytes.lastIndex(of: UInt8(ascii: "\n")) {
      put(Array(pending.bytes[...end]), isError: stream.isError)
      pending = Pending(bytes: Array(pending.bytes[(end + 1)...]))
      owners[row] = nil
    }
    pending.since = pending.bytes.isEmpty ? nil : pending.since ?? .now
    streams[stream] = pending
    if pending.bytes.count > Self.longestLine { release(stream) }
  }

  private func row(of stream: Stream) -> Int { stream.isError && !isTerminal ? 1 : 0 }

  /// Writes and remembers the unfinished line.
  private mutating func write(_ bytes: [UInt8], _ stream: Stream, _ row: Int) {
    put(bytes, isError: stream.isError)
    var shown = streams[stream]?.shown ?? []
    if let end = bytes.lastIndex(of: UInt8(ascii: "\n")) { shown = Array(bytes[(end + 1)...]) } else { shown += bytes }
    if let start = shown.lastIndex(of: UInt8(ascii: "\r")), start > 0 { shown.removeFirst(start) }
    streams[stream] = Pending(shown: shown.count > 4096 ? [] : shown)
    owners[row] = shown.isEmpty ? nil : stream
    guard isTerminal, owners[row] == nil else { return }
    for other in streams.keys where self.row(of: other) == row {
      if !(streams[other]?.bytes.isEmpty ?? true) { return release(other) }
    }
  }

  /// Puts whole lines above the unfinished line of another rank, which is drawn anew.
  private mutating func interject(_ stream: Stream, _ owner: Stream) {
    guard let pending = streams[stream]?.bytes, let end = pending.lastIndex(of: UInt8(ascii: "\n")) else { return }
    let erase = Array("\r\u{1B}[K".utf8)
    put(erase + pending[...end] + (streams[owner]?.shown ?? []), isError: false)
    let rest = Array(pending[(end + 1)...])
    streams[stream] = Pending(bytes: rest, since: rest.isEmpty ? nil : .now)
  }

  /// Shows what a stream has waiting, whatever line is unfinished.
  private mutating func release(_ stream: Stream) {
    guard let bytes = streams[stream]?.bytes, !bytes.isEmpty else { return }
    streams[stream] = Pending(shown: streams[stream]?.shown ?? [])
    write(bytes, stream, row(of: stream))
  }

  /// Shows `bytes` as they are.
  func put(_ bytes: [UInt8], isError: Bool) { screen.write(bytes, isError: isError) }

  /// Where some of the ranks' output is left out, as a reader had stopped: a sentence for each output.
  func losses() -> [String] {
    let rest = options.folder.map { "the files in \($0) have all of it" } ?? "--log_dir keeps all of it in files"
    return screen.losses.map { name, bytes in
      "\(name) lacks the last \((bytes + 0xFFFFF) >> 20) MB of the ranks' output, which its reader did not take; \(rest)"
    }
  }

  /// Waits until all is shown; a signal ends that, and so does `patience` without a reader. The signal, or nil.
  func drain(_ signals: SignalQueue, patience: Duration?) -> Int32? { screen.drain(signals, patience: patience) }

  /// Writes the last collectives beside the files of the ranks, where there are such.
  func log(collectives lines: [String]) { logs?.write(collectives: lines) }

  func closeScreen() { screen.close() }
}
