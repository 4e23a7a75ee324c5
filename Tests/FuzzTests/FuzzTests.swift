import TestSupport
import Testing

/// Changed good input, given to every reader and to the programs. See `Tests/Fuzz`.
@Suite("Changed input") struct FuzzTests {
  private let isSlow = Golden.variable("LOCKSTEP_SLOW") != nil

  @Test("is read or refused by every reader: no trap, no hang, bounded memory")
  func readers() throws {
    // A sanitizer makes each many times as slow, and keeps freed memory, so large inputs, which come later, are left out.
    let count = isSlow ? 1_000_000 : Golden.variable("LOCKSTEP_SANITIZER") == nil ? 100_000 : 1_000
    try fuzz(["--count", "\(count)"])
  }

  @Test("is read or refused by the programs that a user starts: no signal, no status 70, no hang, bounded memory")
  func programs() throws { try fuzz(["--programs", "--count", isSlow ? "2000" : "200"]) }

  private func fuzz(_ arguments: [String]) throws {
    let outcome = try Program.run(
      [try Program.built("fuzz")] + arguments, variables: ["ASAN_OPTIONS": Golden.variable("ASAN_OPTIONS") ?? ""],
      seconds: isSlow ? 7200 : 1200)
    print(outcome.output)
    #expect(outcome.status == 0, "\(outcome.output)\(outcome.errors)")
  }
}
