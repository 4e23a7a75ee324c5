import Checkpoints
import System
import TestSupport
import Testing

/// Runs of the small model with dropout and another order each epoch, in a folder of their own.
struct SmallRuns {
  let folder: TemporaryFolder
  private let options: [String]

  /// - Parameters:
  ///   - options: of every run, besides its outputs.
  ///   - source: the options that name model and rows.
  init(_ options: [String], source: [String] = tinyModel, in folder: TemporaryFolder? = nil) throws {
    self.folder = try folder ?? TemporaryFolder()
    self.options = source + ["--learning-rate", "1e-3", "--dropout", "0.2"] + options
  }

  func path(_ name: String) -> String { "\(folder.path)/\(name)" }
  func checkpoints(_ name: String) -> String { "\(path(name))/checkpoints" }

  /// - Parameter name: of the output folder.
  func arguments(_ name: String, _ more: [String] = []) -> [String] { options + ["--output-dir", path(name)] + more }

  /// Runs to the end, which is a good one.
  @discardableResult
  func run(_ name: String, ranks: Int = 1, _ more: [String] = []) throws -> Program.Outcome {
    let outcome = try finetune(ranks: ranks, arguments(name, more), seconds: 120)
    #expect(outcome.status == 0 && outcome.left == [], "\(outcome.errors)")
    return outcome
  }

  func weights(_ name: String) throws -> [UInt8] { try readBytes("\(path(name))/model.safetensors") }

  /// The step of the newest complete checkpoint; one that is damaged is an issue.
  func newest(_ name: String) throws -> Int? {
    try CheckpointStore(checkpoints(name)).latest { Issue.record("\(name): a damaged checkpoint: \($0)") }?.manifest
      .step
  }

  /// Goes on with what `name` has, to the bits of `whole`, and leaves nothing but checkpoints behind.
  func expectGoesOn(_ name: String, ranks: Int = 1, _ more: [String] = [], as whole: String, _ what: String) throws {
    let outcome = try finetune(
      ranks: ranks, arguments(name, more + ["--resume-from-checkpoint", "latest"]), seconds: 120)
    #expect(outcome.status == 0 && outcome.left == [], "\(what): \(outcome.errors)")
    guard outcome.status == 0 else { return }
    #expect(try weights(name) == weights(whole), "\(what): the weights differ")
    let names = TemporaryFolder.entries(checkpoints(name))
    #expect(names.allSatisfy { CheckpointStore.step(ofName: $0) != nil }, "\(what): \(names)")
  }
}

/// The library that raises a signal in front of one of the calls with which a checkpoint is written.
struct SignalAtCall {
  let library: String
  private let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
    library = "\(folder.path)/signal-at-call.so"
    let source = "\(Golden.testsFolder)/Faults/signal-at-call.c"
    let outcome = try Program.run(["clang", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"])
    try #require(outcome.status == 0, "\(outcome.errors)")
  }

  /// A call: its number and name, and the path that it is given.
  struct Call {
    var number: Int
    var name: String
    var path: String
  }

  /// All calls of a run of `finetune`.
  func calls(_ arguments: [String]) throws -> [Call] {
    let file = "\(folder.path)/calls"
    let outcome = try finetune(arguments, variables: ["LD_PRELOAD": library, "CALLS_FILE": file])
    try #require(outcome.status == 0, "\(outcome.errors)")
    return try String(decoding: readBytes(file), as: UTF8.self).split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
      guard let number = words.first.flatMap({ Int($0) }), let name = words[at: 1] else { return nil }
      return Call(number: number, name: String(name), path: words[at: 2].map(String.init) ?? "")
    }
  }

  /// Those of `calls` that make up the save of the checkpoint of `step`, and what it removes. Before it makes its folder a
  /// save only looks.
  static func save(of step: Int, before next: Int, in calls: [Call]) throws -> [Call] {
    func start(_ step: Int) throws -> Int {
      try #require(
        calls.firstIndex { $0.name == "mkdir" && $0.path.hasSuffix("/.\(CheckpointStore.name(step: step)).unfinished") }
      )
    }
    return try Array(calls[start(step)..<start(next)])
  }

  /// Every one of `calls` where tests may take long, and so many of them otherwise.
  static func chosen(_ calls: [Call], _ count: Int) -> [Call] {
    let step = Capability.patience.whyMissing == nil ? 1 : max(1, calls.count / count)
    return stride(from: 0, to: calls.count, by: step).map { calls[$0] }
  }
}
