/// How gradients of ranks are added.
public enum ReductionMode: String, Sendable, CaseIterable {
  /// As they come: within 1e-5 of any other number of ranks.
  case fast
  /// By groups of rows in one fixed tree: the same bits on any number of ranks, hosts and threads.
  case invariant
}
