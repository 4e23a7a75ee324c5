import System

extension Communicator {
  /// What rank 0 finds at `paths`, for all ranks: no other rank looks at its disk. Called by all ranks with the same paths.
  ///
  /// A lone rank reads when it needs something, and keeps nothing.
  public func readOnMain(
    _ paths: [String], file: StaticString = #fileID, line: UInt32 = #line
  ) throws(Failure) -> InputFiles {
    guard size > 1 else { return .disk }
    var contents: [String: InputFiles.Content] = [:]
    for path in paths where contents[path] == nil {
      let own = isMain ? InputFiles.content(path) : .missing
      let (kind, bytes): (UInt8, [UInt8]) =
        switch own {
        case .missing: (0, [])
        case .folder: (1, [])
        case .bytes(let bytes): (2, bytes)
        case .unreadable(let failure): (3, failure.encoded())
        }
      let kinds = try broadcast([kind], from: 0, file: file, line: line)
      switch kinds.first {
      case 0: contents[path] = .missing
      case 1: contents[path] = .folder
      case 2: contents[path] = .bytes(try broadcast(bytes, from: 0, file: file, line: line))
      default:
        contents[path] = .unreadable(Failure(decoding: try broadcast(bytes, from: 0, file: file, line: line)))
      }
    }
    return InputFiles(contents)
  }
}
