extension TimeReport {
  /// Each rank's host and seconds by kind, in the order of the ranks; every rank has the same kinds.
  public var secondsByKind: [(host: String, seconds: [(kind: String, seconds: Double)])] {
    ranks.indices.map { rank in
      (
        hosts[rank],
        StepPart.allCases.map { (kind: $0.name, seconds: ranks[rank][$0]) } + [
          (kind: "evaluation", seconds: evaluations[rank])
        ]
      )
    }
  }
}
