import Synchronization
import System

/// The failure that all ranks agreed on, if any.
public final class Agreement: Sendable {
  private let state = Mutex<Failure?>(nil)

  public init() {}

  /// The failure that the last failing `agree` threw on every rank.
  public var failure: Failure? { state.withLock { $0 } }

  /// Whether `failure` is the one agreed on; a rank may have added a way out since.
  func covers(_ failure: Failure) -> Bool {
    guard let agreed = self.failure else { return false }
    return (agreed.status, agreed.place, agreed.message) == (failure.status, failure.place, failure.message)
  }

  func record(_ failure: Failure) { state.withLock { $0 = failure } }
}

extension Communicator {
  /// Runs `work` on every rank; if it fails on any, all ranks throw the same failure.
  ///
  /// It is that of the lowest failing rank, with the rank and host in front, unless all ranks failed with the same
  /// text. So an error of one rank during start-up ends all ranks in order, with none left waiting. `work` calls no
  /// collective after a step that can fail on one rank alone.
  public func agree<T>(_ work: () throws(Failure) -> T) throws(Failure) -> T {
    var value: T?
    var failure: Failure?
    do throws(Failure) { value = try work() } catch { failure = error }
    let outcomes = try allGather(failure.map { $0.encoded() } ?? [])
    guard let lowest = outcomes.firstIndex(where: { !$0.isEmpty }) else {
      guard let value else { preconditionFailure("rank \(rank) failed, but its failure was gathered as none") }
      return value
    }
    // Every rank needs the name of the failing host, so names travel with the failure's gathering only when it is
    // needed: this path ends the job.
    let hosts = try allGather(Array(host.utf8))
    var common = Failure(decoding: outcomes[lowest])
    if outcomes.contains(where: { $0 != outcomes[lowest] }) {
      common = common.from(rank: lowest, host: String(decoding: hosts[lowest], as: UTF8.self))
    }
    agreement.record(common)
    throw common
  }
}

extension Failure {
  /// This failure with `rank 1 (host nodeb): ` in front, unless it is there already.
  func from(rank: Int, host: String) -> Failure {
    var result = self
    let label = rankLabel(rank, host: host)
    guard !(place ?? message).hasPrefix("\(label): ") else { return self }
    if let place { result.place = "\(label): \(place)" } else { result.message = "\(label): \(message)" }
    return result
  }

  /// Never empty: the status, then place, message, hint and cause, each as a presence byte, an 8-byte length and UTF-8.
  func encoded() -> [UInt8] {
    var bytes = [UInt8(truncatingIfNeeded: status.rawValue)]
    for field in [place, message, hint, cause?.name] {
      bytes.append(field == nil ? 0 : 1)
      let text = Array((field ?? "").utf8)
      for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: text.count >> (8 * shift))) }
      bytes.append(contentsOf: text)
    }
    return bytes
  }

  /// The inverse of `encoded()`; the bytes come from a rank of this job, so that anything else is our own mistake.
  init(decoding bytes: [UInt8]) {
    let status = ExitStatus(rawValue: Int32(bytes[0]))
    var position = 1
    var fields: [String?] = []
    while position < bytes.count {
      let count = (0..<8).reduce(0) { $0 | Int(bytes[position + 1 + $1]) << (8 * $1) }
      let text = String(decoding: bytes[position + 9..<position + 9 + count], as: UTF8.self)
      fields.append(bytes[position] == 0 ? nil : text)
      position += 9 + count
    }
    precondition(fields.count == 4, "a gathered failure has \(fields.count) fields, expected 4")
    self.init(status, at: fields[0], fields[1] ?? "", hint: fields[2], cause: fields[3].map(Cause.init))
  }
}
