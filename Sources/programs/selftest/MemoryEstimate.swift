import BERT
import DataParallel
import Kernels
import System
import Training

/// The memory of a training, part by part, as the trainer allocates it.
struct MemoryEstimate {
  let name: String
  let configuration: BertConfiguration
  let limits: BatchLimits
  let ranks: Int
  let hosts: Int
  /// How gradients travel between hosts.
  let wire: WirePrecision

  private let parameters: Int
  private let activations: Int

  init(
    name: String, configuration: BertConfiguration, limits: BatchLimits, ranks: Int, hosts: Int, wire: WirePrecision
  ) {
    self.name = name
    self.configuration = configuration
    self.limits = limits
    self.ranks = ranks
    self.hosts = hosts
    self.wire = wire
    parameters = ParameterLayout(configuration).count
    activations = BertClassifier.activationBytes(configuration, limits: limits)
  }

  /// Ranks of the fullest host.
  private var ranksOnHost: Int { (ranks + hosts - 1) / hosts }
  /// Whether ranks share one copy of the weights and divide the optimizer's state.
  private var isShared: Bool { ranksOnHost > 1 }

  /// Bytes of each part: of one rank by itself, and of the fullest host.
  var parts: [(name: String, rank: Int, host: Int)] {
    let bytes = parameters * MemoryLayout<Float>.stride
    let n = ranksOnHost
    let peerGroupCount = ranks / hosts
    let sums = hosts > 1 ? mostExchangeBytes(parameters: parameters, peerGroupCount: peerGroupCount, wire: wire) : 0
    // Shared memory counts for the rank that owns it: the weights are rank 0's, so each rank's part is a fraction.
    return [
      ("weights", isShared ? bytes / n : bytes, isShared ? bytes : n * bytes),
      ("gradients", bytes, n * bytes),
      ("optimizer", isShared ? 2 * bytes / n : 2 * bytes, isShared ? 2 * bytes : 2 * n * bytes),
      ("activations", activations, n * activations),
      ("sums", sums / peerGroupCount, sums),
    ]
  }

  private var rankBytes: Int { parts.reduce(0) { $0 + $1.rank } }
  private var hostBytes: Int { parts.reduce(0) { $0 + $1.host } }

  func table(measured: Int?) -> String {
    var lines = [
      "Memory of training \(name.escapingControlCharacters): \(parameters) parameters, \(limits.sequences) rows of at most \(limits.length) tokens on "
        + "each of \(ranks) rank\(ranks == 1 ? "" : "s"), \(hosts) host\(hosts == 1 ? "" : "s")",
      row("part", "a rank", "a host"),
    ]
    for part in parts where part.host > 0 { lines.append(row(part.name, megabytes(part.rank), megabytes(part.host))) }
    lines.append(row("together", megabytes(rankBytes), megabytes(hostBytes)))
    if isShared { lines.append("The ranks of a host share weights and divide the optimizer's state.") }
    if let measured { lines.append(comparison(measured)) }
    return lines.joined(separator: "\n")
  }

  /// Two steps alone against the estimate for one rank.
  private func comparison(_ measured: Int) -> String {
    let alone = MemoryEstimate(
      name: name, configuration: configuration, limits: limits, ranks: 1, hosts: 1, wire: wire
    ).rankBytes
    let difference = Double(measured - alone) / Double(alone) * 100
    return "Measured, two steps of one rank: \(megabytes(measured)); estimated \(megabytes(alone)): "
      + "\(difference < 0 ? "" : "+")\(formatted(difference, digits: 1)) %"
  }

  func json(measured: Int?) -> String {
    let rows = parts.map { "\"\($0.name)\":{\"rank_bytes\":\($0.rank),\"host_bytes\":\($0.host)}" }
    let found = measured.map { ",\"measured_bytes\":\($0)" } ?? ""
    return "{\"parameters\":\(parameters),\"batch_size\":\(limits.sequences),\"max_length\":\(limits.length),"
      + "\"num_processes\":\(ranks),\"num_machines\":\(hosts),\"parts\":{\(rows.joined(separator: ","))},"
      + "\"rank_bytes\":\(rankBytes),\"host_bytes\":\(hostBytes)\(found)}"
  }

  private func row(_ columns: String...) -> String {
    let first = columns[0] + String(repeating: " ", count: max(0, 14 - columns[0].utf8.count))
    return first + columns.dropFirst().map { String(repeating: " ", count: max(0, 14 - $0.utf8.count)) + $0 }.joined()
  }

  private func megabytes(_ bytes: Int) -> String { "\(formatted(Double(bytes) / 1e6, digits: 2)) MB" }
}
