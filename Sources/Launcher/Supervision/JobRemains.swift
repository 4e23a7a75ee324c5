import Glibc
import System

/// What an mpirun, or the daemon that stands for it on another host, leaves of its job where it was killed: the folder
/// of its session, and shared memory, 4 MiB a rank.
///
/// Nobody says where these are, for a host of the job or a variable could name any folder. They are looked for under the
/// names that Open MPI gives them, which follow from the process's number, this host and this user.
package struct JobRemains: Sendable, Equatable {
  /// The process that held the session on this host.
  package var holder: pid_t
  /// What the numbers of the job begin with; nil where the session's own file tells.
  package var family: UInt16?

  package init(holder: pid_t, family: UInt16? = nil) {
    self.holder = holder
    self.family = family
  }

  /// Where Open MPI puts them on this host.
  package struct Places {
    /// Folders for temporary files.
    package var temporary: [String]
    package var memory = "/dev/shm"
    package var host = systemText("/proc/sys/kernel/hostname") ?? "localhost"

    package init(_ environment: Environment) { temporary = Self.temporaryFolders(environment) }

    /// Those of the environment, and the usual one.
    private static func temporaryFolders(_ environment: Environment) -> [String] {
      let named = ["TMPDIR", "TEMP", "TMP"].lazy.compactMap { environment[$0] }.first
      return named.map { $0 == "/tmp" ? [$0] : [$0, "/tmp"] } ?? ["/tmp"]
    }

    /// The host's names: whole, and without its domain.
    var hostNames: Set<String> { [host, String(host.prefix { $0 != "." })] }
  }

  /// Removes them.
  package func remove(from places: Places) {
    var families = Set(family.map { [$0] } ?? [])
    for path in places.temporary {
      guard let folder = OwnFolder(temporary: path) else { continue }
      // Open MPI 5.
      folder.removeTree("ompi.\(holder)")
      for host in places.hostNames {
        guard let top = folder.child("ompi.\(host).\(geteuid())") else { continue }
        for name in ["pid.\(holder)"] + (family.map { ["jf.\($0)"] } ?? []) {
          guard let session = top.child(name) else { continue }
          if let found = Self.family(of: session) { families.insert(found) }
          top.removeTree(name)
        }
      }
    }
    guard let memory = OwnFolder(temporary: places.memory) else { return }
    for name in memory.names where families.contains(where: { Self.isSegment(name, of: $0, places) }) {
      memory.removeFile(name)
    }
  }

  /// The family of a session's job, from the address that mpirun leaves there: `3456106496.0;tcp://…`.
  private static func family(of session: OwnFolder) -> UInt16? {
    let digits = (session.content("contact.txt", limitBytes: 4096) ?? []).prefix { (0x30...0x39).contains($0) }
    return UInt32(String(decoding: digits, as: UTF8.self)).map { UInt16($0 >> 16) }
  }

  /// Whether `name` is what Open MPI calls memory of this user's on this host for a job of `family`:
  /// `vader_segment.HOST.UID.JOB.RANK`, the job in hexadecimal.
  static func isSegment(_ name: String, of family: UInt16, _ places: Places) -> Bool {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count >= 5, parts[0] == "vader_segment" || parts[0] == "sm_segment",
      let job = UInt32(parts[parts.count - 2], radix: 16), parts[parts.count - 3] == "\(geteuid())"
    else { return false }
    return UInt16(job >> 16) == family && places.hostNames.contains(parts[1..<parts.count - 3].joined(separator: "."))
  }
}
