import Glibc
import System

/// The cache of `huggingface_hub`, as its version 1 and later lay it out: what Python fetched is found here, and Python
/// finds what was fetched here.
///
///     models--org--name/refs/main                  the commit, 40 hexadecimal digits
///                       blobs/<etag>               the bytes of a file
///                       snapshots/<commit>/path    a relative link to the blob, or a copy of it
///                       .no_exist/<commit>/path    empty: the file is known not to be there
///     .locks/models--org--name/<etag>.lock         held with flock by whoever fetches the blob
public struct HubCache: Sendable {
  /// The folder that holds the repositories.
  public let path: String

  public init(_ path: String) { self.path = path }

  func folder(_ repo: HubRepo) -> String { "\(path)/\(repo.folderName)" }
  func snapshot(_ repo: HubRepo, commit: String) -> String { "\(folder(repo))/snapshots/\(commit)" }
  func blob(_ repo: HubRepo, etag: String) -> String { "\(folder(repo))/blobs/\(etag)" }

  /// The commit that `revision` stood for when it was last asked for; nil where nobody did.
  public func commit(_ repo: HubRepo, revision: String) -> String? {
    if isHex(revision, count: 40) { return revision }
    let path = "\(folder(repo))/refs/\(revision)"
    guard let bytes = try? readBytes(path, limitBytes: 64) else { return nil }
    let text = String(decoding: bytes.prefix { $0 > 0x20 }, as: UTF8.self)
    return isHex(text, count: 40) ? text : nil
  }

  /// The path of a file that is there, through its link; nil where it is not.
  public func cachedFilePath(repo: HubRepo, revision: String, filename: String) -> String? {
    guard let commit = commit(repo, revision: revision) else { return nil }
    let path = "\(snapshot(repo, commit: commit))/\(filename)"
    return exists(path) ? path : nil
  }

  /// Whether the commit is known not to have the file.
  func isKnownMissing(_ repo: HubRepo, commit: String, _ filename: String) -> Bool {
    exists("\(folder(repo))/.no_exist/\(commit)/\(filename)")
  }

  // MARK: Writing

  /// Makes sure that a repository's folders are there.
  ///
  /// - Throws: `.cannotCreate` or `.ioError` with the cache's path and the way out.
  func prepare(_ repo: HubRepo) throws(Failure) {
    try writing { () throws(Failure) in
      let isNew = !exists(path)
      try makeDirectory("\(folder(repo))/blobs")
      try makeDirectory("\(path)/.locks/\(repo.folderName)")
      guard access("\(folder(repo))/blobs", W_OK) == 0 else {
        throw Failure(.cannotCreate, at: "\(folder(repo))/blobs", "cannot be written: \(lastSystemError())")
      }
      if isNew || !exists("\(path)/CACHEDIR.TAG") {
        // https://bford.info/cachedir/: programs that save folders leave this one out.
        try? writeAtomically(
          Array("Signature: 8a477f597d28d172789f06886806bc55\n# Made by Lockstep, as by huggingface_hub.\n".utf8),
          to: "\(path)/CACHEDIR.TAG")
      }
    }
  }

  /// Adds the way out to errors of writing.
  func writing<Result>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    do throws(Failure) { return try body() } catch {
      var failure = error
      if failure.hint == nil {
        failure.hint =
          failure.status == .ioError
          ? "free some room, or set HF_HOME to a folder with more" : "set HF_HOME to a folder that can be written"
      }
      throw failure
    }
  }

  /// Notes which commit `revision` stands for.
  func setRef(_ repo: HubRepo, revision: String, commit: String) throws(Failure) {
    guard !isHex(revision, count: 40), self.commit(repo, revision: revision) != commit else { return }
    let path = "\(folder(repo))/refs/\(revision)"
    try writing { () throws(Failure) in
      try makeDirectory(parent(of: path))
      try writeAtomically(Array(commit.utf8), to: path)
    }
  }

  /// Notes that the commit has no such file.
  func noteMissing(_ repo: HubRepo, commit: String, _ filename: String) {
    let path = "\(folder(repo))/.no_exist/\(commit)/\(filename)"
    guard (try? makeDirectory(parent(of: path))) != nil else { return }
    let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
    if descriptor >= 0 { close(descriptor) }
  }

  /// Makes the file of a snapshot that has the bytes of a blob.
  func link(_ repo: HubRepo, commit: String, _ filename: String, etag: String) throws(Failure) {
    let path = "\(snapshot(repo, commit: commit))/\(filename)"
    guard !exists(path) else { return }
    try writing { () throws(Failure) in
      try makeDirectory(parent(of: path))
      let ups = String(repeating: "../", count: 2 + filename.utf8.count { $0 == UInt8(ascii: "/") })
      let temporary = "\(path).\(temporaryDigits()).link"
      if symlink("\(ups)blobs/\(etag)", temporary) == 0 {
        guard rename(temporary, path) == 0 else {
          let reason = lastSystemError()
          unlink(temporary)
          throw Failure(.cannotCreate, at: path, "cannot be made: \(reason)")
        }
        return
      }
      // Some file systems have no links.
      try copy(blob(repo, etag: etag), to: path)
    }
  }

  private func copy(_ source: String, to path: String) throws(Failure) {
    let input = try InputFile(source)
    let output = try AtomicFile(path)
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
    defer { piece.deallocate() }
    for start in stride(from: 0, to: input.byteCount, by: piece.count) {
      let part = UnsafeMutableRawBufferPointer(rebasing: piece[..<min(piece.count, input.byteCount - start)])
      try input.read(into: part, at: start)
      try output.write(UnsafeRawBufferPointer(part))
    }
    try output.commit()
  }
}

/// 8 hexadecimal digits that no other process uses at the same time.
func temporaryDigits() -> String {
  let digits = String(UInt32.random(in: 0 ... .max), radix: 16)
  return String(repeating: "0", count: 8 - digits.utf8.count) + digits
}

/// The lock of a blob, as Python's `filelock` takes it: flock on a file that anybody may remove when it is free.
final class HubLock {
  private let descriptor: Int32

  /// Waits until nobody else has it.
  ///
  /// - Parameter wait: called once where somebody has.
  init(_ path: String, wait: () -> Void) throws(Failure) {
    var hasSaid = false
    while true {
      let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o664)
      guard descriptor >= 0 else {
        throw Failure(.cannotCreate, at: path, "cannot be opened: \(lastSystemError())")
      }
      // Some network file systems know no locks: then blobs have names of their own until they are whole.
      if flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK {
        if !hasSaid { wait() }
        hasSaid = true
        while flock(descriptor, LOCK_EX) != 0 && errno == EINTR {}
      }
      var (own, named) = (stat(), stat())
      // Its owner may have removed it meanwhile, and somebody else made another.
      if fstat(descriptor, &own) == 0, stat(path, &named) == 0, own.st_ino == named.st_ino, own.st_dev == named.st_dev {
        self.descriptor = descriptor
        return
      }
      close(descriptor)
    }
  }

  deinit { close(descriptor) }
}
