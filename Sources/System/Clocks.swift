import Glibc

/// Nanoseconds of this host's monotonic clock, which all its processes share and which only runs forward.
public func monotonicNanoseconds() -> Int64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// The present time for people to read, in the form of `strftime`: `%H:%M:%S` is `14:02:11`.
///
/// - Parameter isUniversal: whether it is UTC; else it is this machine's local time.
public func presentTime(_ format: String, isUniversal: Bool = false) -> String {
  var now = time(nil)
  var parts = tm()
  if isUniversal { gmtime_r(&now, &parts) } else { localtime_r(&now, &parts) }
  var text = [CChar](repeating: 0, count: 64)
  let count = strftime(&text, text.count, format, &parts)
  return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
