import CMPI
import FileSystem

/// The MPI library as it is, for comparison with what is built on it.
public enum MPILibrary {
  /// Its first words about itself: `Open MPI v4.1.4`.
  public static var version: String {
    var length: Int32 = 0
    var text = [CChar](repeating: 0, count: Int(MPI_MAX_LIBRARY_VERSION_STRING) + 1)
    guard MPI_Get_library_version(&text, &length) == MPI_SUCCESS else { return "unknown" }
    let words = String(decoding: text.prefix(Int(length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return String(words.prefix { $0 != "," })
  }

  /// One `MPI_Allreduce` of the whole buffer, in place, over all ranks; on the thread that made `communicator`.
  public static func allreduce(
    _ buffer: UnsafeMutableBufferPointer<Float>, _ communicator: MPICommunicator
  ) throws(Failure) {
    precondition(buffer.count <= Int(Int32.max), "\(buffer.count) floats in one call of MPI")
    let call = MPICall(name: "MPI_Allreduce", rank: communicator.rank, host: communicator.host)
    try call.check(
      MPI_Allreduce(
        lockstep_in_place(), buffer.baseAddress, Int32(buffer.count), lockstep_float(), lockstep_sum(),
        lockstep_comm_world()))
  }
}
