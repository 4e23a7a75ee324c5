/// The files that a job reads: those of the disk, or what one rank has read of them for all.
///
/// What was read stays as it was, errors included, so that every rank finds the same whatever its own disk holds.
public struct InputFiles: Sendable {
  /// What is at a path.
  public enum Content: Sendable, Equatable {
    case missing
    case folder
    case bytes([UInt8])
    /// Something that cannot be read, and why.
    case unreadable(Failure)
  }

  /// By path; nil for the disk.
  private var contents: [String: Content]?

  /// Reads from the disk when asked.
  public static let disk = InputFiles(contents: nil)

  private init(contents: [String: Content]?) { self.contents = contents }

  /// What was read of these paths, and of no others.
  public init(_ contents: [String: Content]) { self.contents = contents }

  /// What is at `path` now.
  public static func content(_ path: String) -> Content {
    if isDirectory(path) { return .folder }
    guard System.exists(path) else { return .missing }
    do throws(Failure) { return .bytes(try readBytes(path)) } catch { return .unreadable(error) }
  }

  private func known(_ path: String) -> Content? {
    guard let contents else { return nil }
    guard let content = contents[path] else { preconditionFailure("\(path) was not read for all ranks") }
    return content
  }

  public func exists(_ path: String) -> Bool { known(path).map { $0 != .missing } ?? System.exists(path) }

  public func isFolder(_ path: String) -> Bool { known(path).map { $0 == .folder } ?? isDirectory(path) }

  /// All bytes of the file at `path`; a file of more than `limitBytes` is refused.
  public func bytes(_ path: String, limitBytes: Int = 1 << 30) throws(Failure) -> [UInt8] {
    guard let content = known(path) else { return try readBytes(path, limitBytes: limitBytes) }
    switch content {
    case .bytes(let bytes):
      guard bytes.count <= limitBytes else {
        throw Failure(.badData, at: path, "has \(bytes.count) bytes, expected at most \(limitBytes)")
      }
      return bytes
    case .missing: throw Failure(.missingInput, at: path, "cannot be opened: No such file or directory")
    case .folder: throw Failure(.missingInput, at: path, "is a directory, expected a file")
    case .unreadable(let failure): throw failure
    }
  }
}
