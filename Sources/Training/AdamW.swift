import BERT
import Kernels

/// AdamW over one flat buffer, in the order and precision of `torch.optim.AdamW`.
public final class AdamW {
  /// The numbers that decide the update, apart from the rate, which the schedule gives for each step.
  public struct Options: Sendable, Equatable {
    public var weightDecay: Double
    public var beta1: Double
    public var beta2: Double
    public var epsilon: Double
    /// Whether biases and LayerNorm's parameters are left out of weight decay.
    public var sparesBiasAndNorm: Bool

    public init(
      weightDecay: Double, beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8,
      sparesBiasAndNorm: Bool = false
    ) {
      self.weightDecay = weightDecay
      self.beta1 = beta1
      self.beta2 = beta2
      self.epsilon = epsilon
      self.sparesBiasAndNorm = sparesBiasAndNorm
    }
  }

  public let options: Options
  /// Steps taken.
  public private(set) var step = 0
  /// The parameters that this rank updates; moments exist for them only.
  public let slice: Range<Int>
  private let threads: ThreadPool
  /// The first moments, and behind them the second, some lines apart: streams at the same place of their large pages drive
  /// one another out of the caches, and AdamW's pass takes twice the time.
  private let moments: FloatBuffer
  private var firstMoments: UnsafeMutablePointer<Float> { moments.pointer }
  private var secondMoments: UnsafeMutablePointer<Float> { moments.pointer + secondMomentsOffset }
  private let secondMomentsOffset: Int
  /// Runs of parameters that are treated alike, in order and without gaps.
  private let runs: [(range: Range<Int>, decays: Bool)]

  /// - Parameters:
  ///   - threads: the threads that share out the slice.
  ///   - slice: the parameters that this rank updates; nil for all.
  public init(
    _ layout: ParameterLayout, _ options: Options, threads: ThreadPool = ThreadPool(count: 1), slice: Range<Int>? = nil
  ) {
    let slice = slice ?? 0..<layout.count
    self.options = options
    self.threads = threads
    self.slice = slice
    secondMomentsOffset = (slice.count / 16 + 161) * 16
    moments = FloatBuffer(count: secondMomentsOffset + slice.count)
    var runs: [(range: Range<Int>, decays: Bool)] = []
    for slot in layout.slots {
      let range = slot.range.clamped(to: slice)
      guard !range.isEmpty else { continue }
      let decays = !(options.sparesBiasAndNorm && slot.kind.isBiasOrNorm)
      if let last = runs.last, last.decays == decays {
        runs[runs.count - 1].range = last.range.lowerBound..<range.upperBound
      } else {
        runs.append((range, decays))
      }
    }
    self.runs = runs
  }

  /// Takes one step for the slice: parameters and moments change in place, gradients are read only.
  ///
  /// - Parameters:
  ///   - parameters: the whole flat buffer.
  ///   - gradients: whole buffers, whose sum is the gradient.
  ///   - gradientScale: factor of every gradient, below 1 where the norm is clipped.
  /// - Returns: Σ g² over the slice, before scaling.
  public func apply(
    parameters: UnsafeMutablePointer<Float>, gradients: [UnsafePointer<Float>], learningRate: Double,
    gradientScale: Double = 1
  ) -> Double {
    step += 1
    var squares = 0.0
    for decays in [true, false] {
      let update = AdamWStep(
        step: step, learningRate: learningRate, weightDecay: decays ? options.weightDecay : 0, beta1: options.beta1,
        beta2: options.beta2, epsilon: options.epsilon, gradientScale: gradientScale)
      for run in runs where run.decays == decays {
        // Blocks of one size whatever the number of threads, so that the sum of their squares has the same bits.
        let blockCount = 1 << 18
        let blocks = (run.range.count + blockCount - 1) / blockCount
        var blockSquares = [Double](repeating: 0, count: blocks)
        blockSquares.withUnsafeMutableBufferPointer { blockSquares in
          threads.forEachItem(of: blocks) { _, block in
            let start = run.range.lowerBound + block * blockCount
            let end = min(start + blockCount, run.range.upperBound)
            blockSquares[block] = update.apply(
              start..<end, parameters: parameters, gradients: gradients,
              firstMoments: firstMoments + (start - slice.lowerBound),
              secondMoments: secondMoments + (start - slice.lowerBound))
          }
        }
        squares += blockSquares.reduce(0, +)
      }
    }
    return squares
  }
}
