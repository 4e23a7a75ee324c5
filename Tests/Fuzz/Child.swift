import Glibc
import System

/// Reads inputs in this process, which ends in the middle of one that is not handled.
struct Child {
  var reader: Reader
  var seed: UInt64
  var workspace: Workspace
  var progress: Progress

  /// An input takes no more computing, and none sleeps longer.
  private static let mostCPUSeconds = 10
  private static let mostSeconds = 120
  /// A process may take so much memory beyond what it starts with, whatever it reads.
  private static let fixedBytes = 64 << 20
  private static let mostAddressBytes = 2 << 30

  func run(_ numbers: Range<Int>) throws {
    var limit = rlimit()
    limit.rlim_cur = rlim_t(statusBytes("VmSize") + Self.mostAddressBytes)
    limit.rlim_max = limit.rlim_cur
    setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
    limit = rlimit(rlim_cur: 0, rlim_max: 0)
    setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit)
    for number in numbers {
      progress.counts.number = number
      let input = reader.input(number, seed: seed)
      setTimers()
      if reader.isLarge(number) || number == numbers.lowerBound {
        try readMeasured(input)
      } else {
        try read(input)
      }
      if reader.isLarge(number + 1) || number + 1 == numbers.upperBound { try checkPeak() }
    }
  }

  private func setTimers() {
    var cpu = itimerval(it_interval: timeval(), it_value: timeval(tv_sec: Self.mostCPUSeconds, tv_usec: 0))
    setitimer(__itimer_which_t(ITIMER_PROF.rawValue), &cpu, nil)
    alarm(UInt32(Self.mostSeconds))
  }

  private func read(_ input: [UInt8]) throws {
    let begin = ContinuousClock.now
    do {
      try reader.read(input, workspace)
      progress.counts.accepted += 1
    } catch let failure as Failure {
      progress.counts.refused += 1
      try check(failure)
    }
    let seconds = (ContinuousClock.now - begin) / .seconds(1)
    if seconds > progress.counts.slowestSeconds {
      progress.counts.slowestSeconds = seconds
      progress.counts.slowestNumber = progress.counts.number
    }
  }

  /// A large input: also its memory, apart from what others have left.
  private func readMeasured(_ input: [UInt8]) throws {
    resetPeak()
    let before = statusBytes("VmRSS")
    try read(input)
    let bytes = statusBytes("VmHWM") - before
    guard input.count > 1 << 16 else { return }
    progress.counts.largestMultiple = max(progress.counts.largestMultiple, Double(bytes) / Double(input.count))
    guard bytes <= Self.fixedBytes / 8 + reader.memoryMultiple * input.count else {
      throw Wrong(
        "\(bytes) bytes of memory for an input of \(input.count), expected \(reader.memoryMultiple) times that")
    }
  }

  /// Small inputs take no more than a fixed amount.
  private func checkPeak() throws {
    let bytes = statusBytes("VmHWM") - statusBytes("VmRSS")
    guard bytes <= Self.fixedBytes else {
      throw Wrong("\(bytes) bytes of memory for one of the inputs before this one")
    }
  }

  /// What is refused is refused in one line that a terminal can show, and is not taken for a mistake of ours.
  private func check(_ failure: Failure) throws {
    let text = failure.description
    guard failure.status != .internalError, failure.status != .success else {
      throw Wrong("refused as \(failure.status)")
    }
    guard text.utf8.count <= 2000 else { throw Wrong("a message of \(text.utf8.count) bytes: \(text.prefix(200))") }
    guard text.unicodeScalars.allSatisfy({ (0x20..<0x7F) ~= $0.value || $0.properties.generalCategory != .control })
    else {
      throw Wrong("a message with control characters: \(text)")
    }
  }
}
