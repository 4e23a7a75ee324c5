import CProcess
import Glibc
import System

/// What a launch has to know of the machine that it is started on: gathered once at the door, and a plain value from then
/// on, so that plans can be made for any machine.
public struct Machine: Sendable {
  /// Memory that MPI's ranks of this machine can share.
  public struct SharedMemory: Sendable, Equatable {
    public var path: String
    public var freeBytes: Int

    public init(path: String, freeBytes: Int) { (self.path, self.freeBytes) = (path, freeBytes) }
  }

  /// The path of the launcher's own binary.
  public var launcher: String
  public var programs: any ProgramFinder
  /// What a job may get of this process's environment.
  public var environment: Environment
  /// Variables that another job of MPI's has left behind, as `NAME=value`, which the job does not get.
  public var leftovers: [String] = []
  /// What started this launcher as one of several tasks; nil where it is one of a kind.
  public var outerLauncher: OuterLauncher?
  public var cores: Cores
  /// The name that the kernel has.
  public var hostName: String
  /// By which hostfiles can mean this machine.
  public var names: LocalHostNames
  public var isRoot = false
  /// The folder that this process is in.
  public var folder = "/"
  /// Columns of the terminal that shows the ranks' output; nil where it goes elsewhere.
  public var terminalColumns: Int?
  /// The device of the terminal that this process reads; nil where it reads none.
  public var terminal: String?
  /// Nil where it cannot be told.
  public var sharedMemory: SharedMemory?
  /// Whether one process may read another's memory, as containers and hardened kernels forbid.
  public var readsOtherMemory = true

  public init(
    launcher: String, programs: any ProgramFinder, environment: Environment, cores: Cores, hostName: String,
    names: LocalHostNames
  ) {
    self.launcher = launcher
    self.programs = programs
    self.environment = environment
    self.cores = cores
    self.hostName = hostName
    self.names = names
  }

  /// This machine, as a process with `environment` sees it.
  public static func this(_ environment: Environment) -> Machine {
    let outerLauncher = OuterLauncher(environment)
    var environment = environment
    let leftovers = environment.removeRankVariables()
    // Without one, mpirun finds neither its helpers nor ssh.
    if (environment["PATH"] ?? "").isEmpty { environment["PATH"] = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" }
    let folder = currentFolder
    // From the root on: ranks may start in another folder.
    if let temporary = environment["TMPDIR"], !temporary.isEmpty, temporary.utf8.first != UInt8(ascii: "/"), let folder
    {
      environment["TMPDIR"] = "\(folder)/\(temporary)"
    }
    // Where there is no /sys, Open MPI's library would say so twice in every job.
    if !exists("/sys/devices/system/cpu"), environment["HWLOC_HIDE_ERRORS"] == nil {
      environment["HWLOC_HIDE_ERRORS"] = "2"
    }
    let launcher = linkTarget("/proc/self/exe")
    let hostName = systemText("/proc/sys/kernel/hostname") ?? "localhost"
    var machine = Machine(
      launcher: launcher, programs: Programs(folder: parent(of: launcher), searchPath: environment["PATH"] ?? ""),
      environment: environment, cores: .ofThisProcess(), hostName: hostName, names: .ofThisMachine(hostName: hostName))
    machine.leftovers = leftovers
    machine.outerLauncher = outerLauncher
    machine.isRoot = geteuid() == 0
    machine.folder = folder ?? "/"
    machine.terminalColumns = columnsOfTerminal()
    machine.terminal = isatty(STDIN_FILENO) == 1 ? ttyname(STDIN_FILENO).map { String(cString: $0) } : nil
    machine.sharedMemory = sharedMemory(environment)
    machine.readsOtherMemory = lockstep_reads_memory() == 0
    return machine
  }

  private static var currentFolder: String? {
    guard let folder = getcwd(nil, 0) else { return nil }
    defer { free(folder) }
    return String(cString: folder)
  }

  private static func linkTarget(_ path: String) -> String {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
    let length = max(0, readlink(path, &buffer, Int(PATH_MAX)))
    return String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  private static func columnsOfTerminal() -> Int? {
    var size = winsize()
    guard isatty(STDOUT_FILENO) == 1, ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 else { return nil }
    return size.ws_col > 0 ? min(max(Int(size.ws_col), 20), 1000) : 80
  }

  private static func sharedMemory(_ environment: Environment) -> SharedMemory? {
    // Where the first cannot be written to, Open MPI takes the folder of its session.
    let path =
      environment["OMPI_MCA_btl_vader_backing_directory"]
      ?? (access("/dev/shm", W_OK) == 0
        ? "/dev/shm" : environment["TMPDIR"].flatMap { $0.isEmpty ? nil : $0 } ?? "/tmp")
    var info = statvfs()
    guard statvfs(path, &info) == 0 else { return nil }
    let (free, isHuge) = Int(clamping: info.f_bavail).multipliedReportingOverflow(by: Int(clamping: info.f_frsize))
    return SharedMemory(path: path, freeBytes: isHuge ? .max : free)
  }

  /// Memory that Open MPI's segment of each rank takes.
  private static let segmentBytes = 4 << 20

  /// What MPI keeps for `ranks` ranks of a host.
  static func sharedBytes(ranks: Int) -> Int { (ranks + 1) * segmentBytes }
}
