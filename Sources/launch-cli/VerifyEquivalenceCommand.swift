import ArgumentParser
import Checkpoints
import Glibc
import Launcher
import Safetensors
import System

/// Runs a job on several numbers of processes, and says where their numbers part.
struct VerifyEquivalenceCommand: MachineCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify-equivalence",
    abstract: "Run some steps of a job on several numbers of processes and compare every number.",
    discussion: """
      With --reduction invariant any bit that differs is an error; without it, a loss that differs by more than 1e-5 of \
      itself, or a gradient's norm by more than 1e-4. The batch size is that of all processes together.
      """)

  @Option(
    name: names("num_processes"), help: ArgumentHelp("Numbers of processes, with commas between.", valueName: "n,n"))
  var processes = "1,2"

  @Option(help: "Optimizer steps.") var steps = 20

  @Argument(parsing: .captureForPassthrough, help: "finetune and its options.")
  var command: [String] = []

  func run(on machine: Machine) throws {
    if command.first == "--help" || command.first == "-h" {
      try put(LaunchCommand.helpMessage(for: VerifyEquivalenceCommand.self))
      return
    }
    let sizes = try self.sizes()
    guard (1...100_000).contains(steps) else {
      throw Failure(.usage, at: "--steps", "\(steps), expected 1 to 100000")
    }
    guard command.first == "finetune" else {
      throw Failure(
        .usage, at: command.first ?? "verify-equivalence", "expected finetune and its options",
        hint: "./launch verify-equivalence --num_processes 1,2 finetune --model DIR --data DIR")
    }
    var template = Array("\(machine.environment["TMPDIR"] ?? "/tmp")/lockstep-verify.XXXXXX\0".utf8CString)
    guard mkdtemp(&template) != nil else {
      throw Failure(.cannotCreate, "no temporary folder: \(lastSystemError())")
    }
    let folder = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { PrivateFolder.remove(folder) }
    // Once, not in each of the runs.
    let named = try NamedInputs.resolve(
      command, verbatim: Array(CommandLine.rawArguments.suffix(command.count - 1)), machine.environment, say: say)
    let comparison = Comparison(
      folder: folder, arguments: Array(named.command.dropFirst()), steps: steps, environment: machine.environment)
    for size in sizes { try comparison.run(size) }
    for size in sizes.dropFirst() { try comparison.compare(sizes[0], size) }
  }

  private func sizes() throws(Failure) -> [Int] {
    func refusal(_ what: String, _ expected: String) -> Failure {
      Failure(.usage, at: "--num_processes", "\"\(processes)\": \(what), expected \(expected)")
    }
    var sizes: [Int] = []
    for word in processes.split(separator: ",", omittingEmptySubsequences: false) {
      guard let size = Int(word) else {
        throw refusal("\"\(word)\" is no whole number", "two or more with commas between, as in 1,2")
      }
      guard (1...1024).contains(size) else {
        throw refusal("\(size) is no number of processes", "numbers from 1 to 1024")
      }
      guard !sizes.contains(size) else { throw refusal("\(size) is there twice", "different numbers") }
      sizes.append(size)
    }
    guard sizes.count >= 2 else { throw refusal("it is one number", "two or more with commas between, as in 1,2") }
    return sizes
  }
}

/// `1 process`, `2 processes`.
private func processCount(_ count: Int) -> String { "\(count) process\(count == 1 ? "" : "es")" }

/// The runs of one job, and what differs between them.
private struct Comparison {
  var folder: String
  /// Of finetune.
  var arguments: [String]
  var steps: Int
  var environment: Environment

  /// Whether any bit counts.
  private var isExact: Bool {
    zip(arguments, arguments.dropFirst()).contains { $0 == "--reduction" && $1 == "invariant" }
      || arguments.contains("--reduction=invariant")
  }

  private func place(_ size: Int, _ name: String) -> String { "\(folder)/\(size)-\(name)" }

  /// Runs the job's steps on `size` processes.
  ///
  /// - Parameter checkpoint: a step at which it saves its weights.
  func run(_ size: Int, checkpoint: Int? = nil) throws(Failure) {
    var words = ["--num_processes", "\(size)", "finetune"] + arguments
    if !arguments.contains(where: { $0 == "--split-batches" || $0 == "--split_batches" }) {
      words.append("--split-batches")
    }
    words += ["--max-steps", "\(steps)", "--step-digests", place(size, "digests")]
    words += ["--output-dir", place(size, checkpoint == nil ? "model" : "again"), "--metrics", place(size, "metrics")]
    if let checkpoint { words += ["--checkpointing-steps", "\(checkpoint)"] }
    let log = place(size, "log")
    say("running \(steps) step\(steps == 1 ? "" : "s") on \(processCount(size))")
    switch try LoggedLaunch.run(words, log: log, environment) {
    case .ended(.status(0)): return
    case .stopped(let signal):
      throw Failure(ExitStatus(rawValue: 128 + signal), "\(signalName(signal)): nothing is compared")
    case .ended(let end):
      let lines = String(decoding: try readBytes(log, limitBytes: 1 << 26), as: UTF8.self).split(separator: "\n")
      let said = lines.last { $0.contains("error: ") } ?? lines.last ?? "nothing"
      var status = ExitStatus.lost
      if case .status(let code) = end { status = ExitStatus(rawValue: code) }
      throw Failure(status, "the run on \(processCount(size)) failed, and said: \(said)")
    }
  }

  /// A line of a file of digests.
  private struct Line: Equatable {
    var step: Int
    var name: Substring
    var value: Substring
  }

  private func lines(_ size: Int) throws(Failure) -> [Line] {
    let path = place(size, "digests")
    let text = String(decoding: try readBytes(path, limitBytes: 1 << 30), as: UTF8.self)
    return text.split(separator: "\n").compactMap { line in
      let fields = line.split(separator: "\t")
      guard fields.count == 3, let step = Int(fields[0]) else { return nil }
      return Line(step: step, name: fields[1], value: fields[2])
    }
  }

  func compare(_ first: Int, _ second: Int) throws(Failure) {
    let (one, other) = (try lines(first), try lines(second))
    guard one.count == other.count, !one.isEmpty else {
      throw Failure(
        .disagreement,
        "\(processCount(first)) took \(one.last?.step ?? 0) steps and \(second) took \(other.last?.step ?? 0)")
    }
    if isExact { try compareBits(first, second, one, other) } else { try compareCurves(first, second, one, other) }
  }

  private func compareBits(_ first: Int, _ second: Int, _ one: [Line], _ other: [Line]) throws(Failure) {
    guard let index = one.indices.first(where: { one[$0] != other[$0] }) else {
      try put("\(first) and \(second) processes: the same bits in all \(steps) steps")
      return
    }
    let line = one[index]
    let place = "\(first) and \(second) processes: step \(line.step), \(line.name)"
    // The weights of that step may be the first to differ, or follow a loss that does.
    let tensor = zip(one, other).first { $0 != $1 && $0.name != "loss" && $0.name != "grad_norm" }?.0
    guard let tensor else { throw Failure(.disagreement, at: place, "\(line.value) and \(other[index].value)") }
    for size in [first, second] { try run(size, checkpoint: tensor.step) }
    let name = String(tensor.name)
    let step = "again/checkpoints/\(CheckpointStore.name(step: tensor.step))"
    let found = try worst(
      self.place(first, "\(step)/model.safetensors"), self.place(second, "\(step)/model.safetensors"), only: name)
    throw Failure(.disagreement, at: place, "\(found ?? "\(name) differs, and not when it was run again")")
  }

  private func compareCurves(_ first: Int, _ second: Int, _ one: [Line], _ other: [Line]) throws(Failure) {
    var largest = 0.0
    for (line, otherLine) in zip(one, other) where line.name == "loss" || line.name == "grad_norm" {
      guard let value = Double(line.value), let otherValue = Double(otherLine.value) else { continue }
      let difference = abs(value - otherValue) / max(abs(value), .leastNormalMagnitude)
      if line.name == "loss" { largest = max(largest, difference) }
      guard !(difference <= (line.name == "loss" ? 1e-5 : 1e-4)) else { continue }
      let weights = try worst(place(first, "model/model.safetensors"), place(second, "model/model.safetensors"))
      throw Failure(
        .disagreement, at: "\(first) and \(second) processes: step \(line.step), \(line.name)",
        "\(value) and \(otherValue), \(difference) of it" + (weights.map { "; at the end \($0)" } ?? ""))
    }
    let weights = try worst(place(first, "model/model.safetensors"), place(second, "model/model.safetensors"))
    try put(
      "\(first) and \(second) processes: losses within \(largest) of one another in all \(steps) steps"
        + (weights.map { "; of the weights \($0) differs most" } ?? "; the same weights"))
  }

  /// The element that differs most, of one tensor or of all; nil where none does.
  private func worst(_ path: String, _ otherPath: String, only: String? = nil) throws(Failure) -> String? {
    let (file, other) = (try SafetensorsFile(path), try SafetensorsFile(otherPath))
    var worst: (difference: Float, text: String)?
    for tensor in file.tensors where only == nil || tensor.name == only {
      guard let twin = other.tensor(named: tensor.name), twin.byteRange.count == tensor.byteRange.count,
        tensor.dtype == .f32
      else { throw Failure(.disagreement, at: otherPath, "has no tensor \(tensor.name) of that shape") }
      let (values, others) = (try floats(tensor, file), try floats(twin, other))
      for (index, value) in values.enumerated() where value.bitPattern != others[index].bitPattern {
        let difference = abs(value - others[index])
        if let worst, !(difference > worst.difference) { continue }
        let columns = tensor.shape.last ?? 1
        let place = tensor.shape.count == 2 ? "\(index / columns), \(index % columns)" : "\(index)"
        worst = (difference, "\(tensor.name)[\(place)]: \(value) and \(others[index])")
      }
    }
    return worst?.text
  }

  private func floats(_ tensor: TensorInfo, _ file: SafetensorsFile) throws(Failure) -> [Float] {
    var values = [Float](repeating: 0, count: tensor.byteRange.count / 4)
    try values.withUnsafeMutableBufferPointer { (values) throws(Failure) in
      try file.read(tensor, into: UnsafeMutableRawBufferPointer(values))
    }
    return values
  }
}
