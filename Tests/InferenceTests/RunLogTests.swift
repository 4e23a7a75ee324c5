import FoundationEssentials
import Reporting
import RunReport
import System
import TestSupport
import Testing
import Training

struct RunLogTests {
  private func written(_ kinds: [RunLogs.Kind], in folder: String) throws {
    let logs = try RunLogs(kinds, folder: folder, option: "--logging-dir", host: "node")
    let step = #"{"kind":"step","step":300,"epoch":0.5,"loss":0.25,"learning_rate":3e-5,"grad_norm":2}"#
    try logs.write(try JSONDecoder().decode(StepRecord.self, from: Data(step.utf8)))
    let evaluation = #"{"kind":"eval","step":300,"epoch":1,"loss":0.5,"examples":8,"pearson":null,"accuracy":0.75}"#
    try logs.write(try JSONDecoder().decode(EvaluationRecord.self, from: Data(evaluation.utf8)))
  }

  @Test("the checksum is CRC-32C")
  func checksum() {
    #expect(crc32c(Array("123456789".utf8)) == 0xE306_9283)
    #expect(crc32c(Array(repeating: 0, count: 32)) == 0x8A91_36AA)
  }

  @Test("an event file is records of length, checksum, message, checksum; the first says the format")
  func events() throws {
    let folder = try TemporaryFolder()
    try written([.tensorboard], in: "\(folder.path)/logs")
    let name = try #require(TemporaryFolder.entries("\(folder.path)/logs").first)
    #expect(name.hasPrefix("events.out.tfevents."))
    var rest = try readBytes("\(folder.path)/logs/\(name)")[...]
    var messages: [[UInt8]] = []
    func masked(_ bytes: some Sequence<UInt8>) -> [UInt8] {
      let crc = crc32c(Array(bytes))
      let value = (crc >> 15 | crc << 17) &+ 0xA282_EAD8
      return (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
    while !rest.isEmpty {
      let length = rest.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
      #expect(Array(rest.dropFirst(8).prefix(4)) == masked(rest.prefix(8)))
      let message = rest.dropFirst(12).prefix(length)
      try #require(message.count == length)
      #expect(Array(rest.dropFirst(12 + length).prefix(4)) == masked(message))
      messages.append(Array(message))
      rest = rest.dropFirst(16 + length)
    }
    #expect(messages.count == 3)
    #expect(messages.first?.suffix(13).elementsEqual("brain.Event:2".utf8) == true)
    // Field 2, the step 300 in two bytes; the tag as a text.
    let second = try #require(messages[at: 1])
    #expect(Array(second.dropFirst(9).prefix(3)) == [0x10, 0xAC, 0x02])
    #expect(String(decoding: second, as: UTF8.self).contains("train/learning_rate"))
  }

  /// The first Python of LOCKSTEP_PYTHON that has TensorBoard.
  private static let pythonWithTensorBoard = Golden.variable("LOCKSTEP_PYTHON")?.split(separator: ":").map(String.init)
    .first { python in (try? Program.run([python, "-c", "import tensorboard"]).status) == 0 }

  @Test(
    "TensorBoard's own reader reads the event file",
    .enabled("no Python of LOCKSTEP_PYTHON has tensorboard") { pythonWithTensorBoard != nil })
  func tensorboard() throws {
    let python = try #require(Self.pythonWithTensorBoard)
    let folder = try TemporaryFolder()
    try written([.tensorboard], in: "\(folder.path)/logs")
    let script = """
      import sys
      from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
      events = EventAccumulator(sys.argv[1])
      events.Reload()
      for tag in sorted(events.Tags()["scalars"]):
        print(tag, [(e.step, round(e.value, 7)) for e in events.Scalars(tag)])
      """
    let outcome = try Program.run([python, "-c", script, "\(folder.path)/logs"])
    #expect(
      outcome.outputLines == [
        "eval/accuracy [(300, 0.75)]", "eval/loss [(300, 0.5)]", "train/grad_norm [(300, 2.0)]",
        "train/learning_rate [(300, 3e-05)]", "train/loss [(300, 0.25)]",
      ], "\(outcome.errors)")
  }

  @Test("a table has a line for each figure, empty where one is not defined, and another file is not replaced")
  func table() throws {
    let folder = try TemporaryFolder()
    let logs = "\(folder.path)/logs"
    for _ in 1...2 { try written([.csv, .jsonl], in: logs) }
    let lines = String(decoding: try readBytes("\(logs)/metrics.csv"), as: UTF8.self).split(separator: "\n")
    #expect(lines.count == 7 && lines.contains("train,300,0.5,loss,0.25") && lines.contains("eval,300,1.0,pearson,"))
    try RunLogs.check([.csv, .jsonl, .tensorboard], folder: logs, option: "--logging-dir", notIn: [])
    try folder.write("mine", "logs/metrics.csv")
    #expect(throws: (any Error).self) { try RunLogs.check([.csv], folder: logs, option: "--logging-dir", notIn: []) }
    #expect(throws: (any Error).self) {
      try RunLogs.check([.csv], folder: logs, option: "--logging-dir", notIn: [("--output-dir", folder.path)])
    }
  }
}
