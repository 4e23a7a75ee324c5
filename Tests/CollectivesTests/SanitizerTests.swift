import TestSupport
import Testing

/// That a sanitizer sees what it is there for.
struct SanitizerTests {
  private static let sanitizer = Golden.variable("LOCKSTEP_SANITIZER")

  @Test("two threads at one number are reported", .enabled(if: sanitizer == "thread", "needs ThreadSanitizer"))
  func race() throws {
    let outcome = try spawn(
      [rankcheck(), "race"], variables: ["TSAN_OPTIONS": Golden.variable("TSAN_OPTIONS") ?? ""])
    // What the compiler has marked as an access to a variable is an "access race", all else a "data race".
    let isReported = outcome.output.contains("WARNING: ThreadSanitizer: ") && outcome.output.contains("race (pid")
    #expect(outcome.status != 0 && isReported, "\(outcome.output)")
  }

  @Test("a read behind a block's end is reported", .enabled(if: sanitizer == "address", "needs AddressSanitizer"))
  func overrun() throws {
    let outcome = try spawn(
      [rankcheck(), "overrun"], variables: ["ASAN_OPTIONS": Golden.variable("ASAN_OPTIONS") ?? ""])
    #expect(
      outcome.status != 0 && outcome.output.contains("AddressSanitizer: heap-buffer-overflow"), "\(outcome.output)")
  }
}
