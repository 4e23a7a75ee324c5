import CMPI
import Glibc
import System

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

  /// Whether it finds other ranks by PMI-1 or PMI-2: whether Open MPI was built with the components for them, which show
  /// as control variables. Asked before MPI is initialised, which says by itself what is wrong where this cannot be told.
  public static func speaksPMI() -> Bool {
    var provided: Int32 = 0
    guard MPI_T_init_thread(Int32(MPI_THREAD_SINGLE), &provided) == MPI_SUCCESS else { return true }
    defer { MPI_T_finalize() }
    var count: Int32 = 0
    guard MPI_T_cvar_get_num(&count) == MPI_SUCCESS else { return true }
    return (0..<count).contains { index in
      var name = [CChar](repeating: 0, count: 64)
      var length = Int32(name.count)
      var (textLength, verbosity, binding, scope): (Int32, Int32, Int32, Int32) = (0, 0, 0, 0)
      var type: MPI_Datatype?
      var enumeration: MPI_T_enum?
      let status = MPI_T_cvar_get_info(
        index, &name, &length, &verbosity, &type, &enumeration, nil, &textLength, &binding, &scope)
      return status == MPI_SUCCESS && (strcmp(name, "pmix_s1_priority") == 0 || strcmp(name, "pmix_s2_priority") == 0)
    }
  }
}
