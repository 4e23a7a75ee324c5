import Collectives
import Glibc
import Kernels
import System

/// Sums of buckets of floats over hosts, several at a time, while the ranks do other things.
///
/// Each host owns a share of a bucket: it receives the others' contributions to it, adds all in fp32 in the order of the
/// hosts, and sends the result to all. So 2 (h - 1) / h of the bytes go out of each host, which no other way beats, in 2
/// rounds, and every host has the same bits: those that the owner has sent.
///
/// What rounding on the wire loses, of contributions and of results, stays on the host that rounded, in `residual`, and
/// counts the next time.
package final class InterHostAllReduce {
  let wire: WirePrecision
  private let channel: any PointToPointChannel
  /// The ranks that add up, one of each host, in the order of hosts.
  private let peers: [Int]
  /// This rank's place in them.
  private let own: Int
  private let mostFloats: Int
  /// No share has more.
  private let mostShareFloats: Int
  private var slots: [Slot]
  /// Bytes sent so far.
  package private(set) var sentBytes = 0

  /// A bucket on its way.
  private struct Slot {
    var bucket: Int?
    var values: UnsafeMutablePointer<Float>
    var residual: UnsafeMutablePointer<Float>?
    var count = 0
    /// `[count]` numbers: this host's contributions to the others' shares, then their results; of the own share, the
    /// result.
    let numbers: UnsafeMutableRawPointer
    /// `[hosts, share]`: the others' contributions to the own share.
    let contributions: UnsafeMutableRawPointer
    // Messages by host; nil where there is none, or no more.
    var sends: [Int?]
    var receives: [Int?]
    var results: [Int?]
    var resultSends: [Int?]
    var hasOwnResult = false
    /// Shares whose results are not there yet.
    var missing = 0
  }

  /// Buckets on their way at once: enough for the wire to be busy while sums are computed.
  package static let usualSlots = 6

  /// - Parameters:
  ///   - groups: the hosts; this rank is in a peer group.
  ///   - mostFloats: no bucket has more.
  ///   - slots: buckets on their way at once.
  package init(
    _ channel: any PointToPointChannel, _ groups: HostTopology, wire: WirePrecision, mostFloats: Int,
    slots: Int = InterHostAllReduce.usualSlots
  ) {
    self.channel = channel
    peers = groups.ranks.map { $0[min(groups.place, $0.count - 1)] }
    own = groups.own
    self.wire = wire
    self.mostFloats = mostFloats
    let none = [Int?](repeating: nil, count: peers.count)
    let shareFloats = ((mostFloats + 15) / 16 + peers.count - 1) / peers.count * 16
    mostShareFloats = shareFloats
    let contributionBytes = max(64, peers.count * shareFloats * wire.byteCount)
    self.slots = (0..<slots).map { _ in
      Slot(
        bucket: nil, values: UnsafeMutablePointer(bitPattern: 64)!,
        numbers: .allocate(byteCount: max(64, mostFloats * wire.byteCount), alignment: 64),
        contributions: .allocate(byteCount: contributionBytes, alignment: 64),
        sends: none, receives: none, results: none, resultSends: none)
    }
  }

  deinit {
    // Where a job ends within a step, messages may still come into this memory until MPI is closed: so it stays.
    if isBusy { return }
    for slot in slots {
      slot.numbers.deallocate()
      slot.contributions.deallocate()
    }
  }

  var hasRoom: Bool { slots.contains { $0.bucket == nil } }
  var isBusy: Bool { slots.contains { $0.bucket != nil } }

  /// Begins to sum a bucket; needs room. All hosts begin the same buckets, in the same order.
  ///
  /// - Parameters:
  ///   - bucket: its number.
  ///   - values: overwritten with the sums; nobody else touches them before the bucket is done.
  ///   - residual: what earlier rounding has lost at each place; nil where nothing is rounded.
  func begin(
    _ bucket: Int, _ values: UnsafeMutablePointer<Float>, residual: UnsafeMutablePointer<Float>?, count: Int
  ) throws(Failure) {
    precondition(count <= mostFloats, "a bucket of \(count) floats, expected at most \(mostFloats)")
    guard let index = slots.firstIndex(where: { $0.bucket == nil }) else { preconditionFailure("no room for a bucket") }
    slots[index].bucket = bucket
    slots[index].values = values
    slots[index].residual = residual
    slots[index].count = count
    slots[index].hasOwnResult = false
    slots[index].missing = 0
    let ownShare = share(own, of: index)
    for host in peers.indices where host != own {
      let part = share(host, of: index)
      if !part.isEmpty {
        let numbers = slots[index].numbers + part.lowerBound * wire.byteCount
        wire.encode(
          count: part.count, values + part.lowerBound, residual: residual.map { $0 + part.lowerBound }, into: numbers)
        slots[index].sends[host] = try send(numbers, part.count, to: host, tag: 2 * bucket + 2)
        slots[index].missing += 1
      }
      if !ownShare.isEmpty {
        let bytes = UnsafeMutableRawBufferPointer(
          start: contribution(of: host, index), count: ownShare.count * wire.byteCount)
        slots[index].receives[host] = try channel.receive(bytes, from: peers[host], tag: 2 * bucket + 2)
      }
    }
    slots[index].hasOwnResult = ownShare.isEmpty
  }

  /// Moves what can be moved, and calls `finished` for each bucket whose sums are there. False where nothing could.
  func pump(_ finished: (Int) -> Void) throws(Failure) -> Bool {
    guard isBusy else { return false }
    try channel.poll()
    var moved = false
    for index in slots.indices {
      guard let bucket = slots[index].bucket else { continue }
      if try advance(index, bucket) { moved = true }
      let slot = slots[index]
      if slot.hasOwnResult && slot.missing == 0 && slot.resultSends.allSatisfy({ $0 == nil }) {
        slots[index].bucket = nil
        finished(bucket)
        moved = true
      }
    }
    return moved
  }

  /// Sums `count` floats bucket by bucket, and returns when all is done.
  ///
  /// - Parameters:
  ///   - residual: what earlier rounding has lost at each place; nil where nothing is rounded.
  package func callAsFunction(
    _ values: UnsafeMutablePointer<Float>, residual: UnsafeMutablePointer<Float>?, count: Int, bucket: Int
  ) throws(Failure) {
    let buckets = (count + bucket - 1) / bucket
    var (begun, done) = (0, 0)
    while done < buckets {
      while begun < buckets, hasRoom {
        let start = begun * bucket
        try begin(begun, values + start, residual: residual.map { $0 + start }, count: min(bucket, count - start))
        begun += 1
      }
      if try !pump({ _ in done += 1 }) { usleep(20) }
    }
  }

  private func advance(_ index: Int, _ bucket: Int) throws(Failure) -> Bool {
    var moved = false
    for host in peers.indices where host != own {
      let part = share(host, of: index)
      let numbers = slots[index].numbers + part.lowerBound * wire.byteCount
      if let message = slots[index].sends[host], channel.isDone(message) {
        // Only now is the memory free for the result.
        slots[index].sends[host] = nil
        let bytes = UnsafeMutableRawBufferPointer(start: numbers, count: part.count * wire.byteCount)
        slots[index].results[host] = try channel.receive(bytes, from: peers[host], tag: 2 * bucket + 3)
        moved = true
      }
      if let message = slots[index].receives[host], channel.isDone(message) {
        slots[index].receives[host] = nil
        moved = true
      }
      if let message = slots[index].results[host], channel.isDone(message) {
        slots[index].results[host] = nil
        slots[index].missing -= 1
        wire.decode(count: part.count, numbers, into: slots[index].values + part.lowerBound)
        moved = true
      }
      if let message = slots[index].resultSends[host], channel.isDone(message) {
        slots[index].resultSends[host] = nil
        moved = true
      }
    }
    if !slots[index].hasOwnResult, slots[index].receives.allSatisfy({ $0 == nil }) {
      slots[index].hasOwnResult = true
      let ownShare = share(own, of: index)
      let numbers = slots[index].numbers + ownShare.lowerBound * wire.byteCount
      addContributions(index, ownShare, numbers)
      for host in peers.indices where host != own {
        slots[index].resultSends[host] = try send(numbers, ownShare.count, to: host, tag: 2 * bucket + 3)
      }
      moved = true
    }
    return moved
  }

  /// Adds up the own share in the order of hosts, and rounds the sum as it is sent.
  private func addContributions(_ index: Int, _ part: Range<Int>, _ numbers: UnsafeMutableRawPointer) {
    let values = slots[index].values + part.lowerBound
    let residual = slots[index].residual.map { $0 + part.lowerBound }
    let blockCount = 4096
    withUnsafeTemporaryAllocation(of: Float.self, capacity: blockCount) { scratch in
      guard let sum = scratch.baseAddress else { return }
      for start in stride(from: 0, to: part.count, by: blockCount) {
        let count = min(blockCount, part.count - start)
        sum.update(repeating: 0, count: count)
        for host in peers.indices {
          if host == own {
            add(count: count, values + start, to: sum)
          } else {
            wire.add(count: count, contribution(of: host, index) + start * wire.byteCount, to: sum)
          }
        }
        let out = numbers + start * wire.byteCount
        wire.encode(count: count, sum, residual: residual.map { $0 + start }, into: out)
        wire.decode(count: count, out, into: values + start)
      }
    }
  }

  private func share(_ host: Int, of index: Int) -> Range<Int> {
    cut(0..<slots[index].count, host, of: peers.count)
  }

  private func contribution(of host: Int, _ index: Int) -> UnsafeMutableRawPointer {
    slots[index].contributions + host * mostShareFloats * wire.byteCount
  }

  private func send(
    _ numbers: UnsafeMutableRawPointer, _ count: Int, to host: Int, tag: Int
  ) throws(Failure) -> Int {
    let bytes = UnsafeRawBufferPointer(start: numbers, count: count * wire.byteCount)
    sentBytes += bytes.count
    return try channel.send(bytes, to: peers[host], tag: tag)
  }
}

/// The part with this index of `parts` even parts of a range; they begin at multiples of a cache line from its start.
func cut(_ range: Range<Int>, _ index: Int, of parts: Int) -> Range<Int> {
  let lines = (range.count + 15) / 16
  let start = min(lines * index / parts * 16, range.count)
  let end = min(lines * (index + 1) / parts * 16, range.count)
  return range.lowerBound + start..<range.lowerBound + end
}
