import Collectives
import Kernels
import System

/// How many floats a rank sums over hosts at once.
enum BucketSize {
  /// What ranks take that have little to sum, without a measurement.
  private static let usualBytes = 1 << 18
  private static let measuredBytes = [1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 22]
  /// How much each size is measured with.
  private static let sampleBytes = 1 << 24
  /// Where the link is so slow that measuring takes long, the best so far will do.
  private static let mostSeconds = 1.0

  /// Where numbers are rounded, bits depend on which host owns which share of a bucket: a measurement would make each
  /// run, and each resumed one, another.
  private static let roundedBytes = 1 << 20

  private static func isLarge(_ count: Int, _ wire: WirePrecision) -> Bool {
    count * wire.byteCount >= 4 * sampleBytes
  }

  /// The most bytes of a bucket that are chosen for a rank that sums `count` floats.
  static func mostBytes(summing count: Int, _ wire: WirePrecision) -> Int {
    guard isLarge(count, wire) else { return usualBytes }
    return wire.rounds ? roundedBytes : measuredBytes.max() ?? usualBytes
  }

  /// What the options say on rank 0, or else by a short measurement. Called by all ranks; the same on all.
  ///
  /// - Parameter scratch: of `layout.count` floats that are 0; they are 0 again afterwards.
  static func floats(
    _ layout: GradientLayout, _ groups: HostTopology, _ link: any PointToPointChannel,
    _ options: SynchronizationOptions, scratch: UnsafeMutablePointer<Float>, _ communicator: any Communicator
  ) throws(Failure) -> Int {
    let wire = options.wire
    let asked = try communicator.allGather(options.bucketBytes ?? 0)[0]
    func floats(_ bytes: Int) -> Int { bytes / wire.byteCount / 16 * 16 }
    if asked > 0 { return floats(asked) }
    guard isLarge(layout.count / groups.peerGroupCount, wire) else { return floats(usualBytes) }
    if wire.rounds { return floats(roundedBytes) }
    var best = (seconds: Double.infinity, bytes: usualBytes)
    var total = 0.0
    for bytes in measuredBytes where total < mostSeconds {
      let seconds = try measure(floats(bytes), groups, link, wire: wire, scratch, communicator)
      total += seconds
      if seconds < best.seconds { best = (seconds, bytes) }
    }
    return floats(best.bytes)
  }

  /// Seconds of the slowest rank for the sample in buckets of so many floats.
  private static func measure(
    _ bucket: Int, _ groups: HostTopology, _ link: any PointToPointChannel, wire: WirePrecision,
    _ scratch: UnsafeMutablePointer<Float>,
    _ communicator: any Communicator
  ) throws(Failure) -> Double {
    let count = sampleBytes / wire.byteCount
    try communicator.barrier()
    var clock = LapClock()
    // Also the ranks in no peer group: the launcher compares what ranks have called.
    try communicator.waitingForExchange(count: count) { () throws(Failure) in
      guard groups.isInPeerGroup else { return }
      let sum = InterHostAllReduce(link, groups, wire: wire, mostFloats: bucket)
      try sum(scratch, residual: nil, count: count, bucket: bucket)
    }
    return try communicator.allGather(clock.lap()).max() ?? 0
  }
}
