import System

extension Environment {
  /// Inside a rank, removes what the MPI launcher gave it, so that a job of its own can start: mpirun refuses such an
  /// environment. Elsewhere `OMPI_MCA_…` and the like are the user's and stay, but not what only a rank has: it is left
  /// over from another job. Returns these, as `NAME=value`.
  @discardableResult public mutating func removeRankVariables() -> [String] {
    let isRank = ["PMIX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"].contains { self[$0] != nil }
    let ofRanks = [
      "OMPI_COMM_WORLD_", "OMPI_UNIVERSE_SIZE", "OMPI_NUM_APP_CTX", "OMPI_FIRST_RANKS", "OMPI_APP_CTX_NUM_PROCS",
      "OMPI_MCA_orte_hnp_uri", "OMPI_MCA_orte_local_daemon_uri", "OMPI_MCA_orte_jobfam_session_dir",
      "OMPI_MCA_ess_base_jobid", "OMPI_MCA_ess_base_vpid", "PMIX_NAMESPACE", "PMIX_RANK", "PMIX_SERVER_", "PMI_",
      "MPI_LOCALNRANKS", "MPI_LOCALRANKID",
    ]
    let prefixes = (isRank ? ["OMPI_", "PMIX_", "PMI_", "PRTE_", "MPI_LOCAL"] : ofRanks).map { Array($0.utf8) }
    let removed = entries.filter { entry in prefixes.contains { entry.starts(with: $0) } }
    entries.removeAll { entry in prefixes.contains { entry.starts(with: $0) } }
    return isRank ? [] : removed.map { String(decoding: $0, as: UTF8.self) }
  }
}
