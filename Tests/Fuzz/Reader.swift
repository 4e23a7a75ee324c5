import System
import TestSupport

/// A reader of input from outside, with good inputs to change. A new one is one entry in a list of `Reader.all`.
struct Reader: Sendable {
  var name: String
  /// Good inputs.
  var samples: [[UInt8]]
  /// Words of the format.
  var dictionary: [[UInt8]] = []
  /// The most memory that a large input may take, for each of its bytes.
  var memoryMultiple: Int
  /// Changes a sample, where it takes more than changing bytes.
  var mutate: (@Sendable ([UInt8], inout Mutator) -> [UInt8])?
  /// Reads an input to the end. Throws a `Failure` where it is refused.
  var read: @Sendable ([UInt8], Workspace) throws -> Void
  /// How a program of the package comes to read such an input; nil where no file holds it.
  var program: ProgramInput?

  init(
    _ name: String, samples: [[UInt8]], words: [String] = [], dictionary: [[UInt8]] = [], memoryMultiple: Int,
    mutate: (@Sendable ([UInt8], inout Mutator) -> [UInt8])? = nil, program: ProgramInput? = nil,
    read: @escaping @Sendable ([UInt8], Workspace) throws -> Void
  ) {
    self.name = name
    self.samples = samples
    self.dictionary = dictionary + words.map { Array($0.utf8) }
    self.memoryMultiple = memoryMultiple
    self.mutate = mutate
    self.program = program
    self.read = read
  }

  static var all: [Reader] { tables + tokenizer + checkpoint + launcher + remote + hub }

  /// The bytes of a large input; every `largeEvery`-th is one.
  static let largeBytes = 1 << 18
  static let largeEvery = 2000

  func isLarge(_ number: Int) -> Bool { number % Self.largeEvery == Self.largeEvery - 1 }

  /// Input `number` of `seed`: always the same. The first ones are the good inputs, unchanged.
  func input(_ number: Int, seed: UInt64) -> [UInt8] {
    if number < samples.count { return samples[number] }
    var hash = FNV1a(seed &* 0x9e37_79b9_7f4a_7c15)
    hash.add(name.utf8)
    var mutator = Mutator(seed: hash.value ^ UInt64(number) &* 0xbf58_476d_1ce4_e5b9, dictionary: dictionary)
    var bytes = mutator.pick(samples)
    if isLarge(number) {
      mutator.inflate(&bytes, to: Self.largeBytes)
      // As it is, it may be good, and is read to the end.
      if mutator.below(2) == 0 { return bytes }
    }
    if let mutate { return mutate(bytes, &mutator) }
    mutator.change(&bytes, others: samples)
    return bytes
  }
}

/// The folder that one process of the fuzzer has for its files, in memory.
struct Workspace: Sendable {
  let path: String

  /// Overwrites a file of the workspace and returns its path. Not safely: nobody reads it after a crash.
  func write(_ bytes: [UInt8], _ name: String) throws -> String {
    let path = "\(path)/\(name)"
    try overwrite(path, bytes)
    return path
  }

  /// The folder `name`, with `files` written at the first time, and `changed` over one of them.
  func folder(_ name: String, files: [(name: String, bytes: [UInt8])], changed: (name: String, bytes: [UInt8])) throws
    -> String
  {
    let folder = "\(path)/\(name)"
    if !isDirectory(folder) {
      try makeDirectory(folder)
      for file in files { try overwrite("\(folder)/\(file.name)", file.bytes) }
    }
    try overwrite("\(folder)/\(changed.name)", changed.bytes)
    return folder
  }
}
