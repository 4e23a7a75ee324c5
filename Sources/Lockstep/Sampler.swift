import Datasets

/// In which order an epoch visits the rows of a data set.
///
/// Every rank asks for the order of all rows and takes its share, so it must be the same on all: a function of the epoch.
public protocol Sampler {
  /// Rows of an epoch; a sampler may leave some out, or visit some twice.
  var count: Int { get }
  /// `[count]`: the numbers of the rows, from 0.
  func order(epoch: Int) -> [Int]
}

/// The order of the data set.
public struct SequentialSampler: Sampler {
  public let count: Int

  /// - Parameter count: rows of the data set.
  public init(count: Int) { self.count = count }

  public func order(epoch: Int) -> [Int] { Array(0..<count) }
}

/// Another order in each epoch, the one of Accelerate's `SeedableRandomSampler`: `torch.randperm` from a generator seeded
/// with `seed + epoch`.
public struct RandomSampler: Sampler {
  public let count: Int
  public let seed: Int

  /// - Parameter count: rows of the data set.
  public init(count: Int, seed: Int) {
    self.count = count
    self.seed = seed
  }

  public func order(epoch: Int) -> [Int] { shuffledOrder(count: count, seed: seed, epoch: epoch) }
}
