import Collectives
import System

/// What this rank did when: spans of the parts of each step, and of the model's layers inside them.
///
/// A span costs two words of time and no memory but its own 24 bytes, which are set aside at the start. When the room is
/// used up, later steps are left out.
public final class Timeline {
  /// One thing that was done; times are seconds since `origin`.
  struct Span: BitwiseCopyable {
    var name: UInt16
    /// Of the layer; 0 for other things.
    var layer: UInt16
    var step: UInt32
    var start: Double
    var end: Double
  }

  private let communicator: any Communicator
  private let origin: Double
  private let most: Int
  private var spans: [Span] = []
  private var step: UInt32 = 1
  private var stepStart: Double?
  /// When the last span ended: a part of the model begins where the one before it ended.
  private var last = 0.0
  /// How many spans a whole step needs; a step that may not fit is left out as a whole.
  private let spansOfStep: Int
  private var isFull = false

  /// Called by all ranks at once: clocks of hosts differ, so time counts from a moment that all agree on.
  ///
  /// - Parameters:
  ///   - layers: of the model.
  ///   - microBatches: of an optimizer step.
  public init(_ communicator: any Communicator, layers: Int, microBatches: Int = 1) throws(Failure) {
    self.communicator = communicator
    spansOfStep = microBatches * (2 * layers + 8) + 9
    // 6 MB a rank, and not more than 400 MB to be gathered.
    most = max(spansOfStep, min(1 << 18, (1 << 24) / communicator.size))
    spans.reserveCapacity(most)
    origin = try Self.commonMoment(communicator)
  }

  /// One moment, the same for all ranks, by each host's own clock.
  ///
  /// Ranks of a host have one clock. What those of two hosts show when all ranks leave a barrier differs by the clocks'
  /// difference and by luck, of which a median of several barriers leaves little.
  private static func commonMoment(_ communicator: any Communicator) throws(Failure) -> Double {
    let hosts = try communicator.allGather(Array(communicator.host.utf8))
    var differences: [Double] = []
    var moment = 0.0
    for _ in 0..<9 {
      try communicator.barrier()
      let clocks = try communicator.allGather(LapClock.now())
      func earliest(_ host: [UInt8]) -> Double {
        zip(hosts, clocks).reduce(.infinity) { $1.0 == host ? min($0, $1.1) : $0 }
      }
      moment = earliest(hosts[0])
      differences.append(earliest(hosts[communicator.rank]) - moment)
    }
    return moment + differences.sorted()[differences.count / 2]
  }

  /// A part of a step that has ended.
  package func add(_ part: StepPart, _ span: ClosedRange<Double>) {
    let start = span.lowerBound - origin
    last = span.upperBound - origin
    if stepStart == nil {
      stepStart = start
      isFull = isFull || spans.count + spansOfStep > most
    }
    append(Name.part(part), layer: 0, start)
  }

  /// A part of the model, of which a forward or backward is through. It began when the last one was.
  package enum ModelSpan: Sendable {
    case embeddings, head
    case layer(Int)
  }

  package func finished(_ part: ModelSpan, isForward: Bool) {
    let start = last
    last = LapClock.now() - origin
    switch part {
    case .embeddings: append(isForward ? .embeddingsForward : .embeddingsBackward, layer: 0, start)
    case .layer(let index):
      append(isForward ? .layerForward : .layerBackward, layer: UInt16(truncatingIfNeeded: index), start)
    case .head: append(isForward ? .headForward : .headBackward, layer: 0, start)
    }
  }

  package func endStep() {
    if let stepStart { append(.step, layer: 0, stepStart) }
    stepStart = nil
    step += 1
  }

  /// Gradients on their way between hosts, beside whatever else the rank does.
  package func addTransfer(_ span: ClosedRange<Double>) {
    guard !isFull, spans.count < most else { return }
    spans.append(
      Span(
        name: Name.transfer.rawValue, layer: 0, step: step, start: span.lowerBound - origin,
        end: span.upperBound - origin))
  }

  package func addEvaluation(_ span: ClosedRange<Double>) {
    last = span.upperBound - origin
    append(.evaluation, layer: 0, span.lowerBound - origin)
  }

  private func append(_ name: Name, layer: UInt16, _ start: Double) {
    guard !isFull, spans.count < most else { return }
    spans.append(Span(name: name.rawValue, layer: layer, step: step, start: start, end: last))
  }

  /// All ranks' spans as a file in Chrome's trace format, on rank 0; nil on the others. Called by all ranks.
  ///
  /// The format: "Trace Event Format", complete events (`"ph":"X"`) in microseconds; a process of the viewer is a rank.
  public func merged() throws(Failure) -> [UInt8]? {
    let own = spans.withUnsafeBytes { Array($0) }
    let all = try communicator.allGather(own)
    let hosts = try communicator.allGather(Array(communicator.host.utf8))
    guard communicator.isMain else { return nil }
    var text = Array("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[".utf8)
    for (rank, bytes) in all.enumerated() {
      let label = String(decoding: hosts[rank], as: UTF8.self).jsonEscaped
      text += Array(
        """
        \(rank == 0 ? "" : ",")
        {"ph":"M","name":"process_name","pid":\(rank),"tid":0,"args":{"name":"rank \(rank) (host \(label))"}},
        {"ph":"M","name":"process_sort_index","pid":\(rank),"tid":0,"args":{"sort_index":\(rank)}}
        """.utf8)
      bytes.withUnsafeBytes { buffer in
        for offset in stride(from: 0, to: buffer.count, by: MemoryLayout<Span>.stride) {
          text += Array(",\n".utf8) + buffer.loadUnaligned(fromByteOffset: offset, as: Span.self).event(rank: rank)
        }
      }
    }
    return text + Array("\n]}\n".utf8)
  }

  /// Makes sure, before long work, that a timeline can be written to `path`: to nothing, or to an earlier one.
  ///
  /// - Parameters:
  ///   - option: that named the file, for messages.
  ///   - folders: where the file must not be, with the options that named them.
  ///   - files: that it must not be, likewise.
  public static func check(
    _ path: String, option: String, notIn folders: [(option: String, path: String?)] = [],
    notAs files: [(option: String, path: String?)] = []
  ) throws(Failure) {
    try ReportFile.check(path, option: option, notIn: folders, notAs: files) { path in
      (try? readStart(path, limitBytes: firstBytes.count)).map { $0 == firstBytes } ?? false
    }
    _ = try AtomicFile(realPath(path))
  }

  /// What every file begins with.
  private static let firstBytes = Array(
    """
    {"displayTimeUnit":"ms","traceEvents":[
    {"ph":"M","name":"process_name","pid":0,"tid":0,"args":{"name":"rank 0 (host
    """.utf8)

  /// Writes the merged timeline to `path` on rank 0, whole or not at all. Called by all ranks.
  public func write(to path: String) throws(Failure) {
    let text = try merged()
    try communicator.agree { () throws(Failure) in
      if let text { try writeAtomically(text, to: realPath(path)) }
    }
  }

  /// Steps, of those taken, that the timeline has no room for.
  public var stepsLeftOut: Int {
    guard isFull else { return 0 }
    let kept = spans.reduce(UInt32(0)) { max($0, $1.step) }
    return Int(step - 1) - Int(kept)
  }
}

/// Names of spans.
private enum Name: UInt16 {
  case data, forward, backward, waiting, communication, optimizer
  case step, evaluation, transfer
  case embeddingsForward, embeddingsBackward, layerForward, layerBackward, headForward, headBackward

  static func part(_ part: StepPart) -> Name {
    switch part {
    case .data: .data
    case .forward: .forward
    case .backward: .backward
    case .waiting: .waiting
    case .communication: .communication
    case .optimizer: .optimizer
    }
  }

  func text(layer: UInt16) -> String {
    switch self {
    case .communication: "reduction"
    case .embeddingsForward: "embeddings forward"
    case .embeddingsBackward: "embeddings backward"
    case .layerForward: "layer \(layer) forward"
    case .layerBackward: "layer \(layer) backward"
    case .headForward: "head forward"
    case .headBackward: "head backward"
    default: "\(self)"
    }
  }
}

extension Timeline.Span {
  fileprivate func event(rank: Int) -> [UInt8] {
    let name = Name(rawValue: name)?.text(layer: layer) ?? "unknown"
    let start = microseconds(self.start)
    let duration = microseconds(end - self.start)
    // Beside the rank's other spans, not inside one of them.
    let thread = self.name == Name.transfer.rawValue ? 1 : 0
    return Array(
      """
      {"ph":"X","name":"\(name)","pid":\(rank),"tid":\(thread),"ts":\(start),"dur":\(duration),"args":{"step":\(step)}}
      """.utf8)
  }
}

/// Seconds as microseconds with three digits: the same rounding for all, so that a span stays inside another.
private func microseconds(_ seconds: Double) -> String {
  let nanoseconds = Int((max(0, seconds) * 1e9).rounded())
  let rest = String(nanoseconds % 1000)
  return "\(nanoseconds / 1000)." + String(repeating: "0", count: 3 - rest.count) + rest
}

extension String {
  /// For a JSON string: a host's name comes from outside.
  fileprivate var jsonEscaped: String {
    unicodeScalars.reduce(into: "") { text, scalar in
      if scalar == "\"" || scalar == "\\" {
        text += "\\"
        text.unicodeScalars.append(scalar)
      } else if scalar.value >= 0x20 {
        text.unicodeScalars.append(scalar)
      }
    }
  }
}
