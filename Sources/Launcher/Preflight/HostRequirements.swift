import FlightRecorder
import Glibc
import System

/// What mpirun needs of this machine and says in twenty lines, or by a crash, where it is missing.
public struct HostRequirements: Sendable {
  public var environment: Environment
  public var hostName: String

  public init(environment: Environment, hostName: String) {
    self.environment = environment
    self.hostName = hostName
  }

  /// Refuses what no mpirun of `plan` could work with.
  public func check(_ plan: LaunchPlan) throws(Failure) {
    try Self.checkFileLimit()
    try checkHostName(plan)
    try checkTemporaryFolder(plan.flavour)
    guard NetworkInterfaces.isLoopbackUp else {
      throw Failure(
        .unavailable, "the interface lo is down, over which MPI's processes of a host speak", hint: "ip link set lo up")
    }
  }

  /// Refuses a limit on files that the record of a rank, a file in memory, does not fit in.
  static func checkFileLimit() throws(Failure) {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0,
      limit.rlim_cur < rlim_t(FlightRecorder.byteCount)
    else { return }
    throw Failure(
      .unavailable, "a file may have \(limit.rlim_cur) bytes at most, expected at least \(FlightRecorder.byteCount)",
      hint: "ulimit -f unlimited")
  }

  /// Open MPI 4 writes `[NAME:PID]` into 64 bytes and does not look whether it fits.
  private func checkHostName(_ plan: LaunchPlan) throws(Failure) {
    guard plan.flavour == .openMPI4 else { return }
    // It cuts the name at a dot, unless told to keep it.
    let name = plan.keepsDomains ? hostName : String(hostName.prefix { $0 != "." })
    let most = 61 - max(5, "\(getpid())".utf8.count)
    guard name.utf8.count > most else { return }
    throw Failure(
      .unavailable, at: "host name \"\(name)\"",
      "has \(name.utf8.count) characters, expected at most \(most): Open MPI 4 crashes on longer ones",
      hint: "hostname SHORTER, or --hostname of the container; --num_processes 1 needs no MPI")
  }

  /// The variables that name the folder for temporary files, as Open MPI reads them.
  private static let temporaryFolders = ["OMPI_MCA_orte_tmpdir_base", "TMPDIR", "TEMP", "TMP"]

  private func checkTemporaryFolder(_ flavour: MPIFlavour) throws(Failure) {
    guard flavour.isOpenMPI else { return }
    let name = Self.temporaryFolders.first { !(environment[$0] ?? "").isEmpty }
    let folder = name.flatMap { environment[$0] } ?? "/tmp"
    guard let reason = Self.whyUnusable(Self.nearestFolder(folder)) else { return }
    throw Failure(
      .cannotCreate, at: name.map { "\($0)=\(folder)" } ?? folder, "takes no files, which MPI keeps there: \(reason)",
      hint: "set TMPDIR to a folder that can be written")
  }

  /// `folder`, or where it is missing the folder above it that is there: MPI makes the rest.
  private static func nearestFolder(_ folder: String) -> String {
    var folder = folder
    while !exists(folder), parent(of: folder) != folder { folder = parent(of: folder) }
    return folder
  }

  /// Why no folder with a file in it can be made in `folder`; nil where it can.
  private static func whyUnusable(_ folder: String) -> String? {
    var template = Array("\(folder)/lockstep-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { return lastSystemError() }
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { rmdir(path) }
    let file = open("\(path)/probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    guard file >= 0 else { return lastSystemError() }
    defer {
      close(file)
      unlink("\(path)/probe")
    }
    let block = [UInt8](repeating: 1, count: 4096)
    return write(file, block, block.count) == block.count ? nil : lastSystemError()
  }
}
