import System

/// What started this launcher as several tasks, each of which would start a whole job: `mpirun -np 2 ./launch …` and
/// `srun -n 2 ./launch …`, a habit from other launchers.
public struct OuterLauncher: Sendable, Equatable {
  /// `mpirun` or `srun`.
  public var name: String
  /// The variable that tells, and the number of tasks in it.
  public var variable: String
  public var tasks: Int
  /// Which of the tasks this is.
  public var task: Int

  /// Nil where this launcher is one of a kind, as inside a rank of a job of its own.
  public init?(_ environment: Environment) {
    guard environment[JobProcesses.variable] == nil else { return nil }
    let kinds = [
      ("mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("mpirun", "PMI_RANK", "PMI_SIZE"),
      ("srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ]
    for (name, rank, size) in kinds {
      guard let tasks = environment[size].flatMap({ Int($0) }), let task = environment[rank].flatMap({ Int($0) }),
        tasks > 1,
        // Left behind by a step, without the step itself: a shell that was started in one.
        0..<tasks ~= task, name != "srun" || environment["SLURM_STEP_ID"] != nil
      else { continue }
      let isSlurm = environment["SLURM_STEP_ID"] != nil
      (self.name, self.variable, self.tasks, self.task) = (isSlurm ? "srun" : name, size, tasks, task)
      return
    }
    return nil
  }

  /// The refusal, with the command to type instead.
  ///
  /// - Parameter words: what the user has typed after `./launch`.
  public func refusal(_ words: [String]) -> Failure {
    let isGiven = words.contains { word in
      ["-n", "--num_processes", "--num-processes"].contains { word == $0 || word.utf8.starts(with: "\($0)=".utf8) }
    }
    // Inside Slurm the allocation says it.
    let count = isGiven || name == "srun" ? [] : ["--num_processes", "\(tasks)"]
    let command = (["./launch"] + count + words.prefix(20)).map(shellQuoted).joined(separator: " ")
    return Failure(
      .usage, at: "\(variable)=\(tasks)",
      "\(name) has started this launcher \(tasks) times, and each would start a whole job; it starts the ranks itself",
      hint: "\(command)\(words.count > 20 ? " …" : ""), without \(name); or unset \(variable), if it is left over")
  }
}
