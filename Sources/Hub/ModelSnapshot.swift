import JSON
import System

/// A local folder with a repository's files.
public struct HubSnapshot: Sendable, Equatable {
  public var repo: HubRepo
  public var commit: String
  /// The folder in the cache.
  public var path: String
  /// Names of the files that are there, in the order in which they were asked for.
  public var files: [String]
}

/// Which files of a model are wanted.
public enum ModelFiles {
  public static let configuration = "config.json"

  /// The `model_type`s of config.json that can be trained and asked: those of `ModelFamily.all`, which stands on OpenBLAS
  /// and so cannot be asked here.
  public static let knownTypes = ["bert", "distilbert", "electra", "roberta"]

  /// What describes a tokenizer. Which of them a model has, differs.
  public static let tokenizer = [
    "tokenizer_config.json", "tokenizer.json", "vocab.txt", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt",
  ]

  /// The weights, those that are preferred first, as transformers has them: one file, or the index of several.
  public static let weights = ["model.safetensors", "pytorch_model.bin"]

  /// The files that a person has to bring where nothing can be fetched.
  static let needed = "config.json, tokenizer_config.json, tokenizer.json or vocab.txt, and model.safetensors"

  /// The shards that an index names, each once, in order of mention.
  public static func shards(ofIndex bytes: [UInt8], path: String) throws(Failure) -> [String] {
    let root = try JSONDocument(bytes, path: path, status: .badData).root
    guard let map = try root.member("weight_map") else { throw root.failure("has no key \"weight_map\"") }
    var names: [String] = []
    var seen: Set<[UInt8]> = []
    for (_, shard) in try map.members() {
      let bytes = try shard.utf8()
      let name = String(decoding: bytes, as: UTF8.self)
      guard isPlainPath(name), !bytes.contains(UInt8(ascii: "/")) else { throw shard.unexpected("a plain file name") }
      if seen.insert(bytes).inserted { names.append(name) }
      guard names.count <= 10_000 else { throw shard.failure("more than 10000 shards") }
    }
    guard !names.isEmpty else { throw map.failure("\"weight_map\" names no file") }
    return names
  }
}

extension HubClient {
  /// The folder of a model, with what is missing fetched: config.json, the tokenizer's files, and the weights in
  /// safetensors, or else in pytorch_model.bin, either whole or in shards.
  ///
  /// A commit that is cached costs no call, a branch one. Where the server cannot be reached, what is cached will do.
  ///
  /// - Parameters:
  ///   - withWeights: false where the geometry and the vocabulary are enough.
  ///   - check: refuses a config.json, given its text and path, before anything large is fetched.
  public func model(
    _ name: HubName, withWeights: Bool = true, check: ([UInt8], String) throws(Failure) -> Void
  ) throws(Failure) -> HubSnapshot {
    let repo = name.repo
    let cached = cachedModel(name, withWeights: withWeights)
    if isHex(name.revision, count: 40), let cached { return try checked(cached, check) }
    if settings.isOffline {
      guard let cached else { throw offline(name) }
      return try checked(cached, check)
    }
    do throws(Failure) {
      return try freshModel(name, withWeights: withWeights, tries: cached == nil ? Self.tries : 1, check)
    } catch {
      // The server has something to say about the name itself only where it answers.
      guard error.status == .unavailable else { throw error }
      guard let cached else {
        var failure = error
        failure.hint = [error.hint, bring(name)].compactMap(\.self).joined(separator: "; or ")
        throw failure
      }
      progress.note(
        "note: \(error.place.map { "\($0): " } ?? "")\(error.message); taking what the cache has of \(repo.id)")
      return try checked(cached, check)
    }
  }

  private func checked(
    _ snapshot: HubSnapshot, _ check: ([UInt8], String) throws(Failure) -> Void
  ) throws(Failure) -> HubSnapshot {
    let path = "\(snapshot.path)/\(ModelFiles.configuration)"
    try check(readBytes(path, limitBytes: 1 << 24), path)
    return snapshot
  }

  /// What the cache has of the model, where that is all that is needed.
  private func cachedModel(_ name: HubName, withWeights: Bool) -> HubSnapshot? {
    guard let commit = cache.commit(name.repo, revision: name.revision) else { return nil }
    let folder = cache.snapshot(name.repo, commit: commit)
    func has(_ file: String) -> Bool { exists("\(folder)/\(file)") }
    var files = ([ModelFiles.configuration] + ModelFiles.tokenizer).filter(has)
    guard files.first == ModelFiles.configuration, has("tokenizer.json") || has("vocab.txt") || has("vocab.json") else {
      return nil
    }
    guard withWeights else { return HubSnapshot(repo: name.repo, commit: commit, path: folder, files: files) }
    for weights in ModelFiles.weights {
      if has(weights) {
        files.append(weights)
      } else if has("\(weights).index.json"),
        let bytes = try? readBytes("\(folder)/\(weights).index.json", limitBytes: 1 << 24),
        let shards = try? ModelFiles.shards(ofIndex: bytes, path: weights), shards.allSatisfy(has)
      {
        files += ["\(weights).index.json"] + shards
      } else {
        continue
      }
      return HubSnapshot(repo: name.repo, commit: commit, path: folder, files: files)
    }
    return nil
  }

  private func freshModel(
    _ name: HubName, withWeights: Bool, tries: Int, _ check: ([UInt8], String) throws(Failure) -> Void
  ) throws(Failure) -> HubSnapshot {
    let repo = name.repo
    guard
      let first = try head(ModelFiles.configuration, in: repo, revision: name.revision, tries: tries)
    else {
      throw Failure(
        .missingInput, at: repo.id, "has no config.json in \(name.revision), expected a model of transformers'",
        hint: "\(settings.endpoint)/\(repo.id)/tree/\(name.revision) lists its files")
    }
    let commit = first.commit
    var snapshot = HubSnapshot(
      repo: repo, commit: commit, path: cache.snapshot(repo, commit: commit), files: [])
    try take(first, ModelFiles.configuration, &snapshot)
    try cache.setRef(repo, revision: name.revision, commit: commit)
    _ = try checked(snapshot, check)
    for file in ModelFiles.tokenizer { _ = try want(file, &snapshot) }
    guard withWeights else { return snapshot }
    for weights in ModelFiles.weights {
      if try want(weights, &snapshot) { return snapshot }
      let index = "\(weights).index.json"
      guard try want(index, &snapshot) else { continue }
      let path = "\(snapshot.path)/\(index)"
      for shard in try ModelFiles.shards(ofIndex: readBytes(path, limitBytes: 1 << 24), path: path) {
        guard try want(shard, &snapshot) else {
          throw Failure(.missingInput, at: repo.id, "has no \(shard), which its \(index) names")
        }
      }
      return snapshot
    }
    throw Failure(
      .missingInput, at: repo.id,
      "has no weights: neither model.safetensors nor pytorch_model.bin, nor an index of either",
      hint: "finetune --init random starts with fresh weights")
  }

  /// Makes sure that a file is in the snapshot; false where the repository has none such.
  func want(_ file: String, _ snapshot: inout HubSnapshot) throws(Failure) -> Bool {
    if exists("\(snapshot.path)/\(file)") {
      snapshot.files.append(file)
      return true
    }
    if cache.isKnownMissing(snapshot.repo, commit: snapshot.commit, file) { return false }
    guard let description = try head(file, in: snapshot.repo, revision: snapshot.commit) else {
      cache.noteMissing(snapshot.repo, commit: snapshot.commit, file)
      return false
    }
    try take(description, file, &snapshot)
    return true
  }

  private func take(_ description: HubFile, _ file: String, _ snapshot: inout HubSnapshot) throws(Failure) {
    if !exists("\(snapshot.path)/\(file)") {
      try fetchBlob(description, file, of: snapshot.repo)
      try cache.link(snapshot.repo, commit: snapshot.commit, file, etag: description.etag)
    }
    snapshot.files.append(file)
  }

  // MARK: Without a network

  private func offline(_ name: HubName) -> Failure {
    let place = "\(cache.path)/\(name.repo.folderName)"
    let found = cache.commit(name.repo, revision: name.revision) != nil
    return Failure(
      .missingInput, at: name.repo.id,
      found
        ? "is in the cache, but not all of it, and HF_HUB_OFFLINE is set"
        : "is not in \(place), and HF_HUB_OFFLINE is set",
      hint: bring(name))
  }

  /// Which files to bring and where to put them.
  private func bring(_ name: HubName) -> String {
    let folder = "\(cache.path)/\(name.repo.folderName)"
    return
      "on a machine with a network run ./launch download \(name.repo.id), and copy its folder \(name.repo.folderName) to \(folder)"
      + "; or put \(ModelFiles.needed) into any folder, and give --model that folder"
  }
}
