import Glibc

/// What a file system has free for this user.
public struct FreeRoom: Sendable {
  public var bytes: Int
  /// Files and folders that can be made; nil where the file system does not count them.
  public var files: Int?

  /// Of the file system of `path`, or of the nearest folder above that exists; nil where that cannot be told.
  public init?(at path: String) {
    var place = path
    while !exists(place), parent(of: place) != place { place = parent(of: place) }
    var info = statvfs()
    guard statvfs(place, &info) == 0 else { return nil }
    bytes = Int(info.f_bavail) * Int(info.f_frsize)
    files = info.f_files == 0 ? nil : Int(info.f_favail)
  }

  /// `1,024 bytes and 3 files are free there`.
  public var text: String {
    "\(grouped(bytes)) bytes" + (files.map { " and \(grouped($0)) file\($0 == 1 ? "" : "s")" } ?? "")
      + " are free there"
  }
}
