import Glibc

/// What an mpirun that was killed leaves of its job on a host: shared memory, 4 MiB a rank, and the folder of its session.
struct JobRemains: Sendable, Equatable {
  /// Open MPI's number of the job; nil of Open MPI 5, which keeps its memory in the session's folder.
  var job: UInt32?
  /// The folder of the session.
  var session: String

  /// As the environment of a rank tells; nil where it is not Open MPI's.
  init?(_ environment: Environment) {
    if let job = environment["OMPI_MCA_ess_base_jobid"],
      let session = environment["OMPI_MCA_orte_jobfam_session_dir"]
    {
      self.init("\(job) \(session)")
    } else if let session = environment["PMIX_SERVER_TMPDIR"] {
      // `/tmp/ompi.4711`
      self.init("- \(session)")
    } else {
      return nil
    }
  }

  /// From the text that keepers send.
  init?(_ text: String) {
    let fields = text.split(separator: " ", maxSplits: 1)
    guard fields.count == 2, fields[1].contains("/ompi.") else { return nil }
    job = UInt32(fields[0])
    session = String(fields[1])
  }

  var text: String { "\(job.map { "\($0)" } ?? "-") \(session)" }

  func remove() {
    if let job {
      let mark = ".\(geteuid()).\(String(job, radix: 16))."
      for name in names(in: "/dev/shm") where name.hasPrefix("vader_segment.") && name.contains(mark) {
        unlink("/dev/shm/\(name)")
      }
    }
    Self.removeTree(session)
  }

  /// Removes `path` with all that is in it; does not follow links.
  private static func removeTree(_ path: String) {
    if unlink(path) == 0 { return }
    for name in names(in: path) { removeTree("\(path)/\(name)") }
    rmdir(path)
  }
}
