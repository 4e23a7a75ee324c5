import BERT
import DataParallel
import Kernels

/// AdamW over one flat buffer, in the order and precision of `torch.optim.AdamW`.
public final class AdamWOptimizer: ParameterUpdate {
  /// The numbers that decide the update, apart from the rate, which the schedule gives for each step.
  public struct Options: Sendable, Equatable {
    public var weightDecay: Double
    public var beta1: Double
    public var beta2: Double
    public var epsilon: Double
    /// Whether biases and LayerNorm's parameters are left out of weight decay.
    public var sparesBiasAndNorm: Bool
    /// What becomes of a step whose loss or gradient is not a finite number.
    public var nonFinite: NonFinitePolicy

    public init(
      weightDecay: Double, beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8,
      sparesBiasAndNorm: Bool = false, nonFinite: NonFinitePolicy = .stop
    ) {
      self.weightDecay = weightDecay
      self.beta1 = beta1
      self.beta2 = beta2
      self.epsilon = epsilon
      self.sparesBiasAndNorm = sparesBiasAndNorm
      self.nonFinite = nonFinite
    }
  }

  public let options: Options
  /// Steps taken; those left out for bad numbers do not count.
  public private(set) var step = 0
  /// Runs of parameters that this rank updates; moments exist for them only.
  public let parts: [Range<Int>]
  private let threads: ThreadPool
  /// The first moments, and behind them the second, some lines apart: streams at the same place of their large pages drive
  /// one another out of the caches, and AdamW's pass takes twice the time.
  private let moments: FloatBuffer
  private let secondMomentsOffset: Int
  /// Of each part, what is treated alike, in order and without gaps.
  private let runs: [[Run]]
  /// The numbers of the present step, for what decays and for what is spared.
  private var numbers: (decaying: AdamWStep, spared: AdamWStep)?

  private struct Run {
    var range: Range<Int>
    var decays: Bool
    /// Where the moments of its first parameter are.
    var moments: Int
  }

  /// - Parameters:
  ///   - threads: the threads that share out a part.
  ///   - parts: the parameters that this rank updates; nil for all.
  public init(
    _ layout: ParameterLayout, _ options: Options, threads: ThreadPool = ThreadPool(count: 1),
    parts: [Range<Int>]? = nil
  ) {
    let parts = parts ?? [0..<layout.count]
    self.options = options
    self.threads = threads
    self.parts = parts
    var count = 0
    runs = parts.map { part in
      var runs: [Run] = []
      for slot in layout.slots where slot.range.overlaps(part) {
        let range = slot.range.clamped(to: part)
        let decays = !(options.sparesBiasAndNorm && slot.kind.isBiasOrNorm)
        if let last = runs.last, last.decays == decays {
          runs[runs.count - 1].range = last.range.lowerBound..<range.upperBound
        } else {
          runs.append(Run(range: range, decays: decays, moments: count + range.lowerBound - part.lowerBound))
        }
      }
      count += part.count
      return runs
    }
    secondMomentsOffset = (count / 16 + 161) * 16
    moments = FloatBuffer(count: secondMomentsOffset + count)
  }

  /// Takes one step for all parts: parameters and moments change in place, gradients are read only.
  ///
  /// - Parameters:
  ///   - parameters: the whole flat buffer.
  ///   - gradients: whole buffers, whose sum is the gradient.
  ///   - gradientScale: factor of every gradient, below 1 where the norm is clipped.
  /// - Returns: Σ g² over the parts, before scaling.
  public func apply(
    parameters: UnsafeMutablePointer<Float>, gradients: [UnsafePointer<Float>], learningRate: Double,
    gradientScale: Double = 1
  ) -> Double {
    apply(
      parameters: parameters, gradients: gradients, touched: nil, learningRate: learningRate,
      gradientScale: gradientScale)
  }

  /// The same, with the rows of the word table that have gradients; nil where all may. No bit of the parameters changes.
  package func apply(
    parameters: UnsafeMutablePointer<Float>, gradients: [UnsafePointer<Float>], touched: TouchedEmbeddingRows?,
    learningRate: Double, gradientScale: Double
  ) -> Double {
    beginStep(learningRate: learningRate, gradientScale: gradientScale)
    return parts.indices.reduce(0) {
      $0 + take(part: $1, parameters: parameters, gradients: gradients, touched: touched, usesThreads: true)
    }
  }

  /// Σ g² over the part, where g is the sum of `gradients`.
  package func sumOfSquares(part: Int, gradients: [UnsafePointer<Float>], touched: TouchedEmbeddingRows) -> Double {
    var squares = 0.0
    touched.forEachRun(in: parts[part]) { range, isTouched in
      if isTouched { squares += Kernels.sumOfSquares(range, ofSum: gradients) }
    }
    return squares
  }

  /// Begins a step that `apply(part:parameters:gradients:touched:usesThreads:)` takes part by part.
  func beginStep(learningRate: Double, gradientScale: Double = 1) {
    step += 1
    func numbers(_ weightDecay: Double) -> AdamWStep {
      AdamWStep(
        step: step, learningRate: learningRate, weightDecay: weightDecay, beta1: options.beta1, beta2: options.beta2,
        epsilon: options.epsilon, gradientScale: gradientScale)
    }
    self.numbers = (numbers(options.weightDecay), numbers(0))
  }

  package func apply(
    part: Int, parameters: UnsafeMutablePointer<Float>, gradients: [UnsafePointer<Float>],
    touched: TouchedEmbeddingRows, usesThreads: Bool
  ) -> Double {
    take(part: part, parameters: parameters, gradients: gradients, touched: touched, usesThreads: usesThreads)
  }

  /// Takes the present step for one part; see ``apply(parameters:gradients:touched:learningRate:gradientScale:)``.
  private func take(
    part: Int, parameters: UnsafeMutablePointer<Float>, gradients: [UnsafePointer<Float>],
    touched: TouchedEmbeddingRows?, usesThreads: Bool
  ) -> Double {
    guard let numbers else { preconditionFailure("a part of no step") }
    var squares = 0.0
    for run in runs[part] {
      let update = run.decays ? numbers.decaying : numbers.spared
      // Blocks of one size whatever the number of threads, so that the sum of their squares has the same bits.
      let blockCount = 1 << 18
      let blocks = (run.range.count + blockCount - 1) / blockCount
      func apply(_ block: Int) -> Double {
        let start = run.range.lowerBound + block * blockCount
        let end = min(start + blockCount, run.range.upperBound)
        func apply(_ range: Range<Int>, _ gradients: [UnsafePointer<Float>]) -> Double {
          let moments = run.moments + (range.lowerBound - run.range.lowerBound)
          return update.apply(
            range, parameters: parameters, gradients: gradients, firstMoments: self.moments.pointer + moments,
            secondMoments: self.moments.pointer + secondMomentsOffset + moments)
        }
        guard let touched else { return apply(start..<end, gradients) }
        var squares = 0.0
        touched.forEachRun(in: start..<end) { range, isTouched in
          squares += apply(range, isTouched ? gradients : [])
        }
        return squares
      }
      guard usesThreads else {
        squares += (0..<blocks).reduce(0) { $0 + apply($1) }
        continue
      }
      var blockSquares = [Double](repeating: 0, count: blocks)
      blockSquares.withUnsafeMutableBufferPointer { blockSquares in
        threads.forEachItem(of: blocks) { _, block in blockSquares[block] = apply(block) }
      }
      squares += blockSquares.reduce(0, +)
    }
    return squares
  }
}

extension AdamWOptimizer {
  /// Takes the present step for parameters that lie in one of this rank's parts, in the calling thread. A parameter's bits
  /// do not depend on where the range begins and ends.
  ///
  /// - Parameter gradient: of the range: element 0 belongs to its first parameter.
  package func apply(
    _ range: Range<Int>, parameters: UnsafeMutablePointer<Float>, gradient: UnsafePointer<Float>
  ) {
    guard let numbers else { preconditionFailure("a range of no step") }
    for run in runs.joined() where run.range.overlaps(range) {
      let part = run.range.clamped(to: range)
      let moments = run.moments + (part.lowerBound - run.range.lowerBound)
      _ = (run.decays ? numbers.decaying : numbers.spared).apply(
        part, parameters: parameters, gradients: [gradient - range.lowerBound],
        firstMoments: self.moments.pointer + moments,
        secondMoments: self.moments.pointer + secondMomentsOffset + moments)
    }
  }
}

// MARK: State

extension AdamWOptimizer {
  /// What is kept of each parameter: a mean of its gradient, or of the square.
  public enum Moment: Sendable, CaseIterable { case first, second }

  /// Copies the moments of this rank's parts to their places in `whole`, which is in the order of the layout.
  package func copyMoments(_ moment: Moment, to whole: UnsafeMutablePointer<Float>) {
    forEachRun(moment) { range, values in copyPastCaches(values, to: whole + range.lowerBound, count: range.count) }
  }

  /// Copies the moments of a range in one of this rank's parts.
  func copy(_ moment: Moment, _ range: Range<Int>, to place: UnsafeMutablePointer<Float>) {
    forEachRun(moment) { run, values in
      let part = run.clamped(to: range)
      if part.isEmpty { return }
      (place + (part.lowerBound - range.lowerBound)).update(
        from: values + (part.lowerBound - run.lowerBound), count: part.count)
    }
  }

  /// Overwrites the moments of this rank's parts with those in `whole`.
  package func setMoments(_ moment: Moment, from whole: UnsafePointer<Float>) {
    forEachRun(moment) { range, values in values.update(from: whole + range.lowerBound, count: range.count) }
  }

  /// A digest of the moments of this rank's parts in `range`.
  func digest(of moment: Moment, in range: Range<Int>) -> UInt64 {
    var sum: UInt64 = 0
    forEachRun(moment) { run, values in
      let part = run.clamped(to: range)
      if part.isEmpty { return }
      sum = sum &* 31 &+ Training.digest(of: values + (part.lowerBound - run.lowerBound), count: part.count)
    }
    return sum
  }

  /// So many steps were taken before.
  func resume(at step: Int) { self.step = step }

  private func forEachRun(_ moment: Moment, _ body: (Range<Int>, UnsafeMutablePointer<Float>) -> Void) {
    let start = moments.pointer + (moment == .first ? 0 : secondMomentsOffset)
    for run in runs.joined() { body(run.range, start + run.moments) }
  }
}
