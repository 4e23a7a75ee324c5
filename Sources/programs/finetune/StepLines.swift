import Glibc
import System

/// A file of lines that begin with the number of the step that they are of and a tab, in the order of the steps.
///
/// A run that goes on cuts the lines of later steps off and appends, so that after any number of interruptions the file has
/// each step once.
struct StepLines {
  /// Where a run goes on in such a file; found before anything is changed.
  struct Place {
    fileprivate var keptBytes = 0
    /// Whether the file has no step up to the one that the run goes on after.
    fileprivate(set) var isLate = false
  }

  private let path: String
  private let descriptor: Int32

  /// Finds what stays of the file where a run goes on after `step`.
  ///
  /// - Parameters:
  ///   - header: the file's first line, with its end; empty where it has none.
  ///   - step: 0 at the beginning of a run, of which nothing stays.
  /// - Throws: `.badData` where the file lacks steps up to that one, or a line is none of such a file.
  static func place(in path: String, header: String, continuingAfter step: Int) throws(Failure) -> Place {
    guard step > 0 else { return Place() }
    let isThere = (try? InputFile(path)) != nil
    let bytes = isThere ? try readBytes(path, limitBytes: 1 << 32) : []
    var kept = bytes.starts(with: header.utf8) ? header.utf8.count : 0
    var last: Int?
    var line = kept > 0 ? 2 : 1
    // What is behind the last end of a line was not written to its end.
    while let end = bytes[kept...].firstIndex(of: UInt8(ascii: "\n")) {
      let digits = String(decoding: bytes[kept..<end].prefix { $0 != UInt8(ascii: "\t") }, as: UTF8.self)
      guard let found = Int(digits), found > 0 else {
        throw Failure(
          .badData, at: "\(path):\(line)", "begins with \"\(digits)\", expected the number of a step", hint: hint)
      }
      if found > step { break }
      if let last, found != last, found != last + 1 {
        throw Failure(
          .badData, at: "\(path):\(line)", "is of step \(found) after one of step \(last), expected step \(last + 1)",
          hint: hint)
      }
      last = found
      kept = end + 1
      line += 1
    }
    if let last, last < step {
      throw Failure(.badData, at: path, "ends at step \(last), expected at least \(step)", hint: hint)
    }
    // What is no file, as /dev/null, has no steps to lack.
    return Place(keptBytes: kept, isLate: last == nil && (isThere || !exists(path)))
  }

  private static let hint = "give the file of the run that is resumed, or the name of a new one"

  /// Opens the file, which was checked, cuts it to what stays, and writes behind that.
  init(_ path: String, option: String, header: String, at place: Place) throws(Failure) {
    self.path = path
    descriptor = try ReportFile.open(path, option: option, keepingBytes: place.keptBytes)
    if place.keptBytes == 0 && !header.isEmpty { try writeAll(Array(header.utf8), to: descriptor, at: path) }
  }

  func write(_ text: [UInt8]) throws(Failure) { try writeAll(text, to: descriptor, at: path) }

  /// Makes what is written so far durable.
  func flush() throws(Failure) {
    guard fsync(descriptor) == 0 || errno == EINVAL || errno == EROFS else {
      throw Failure(.ioError, at: path, "fsync failed: \(lastSystemError())")
    }
  }
}
