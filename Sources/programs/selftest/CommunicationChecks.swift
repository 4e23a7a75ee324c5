import Collectives
import Glibc
import System
import Training

extension Check {
  /// Ranks and what they say to one another.
  static let communication = [
    Check(name: "process state") { (communicator, settings) throws(Failure) in
      let ranks = try communicator.allGather(communicator.rank)
      let sizes = try communicator.allGather(communicator.size)
      let threads = try communicator.allGather(settings.threads)
      let hosts = try communicator.allGather(Array(communicator.host.utf8))
      let localSizes = try communicator.allGather(communicator.localSize)
      let ownHost = hosts[communicator.rank]
      let here = hosts.indices.filter { hosts[$0] == ownHost }
      return communicator.first(
        difference("ranks", ranks, Array(0..<communicator.size)),
        difference("numbers of ranks", sizes, Array(repeating: communicator.size, count: communicator.size)),
        difference("threads of the ranks", Set(threads).count, 1),
        difference("ranks on \(communicator.host)", localSizes[communicator.rank], here.count),
        difference("place on \(communicator.host)", communicator.localRank, here.firstIndex(of: communicator.rank)))
    },
    Check(name: "process order: a barrier holds until all are there") { (communicator, _) throws(Failure) in
      // The clock of one host is the same for all ranks on it.
      usleep(UInt32(20_000 * (communicator.rank % 4)))
      let before = LapClock.now()
      try communicator.barrier()
      let after = LapClock.now()
      let arrivals = try communicator.allGather(before)
      let hosts = try communicator.allGather(Array(communicator.host.utf8))
      let latest = hosts.indices.filter { hosts[$0] == hosts[communicator.rank] }.map { arrivals[$0] }.max() ?? 0
      return latest <= after ? nil : "left the barrier \(latest - after) s before another rank came"
    },
    Check(name: "gather: numbers, lists and texts of any length, in rank order") { (communicator, _) throws(Failure) in
      let (rank, size) = (communicator.rank, communicator.size)
      let lists = try communicator.allGather((1...size).map { Double($0 + size * rank) })
      let texts = try communicator.allGather([UInt8](repeating: UInt8(rank % 256), count: rank * 3))
      let none = try communicator.allGather([UInt8]())
      return communicator.first(
        difference("lists", lists.flatMap { $0 }, (1...size * size).map(Double.init)),
        difference("texts", texts, (0..<size).map { [UInt8](repeating: UInt8($0 % 256), count: $0 * 3) }),
        difference("empty texts", none, [[UInt8]](repeating: [], count: size)))
    },
    Check(name: "reduce: sums, means and maxima") { (communicator, _) throws(Failure) in
      let (rank, size) = (communicator.rank, communicator.size)
      let values = (1...2).map { Double($0 + 2 * rank) }
      let sums = try communicator.sum(values)
      let wanted = (1...2).map { Double($0 * size + size * (size - 1)) }
      let maximum = try communicator.allGather(values).map { $0[1] }.max()
      return communicator.first(
        difference("sums", sums, wanted),
        difference("means", sums.map { $0 / Double(size) }, wanted.map { $0 / Double(size) }),
        difference("maximum", maximum, Double(2 * size)))
    },
    Check(name: "reduce: large and odd counts of floats, the same bits on every rank") {
      (communicator, _) throws(Failure) in
      for count in [1, 2, 7, 1000, 100_003] {
        var values = (0..<count).map { Float($0 % 1000 + communicator.rank) }
        try values.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in try communicator.sum(buffer) }
        let size = communicator.size
        let wanted = (0..<count).map { Float($0 % 1000 * size + size * (size - 1) / 2) }
        if let problem = difference("sums of \(count)", values, wanted) { return problem }
        // Numbers that no two orders of adding agree on.
        var rough = (0..<count).map { Float(0.1) * Float($0 + 1) / Float(3 + communicator.rank) }
        try rough.withUnsafeMutableBufferPointer { (buffer) throws(Failure) in try communicator.sum(buffer) }
        let bits = rough.reduce(UInt64(count)) { ($0 ^ UInt64($1.bitPattern)) &* 0x100_0000_01B3 }
        let all = try communicator.allGather(Int(bitPattern: UInt(bits)))
        if Set(all).count != 1 { return "sums of \(count) have other bits on another rank" }
      }
      return nil
    },
    Check(name: "broadcast: from every rank") { (communicator, _) throws(Failure) in
      for root in 0..<communicator.size {
        let text = Array("rank \(communicator.rank)".utf8)
        let found = try communicator.broadcast(text, from: root)
        if let problem = difference("from \(root)", found, Array("rank \(root)".utf8)) { return problem }
      }
      return nil
    },
    Check(name: "trigger: a flag that one rank sets is seen by all, once") { (communicator, _) throws(Failure) in
      for setter in 0..<communicator.size {
        let isSet = try communicator.sum(communicator.rank == setter ? 1 : 0) >= 1
        let isStillSet = try communicator.sum(0) >= 1
        if !isSet || isStillSet { return "set by rank \(setter): seen \(isSet), then \(isStillSet)" }
      }
      return nil
    },
    Check(name: "errors: one rank's failure is thrown on every rank") { (communicator, _) throws(Failure) in
      let last = communicator.size - 1
      do throws(Failure) {
        try communicator.agree { () throws(Failure) in
          if communicator.rank == last { throw Failure(.badData, "on purpose") }
        }
        return "nothing was thrown"
      } catch {
        let text = error.description
        return text.hasSuffix("on purpose") && error.status == .badData ? nil : "thrown was \(text)"
      }
    },
    Check(name: "shared memory: each rank on a host sees what the others write") { (communicator, _) throws(Failure) in
      guard let memory = try communicator.makeHostMemory(count: 3 + communicator.localRank) else { return nil }
      for index in memory.parts[communicator.localRank].indices {
        memory.parts[communicator.localRank][index] = Float(communicator.localRank)
      }
      try communicator.barrier()
      let found = memory.parts.map { part in part.map { Int($0) } }
      try communicator.barrier()
      return difference("parts", found, memory.parts.indices.map { Array(repeating: $0, count: 3 + $0) })
    },
  ]
}
