import System

/// What the hosts' reports mean for a job: a pure function.
struct PreflightRules {
  let plan: LaunchPlan
  let programs: [String]
  let data: [String]
  let folder: String
  /// The report of the machine that asks.
  let own: HostReport
  /// Memory that each rank takes, where it is known.
  let rankBytes: Int?

  /// - Parameter place: the host, as findings name it.
  func findings(of report: HostReport, at place: String, ranks: Int) -> [Finding] {
    guard report.hasDaemon else {
      return [
        .error(
          .unavailable, at: place, "has no Open MPI on its PATH",
          hint: "apt-get install openmpi-bin there; a shell that is not for login must find it")
      ]
    }
    guard report.hasFolder else {
      return [
        .error(
          .unavailable, at: place, "has no folder \(folder)", hint: "make it there, or give --working_folder")
      ]
    }
    return programFindings(report, place) + versionFindings(report, place) + dataFindings(report, place)
      + resourceFindings(report, place, ranks: ranks)
  }

  private func programFindings(_ report: HostReport, _ place: String) -> [Finding] {
    programs.compactMap { program in
      if report.missingPrograms.contains(program) {
        return .error(
          .unavailable, at: place, "has no program \(program)", hint: "copy it to the same path there, see pack")
      }
      guard let sum = own.programSums[program], report.programSums[program] != sum else { return nil }
      return .error(
        .disagreement, at: place, "has another build of \(program)", hint: "copy this one there, see pack")
    }
  }

  private func versionFindings(_ report: HostReport, _ place: String) -> [Finding] {
    guard let here = own.mpiVersion, let there = report.mpiVersion, here != there else { return [] }
    let message = "has \"\(there)\", here it is \"\(here)\""
    let hint = "install the same version on all hosts"
    return Self.series(here) == Self.series(there)
      ? [.warning(place, message, hint: hint)] : [.error(.unavailable, at: place, message, hint: hint)]
  }

  /// All but the last number of a version: releases that differ in the last only talk to one another.
  private static func series(_ version: String) -> String {
    guard let dot = version.utf8.lastIndex(of: UInt8(ascii: ".")) else { return version }
    return String(version[..<dot])
  }

  private func dataFindings(_ report: HostReport, _ place: String) -> [Finding] {
    if let path = data.first(where: report.missingData.contains) {
      return [.error(.missingInput, at: place, "has no \(path)", hint: "copy it to the same path there")]
    }
    let files = Set(own.dataSums.keys).union(report.dataSums.keys).sorted()
    guard let odd = files.first(where: { own.dataSums[$0] != report.dataSums[$0] }) else { return [] }
    let what =
      report.dataSums[odd] == nil
      ? "has no \(odd)" : own.dataSums[odd] == nil ? "has \(odd), which is not here" : "has another \(odd)"
    return [.error(.disagreement, at: place, what, hint: "copy the data of this machine there")]
  }

  private func resourceFindings(_ report: HostReport, _ place: String, ranks: Int) -> [Finding] {
    var found: [Finding] = []
    if let here = own.clockSeconds, let there = report.clockSeconds, abs(here - there) > 60 {
      found.append(
        .warning(
          place, "its clock is \(abs(here - there)) s \(there > here ? "ahead" : "behind")",
          hint: "set it by NTP; times in logs will not fit together"))
    }
    let threads = ranks * plan.threadsPerRank
    if let cores = report.cores, threads > cores {
      found.append(
        .warning(
          place,
          "\(counted(ranks, "rank")) of \(counted(plan.threadsPerRank, "thread")) want \(threads) cores, it has \(cores)",
          hint: "fewer slots= there, or --num_cpu_threads_per_process"))
    }
    if let rankBytes, let free = report.freeMemoryBytes, ranks * rankBytes > free {
      found.append(
        .warning(
          place,
          "\(counted(ranks, "rank")) need about \(ranks * rankBytes >> 20) MB of memory, \(free >> 20) MB are free",
          hint: "fewer slots= there, or a smaller --batch-size or --max-length"))
    }
    for (name, free, least) in [
      ("the folder for temporary files", report.freeTemporaryBytes, 50 << 20),
      ("/dev/shm", report.freeSharedBytes, ranks * 8 << 20),
    ] {
      if let free, free < least {
        found.append(
          .warning(
            place, "\(name) has \(free >> 20) MB free, MPI needs about \(least >> 20) MB",
            hint: name == "/dev/shm" ? "docker run --shm-size, or mount it larger" : "make room, or set TMPDIR"))
      }
    }
    return found
  }
}
