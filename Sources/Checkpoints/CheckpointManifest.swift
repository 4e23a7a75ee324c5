import JSON
import System

/// What a checkpoint says of itself: where the training stands, what it depends on, and which files belong together.
///
/// It is the file `checkpoint.json`, written last, so that a folder without it is no checkpoint. Its own digest stands at
/// its end, and the size and digest of every other file in it.
public struct CheckpointManifest: Sendable, Equatable {
  /// A file of the folder.
  public struct File: Sendable, Equatable {
    public var name: String
    public var bytes: Int
    /// SHA-256 of each of its pieces, as 64 hexadecimal digits; see ``FilePieces``.
    public var sha256: [String]

    public init(name: String, bytes: Int, sha256: [String]) {
      self.name = name
      self.bytes = bytes
      self.sha256 = sha256
    }

    /// A file that is there, which is read.
    init(name: String, at path: String) throws(Failure) {
      let file = try InputFile(path)
      self.init(name: name, bytes: file.byteCount, sha256: try FilePieces.digests(of: file))
    }
  }

  /// A name with its value.
  public struct Item: Sendable, Equatable {
    public var name: String
    public var value: String

    public init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  /// An evaluation of the run so far. Figures that are not defined are nil.
  public struct Evaluation: Sendable, Equatable {
    public struct Figure: Sendable, Equatable {
      public var name: String
      public var value: Double?

      public init(_ name: String, _ value: Double?) {
        self.name = name
        self.value = value
      }
    }

    public var step: Int
    public var epoch: Double
    public var examples: Int
    public var loss: Double?
    public var figures: [Figure]

    public init(step: Int, epoch: Double, examples: Int, loss: Double?, figures: [Figure]) {
      self.step = step
      self.epoch = epoch
      self.examples = examples
      self.loss = loss
      self.figures = figures
    }
  }

  /// Optimizer steps taken.
  public var step: Int
  /// Whole epochs behind it, and training rows of the next one that the steps so far have used, over all ranks.
  public var epoch = 0
  public var rows = 0
  /// Micro-batches of an accumulation window that is not finished. Checkpoints are taken after a step, so it is 0.
  public var windowPosition = 0
  /// Whether the evaluation that falls due at this step is done.
  public var isEvaluated = true
  public var seed = 0
  /// Ranks of the job that saved it; another number may resume.
  public var ranks = 1
  /// What decides the results, which must be the same to resume.
  public var options: [Item] = []
  /// Digests of what was read, which must be the same to resume.
  public var fingerprints: [Item] = []
  /// What made it; for people.
  public var versions: [Item] = []
  /// The newest evaluations, oldest first.
  public var evaluations: [Evaluation] = []
  /// The best value of the first figure so far, and the step of its evaluation.
  public var best: (name: String, value: Double, step: Int)? {
    let all = evaluations.compactMap { evaluation in
      evaluation.figures.first.flatMap { figure in figure.value.map { (figure.name, $0, evaluation.step) } }
    }
    return all.max { $0.1 < $1.1 }.map { (name: $0.0, value: $0.1, step: $0.2) }
  }
  /// A program's own numbers and texts.
  public var state: [Item] = []
  public var files: [File] = []

  public init(step: Int) { self.step = step }

  /// The name of the file.
  public static let fileName = "checkpoint.json"
  static let format = "lockstep checkpoint"
  /// Counts up when the file's meaning changes.
  static let version = 2
  /// The most that is read, and far more than is written.
  static let limitBytes = 1 << 24
  /// Evaluations that are kept.
  static let evaluationLimit = 1000
  private static let noDigest = String(repeating: "0", count: 64)

  // MARK: Writing

  /// The text of the file, with its digest.
  public var bytes: [UInt8] {
    Self.signed(json.bytes)
  }

  /// A text with its digest in place of what stands there, which is the last value.
  package static func signed(_ text: [UInt8]) -> [UInt8] {
    let end = Array("\"\n}\n".utf8)
    let start = text.count - end.count - noDigest.utf8.count
    guard start >= 0, text.suffix(end.count).elementsEqual(end) else { return text }
    var text = text
    text.replaceSubrange(start..<start + noDigest.utf8.count, with: noDigest.utf8)
    text.replaceSubrange(start..<start + noDigest.utf8.count, with: SHA256.hexDigest(text).utf8)
    return text
  }

  private var json: JSONText {
    func items(_ items: [Item]) -> JSONText { .object(items.map { ($0.name, .string($0.value)) }) }
    func number(_ value: Double?) -> JSONText { value.flatMap { $0.isFinite ? .double($0) : nil } ?? .null }
    return .object([
      ("format", .string(Self.format)), ("version", .int(Self.version)), ("step", .int(step)), ("epoch", .int(epoch)),
      ("rows", .int(rows)), ("window_position", .int(windowPosition)), ("evaluated", .bool(isEvaluated)),
      ("seed", .int(seed)), ("ranks", .int(ranks)), ("options", items(options)), ("fingerprints", items(fingerprints)),
      ("versions", items(versions)),
      (
        "evaluations",
        .array(
          evaluations.suffix(Self.evaluationLimit).map { evaluation in
            .object([
              ("step", .int(evaluation.step)), ("epoch", number(evaluation.epoch)),
              ("examples", .int(evaluation.examples)), ("loss", number(evaluation.loss)),
              ("figures", .object(evaluation.figures.map { ($0.name, number($0.value)) })),
            ])
          })
      ),
      (
        "best",
        best.map { .object([("name", .string($0.name)), ("value", .double($0.value)), ("step", .int($0.step))]) }
          ?? .null
      ),
      ("state", items(state)),
      (
        "files",
        .array(
          files.map {
            .object([
              ("name", .string($0.name)), ("bytes", .int($0.bytes)), ("sha256", .array($0.sha256.map { .string($0) })),
            ])
          })
      ),
      ("sha256", .string(Self.noDigest)),
    ])
  }

  // MARK: Reading

  /// Reads the text of a file.
  ///
  /// - Parameter path: for messages.
  /// - Throws: `.badData` with the file and the field; the cause is `.checkpointOutOfReach` where another version of the
  ///   program has written it.
  public init(_ bytes: [UInt8], path: String) throws(Failure) {
    let root = try JSONDocument(bytes, path: path, status: .badData).root
    try Self.check(root, bytes)
    step = try root.count("step")
    epoch = try root.count("epoch")
    rows = try root.count("rows")
    windowPosition = try root.count("window_position")
    isEvaluated = try root.field("evaluated").bool()
    seed = try root.field("seed").int()
    ranks = try root.field("ranks").int(1...(1 << 24))
    options = try root.items("options")
    fingerprints = try root.items("fingerprints")
    versions = try root.items("versions")
    state = try root.items("state")
    for node in try root.field("evaluations").elements() { evaluations.append(try Evaluation(node)) }
    for node in try root.field("files").elements() { files.append(try Self.file(node, beside: files)) }
  }

  /// Whether it is of this format and has the digest that it says.
  private static func check(_ root: JSONNode, _ bytes: [UInt8]) throws(Failure) {
    let format = try root.field("format")
    guard try format.string() == Self.format else { throw format.unexpected("\"\(Self.format)\"") }
    let version = try root.field("version")
    let number = try version.int()
    guard number == Self.version else {
      let age = number > Self.version ? "a newer" : "an older"
      var failure = version.unexpected(
        "\(Self.version)",
        hint: "\(age) version of the program has written it; continue with that one, or name another checkpoint")
      failure.cause = .checkpointOutOfReach
      throw failure
    }
    let digest = try root.field("sha256")
    var blank = bytes
    let expected = try digest.string()
    if digest.source.count == noDigest.utf8.count + 2 {
      let place = digest.source.indices.dropFirst().dropLast()
      blank.replaceSubrange(place, with: noDigest.utf8)
    }
    let found = SHA256.hexDigest(blank)
    guard found == expected else {
      throw digest.failure("the text has the SHA-256 \(found), expected \(expected)", hint: "the file is damaged")
    }
  }

  /// An entry of `files`, behind those that are there.
  private static func file(_ node: JSONNode, beside files: [File]) throws(Failure) -> File {
    let name = try node.field("name")
    let text = try name.string()
    guard isFileName(text) else {
      throw name.unexpected("a name of letters, digits, dots, dashes and underscores", hint: "files stay in the folder")
    }
    guard text != fileName, !files.contains(where: { $0.name == text }) else {
      throw name.failure("\(text) is listed twice", hint: "the file is damaged")
    }
    let (bytes, digests) = (try node.count("bytes"), try node.field("sha256"))
    let texts = try digests.elements()
    guard texts.count == FilePieces.count(ofBytes: bytes) else {
      throw digests.failure(
        "found \(texts.count), expected \(FilePieces.count(ofBytes: bytes)), one for each "
          + "\(FilePieces.byteCount) bytes", hint: "the file is damaged")
    }
    return File(name: text, bytes: bytes, sha256: try texts.map { (text) throws(Failure) in try text.string() })
  }

  /// Whether a name is one that a checkpoint may hold: it leads out of no folder.
  static func isFileName(_ name: String) -> Bool {
    let bytes = Array(name.utf8)
    guard (1...128).contains(bytes.count), bytes.first != UInt8(ascii: ".") else { return false }
    return bytes.allSatisfy { byte in
      switch byte {
      case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
      default: false
      }
    }
  }
}

extension CheckpointManifest.Evaluation {
  fileprivate init(_ node: JSONNode) throws(Failure) {
    var figures: [Figure] = []
    for member in try node.field("figures").members() {
      let value = member.value.isNull ? nil : try member.value.double()
      figures.append(.init(String(decoding: member.key, as: UTF8.self), value))
    }
    self.init(
      step: try node.count("step"), epoch: try node.number("epoch") ?? 0, examples: try node.count("examples"),
      loss: try node.number("loss"), figures: figures)
  }
}

/// Fields of a manifest, which must be there.
extension JSONNode {
  fileprivate func field(_ name: String) throws(Failure) -> JSONNode {
    guard let value = try rawMember(name) else {
      throw failure("has no \"\(name)\"", hint: "it is no checkpoint of this program, or damaged")
    }
    return value
  }

  fileprivate func count(_ name: String) throws(Failure) -> Int { try field(name).int(0...(1 << 53)) }

  fileprivate func number(_ name: String) throws(Failure) -> Double? {
    let value = try field(name)
    return value.isNull ? nil : try value.double()
  }

  fileprivate func items(_ name: String) throws(Failure) -> [CheckpointManifest.Item] {
    var items: [CheckpointManifest.Item] = []
    for member in try field(name).members() {
      items.append(.init(String(decoding: member.key, as: UTF8.self), try member.value.string()))
    }
    return items
  }
}
