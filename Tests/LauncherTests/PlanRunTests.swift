import Glibc
import Launcher
import System
import TestSupport
import Testing

/// The plans of `PlanCase`, run for real by every kind of mpirun that this machine has: the first on the PATH, Debian's
/// `mpirun.openmpi` and `mpirun.mpich`, and those that `LOCKSTEP_MPIRUNS` lists with colons between them.
enum RealMPI {
  static let found: [MPIFlavour: String] = {
    let environment = Environment.ofThisProcess()
    let programs = Programs(folder: "/nonexistent", searchPath: environment["PATH"] ?? "")
    let listed = (environment["LOCKSTEP_MPIRUNS"] ?? "").split(separator: ":").map(String.init)
    let named = ["mpirun", "mpirun.openmpi", "mpirun.mpich"].compactMap { programs.find($0) }
    var found: [MPIFlavour: String] = [:]
    for path in named + listed {
      guard let flavour = try? MPIFlavour(mpirun: path, environment: environment) else { continue }
      found[flavour] = found[flavour] ?? path
    }
    return found
  }()

  /// `plan` as this machine can run it: a program that says its rank, and the hosts' shell at `agent`.
  static func arguments(_ plan: LaunchPlan, hostfile: String?, agent: String?) -> [String] {
    var plan = plan
    plan.program = "/bin/sh"
    plan.arguments = ["-c", "echo rank=${OMPI_COMM_WORLD_RANK-$PMI_RANK} host=$(hostname)", "x"] + plan.arguments
    plan.isRoot = geteuid() == 0
    if let hostfile { plan.hostfilePath = hostfile }
    if let agent { plan.remote = .init(shell: agent) }
    return MPIRunCommand.arguments(for: plan)
  }
}

@Suite(.serialized) struct PlanRunTests {
  static let local = PlanCase.all.filter { $0.plan.placement == nil }
  static let remote = PlanCase.all.filter { $0.plan.placement != nil }

  static func has(_ flavour: MPIFlavour) -> Bool { RealMPI.found[flavour] != nil }

  @Test func openMPI4OnThisMachine() throws { try runLocalPlans(.openMPI4) }
  @Test(.enabled(if: has(.openMPI5), "no mpirun of Open MPI 5; LOCKSTEP_MPIRUNS may name one"))
  func openMPI5OnThisMachine() throws { try runLocalPlans(.openMPI5) }
  @Test(.enabled(if: has(.mpich), "no mpirun of MPICH; LOCKSTEP_MPIRUNS may name one"))
  func mpichOnThisMachine() throws { try runLocalPlans(.mpich) }
  @Test(.enabled(if: has(.intel), "no mpirun of Intel MPI; LOCKSTEP_MPIRUNS may name one"))
  func intelOnThisMachine() throws { try runLocalPlans(.intel) }

  func runLocalPlans(_ flavour: MPIFlavour) throws {
    let mpirun = try #require(RealMPI.found[flavour])
    let cores = Cores.ofThisProcess().physical
    for theCase in Self.local where theCase.plan.flavour == flavour {
      if theCase.plan.binding != "none", theCase.plan.ranks * theCase.plan.threadsPerRank > cores { continue }
      let arguments = RealMPI.arguments(theCase.plan, hostfile: nil, agent: nil)
      let result = try run(mpirun, arguments, environment: ["A": "1", "B": "2"])
      #expect(result.status == 0, "\(theCase.name): \(result.stderr) \(arguments)")
      let words = result.lines.flatMap { $0.split { $0 == " " || $0 == ":" }.map(String.init) }
      let ranks = words.filter { $0.hasPrefix("rank=") }.map { String($0.dropFirst(5)) }
      #expect(
        Set(ranks) == Set((0..<theCase.plan.ranks).map { "\($0)" }), "\(theCase.name): \(result.lines)")
    }
  }

  /// All plans of several hosts on one cluster of four.
  @Test(.needs(.hosts))
  func onSeveralHosts() throws {
    var script = "cd /tmp; A=1 B=2; export A B\n"
    // The cluster has node1 to node4; another domain's hosts are compared as command lines only.
    let cases = Self.remote.filter { theCase in
      let hosts = theCase.plan.placement?.hosts ?? []
      return RealMPI.found[theCase.plan.flavour] != nil
        && hosts.allSatisfy { $0.entry.name.description.hasPrefix("node") }
    }
    for (index, theCase) in cases.enumerated() {
      let mpirun = try #require(RealMPI.found[theCase.plan.flavour])
      let hostfile = MPIRunCommand.hostfile(for: theCase.plan) ?? ""
      script += "printf %s \(shellQuoted(hostfile)) >$CLUSTER_FOLDER/h\n"
      let words =
        [mpirun]
        + RealMPI.arguments(theCase.plan, hostfile: "HOSTFILE", agent: "AGENT")
      let command = words.map { (word: String) -> String in
        switch word {
        case "HOSTFILE": "$CLUSTER_FOLDER/h"
        case "AGENT": "$CLUSTER_AGENT"
        default: shellQuoted(word)
        }
      }
      script +=
        "\(command.joined(separator: " ")) 2>&1 | sed 's/^/case=\(index) /'; echo \"status=\(index) ${PIPESTATUS[0]}\"\n"
    }
    let result = try Running(ClusterTests.tool, ["4", "bash", "-c", script].map { Array($0.utf8) }).finish(within: 120)
    for (index, theCase) in cases.enumerated() {
      let lines: [String] = result.lines.filter { $0.hasPrefix("case=\(index) ") }
      #expect(result.lines.contains("status=\(index) 0"), "\(theCase.name): \(lines)")
      for host in try #require(theCase.plan.placement).hosts {
        let name = host.entry.name.description
        let count = lines.count { (line: String) in line.hasSuffix("host=\(name)") }
        #expect(count == host.ranks, "\(theCase.name): \(count) ranks on \(name): \(lines)")
      }
    }
    #expect(cases.count >= 6)
  }
}
