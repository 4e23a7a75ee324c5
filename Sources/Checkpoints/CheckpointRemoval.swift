import Glibc
import System

extension CheckpointStore {
  /// Removes the oldest checkpoints, so that no more than `limit` complete ones stay, and damaged ones that are older than
  /// those. Those that cannot be read, or that another version of the program has written, stay, and do not count. Where no
  /// checkpoint is complete, all stay.
  ///
  /// - Parameters:
  ///   - spared: a name that stays in any case, of a checkpoint that is complete.
  ///   - verifies: whether those that are to stay are read first; a damaged one does not count.
  ///   - leftOut: told why one does not count.
  /// - Returns: the names of those that were removed.
  /// - Throws: what keeps the first one that cannot be removed; the others are removed all the same.
  @discardableResult
  public func prune(
    keeping limit: Int, sparing spared: String? = nil, verifying verifies: Bool = false,
    leftOut: (Failure) -> Void = { _ in }
  ) throws(Failure) -> [String] {
    let entries = try readEntries()
    let wanted = max(0, limit - (spared == nil ? 0 : 1))
    var (count, oldest) = (0, Int.max)
    var outOfReach: Set<String> = []
    for entry in entries.reversed() where entry.name != spared {
      do throws(Failure) {
        let checkpoint = try entry.checkpoint.get()
        if count >= wanted { continue }
        if verifies { try checkpoint.verify() }
        (count, oldest) = (count + 1, entry.step)
      } catch {
        let isOutOfReach = error.cause == .checkpointOutOfReach
        if isOutOfReach { outOfReach.insert(entry.name) }
        if isOutOfReach || count < wanted { leftOut(error) }
      }
    }
    guard spared != nil || count > 0 else { return [] }
    var removed: [String] = []
    var failure: Failure?
    for name in PrivateFolder.names(in: path) {
      guard let old = Self.name(ofRemains: name, endings: [Self.graveEnd]) else { continue }
      do throws(Failure) { try bury("\(path)/\(name)", old) } catch { failure = failure ?? error }
    }
    for entry in entries where entry.step < oldest && entry.name != spared && !outOfReach.contains(entry.name) {
      do throws(Failure) {
        try remove(entry.name)
        removed.append(entry.name)
      } catch {
        if isInterrupted { throw error }
        failure = failure ?? error
      }
    }
    if let failure { throw failure }
    return removed
  }

  /// Removes the checkpoint called `name`: first its name, so that half a checkpoint never has it.
  private func remove(_ name: String) throws(Failure) {
    let grave = "\(path)/.\(name)\(Self.graveEnd)"
    try bury(grave, name)
    try proceed("rename old")
    guard Glibc.rename("\(path)/\(name)", grave) == 0 else {
      let code = errno
      // Somebody else has removed it.
      if code == ENOENT { return }
      throw Reach.removalFailure(code, at: "\(path)/\(name)")
    }
    try proceed("remove old")
    try bury(grave, name)
  }

  /// Removes what was the checkpoint called `name`. It gets its name again where nothing of it can be removed.
  private func bury(_ grave: String, _ name: String) throws(Failure) {
    guard !PrivateFolder.remove(grave), let (place, code) = Reach.obstacle(grave) else { return }
    if (try? Checkpoint(grave)) != nil { _ = Glibc.rename(grave, "\(path)/\(name)") }
    // The name that the user knows.
    throw Reach.removalFailure(
      code, at: place.hasPrefix(grave) ? "\(path)/\(name)" + place.dropFirst(grave.count) : place)
  }

  /// Removes what dead runs left: checkpoints that were not finished, and old ones that were not quite removed.
  public func removeRemains() {
    for name in PrivateFolder.names(in: path)
    where Self.name(ofRemains: name, endings: [Self.draftEnd, Self.graveEnd]) != nil {
      PrivateFolder.remove("\(path)/\(name)")
    }
  }

  /// The name of the checkpoint of which something is left under a hidden name; nil for other names.
  private static func name(ofRemains name: String, endings: [String]) -> String? {
    guard name.hasPrefix(".step-"), let ending = endings.first(where: { name.hasSuffix($0) }) else { return nil }
    let old = String(name.dropFirst().dropLast(ending.count))
    return Self.step(ofName: old) == nil ? nil : old
  }

  /// Removes all checkpoints.
  public func removeAll() throws(Failure) {
    removeRemains()
    for entry in try readEntries() { try remove(entry.name) }
  }
}
