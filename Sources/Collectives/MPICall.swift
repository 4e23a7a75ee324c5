import CMPI
import System

/// Names one call of MPI in the message of its failure.
struct MPICall {
  var name: String
  /// Nil before MPI has told it.
  var rank: Int?
  var host: String

  /// Throws unless `status` is `MPI_SUCCESS`, with MPI's text.
  func check(_ status: Int32, otherwise exitStatus: ExitStatus = .lost) throws(Failure) {
    guard status != MPI_SUCCESS else { return }
    var kind: Int32 = MPI_ERR_UNKNOWN
    MPI_Error_class(status, &kind)
    var length: Int32 = 0
    var text = [CChar](repeating: 0, count: Int(MPI_MAX_ERROR_STRING) + 1)
    MPI_Error_string(status, &text, &length)
    let reason = String(decoding: text.prefix(Int(length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    // A message longer than the buffer for it: the ranks passed different counts.
    throw Failure(kind == MPI_ERR_TRUNCATE ? .disagreement : exitStatus, message(reason))
  }

  func message(_ reason: String) -> String {
    "\(rank.map { rankLabel($0, host: host) } ?? "host \(host)"): \(name) failed: \(reason)"
  }
}
