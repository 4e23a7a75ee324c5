import Glibc
import Launcher
import System
import TestSupport
import Testing

/// Benchmarks/compare with stand-ins for both sides, which print what they measure or fail.
@Suite(.needs(.program("python3"))) struct CompareTests {
  static let ours = """
    #!/bin/bash
    case "$*" in
      *mixed_precision*) echo 'launch: error: no bf16 here' >&2; exit 69 ;;
      *"bench step"*) echo '{"examples_per_second": 15.0, "gflops_per_second": 430.0, "roofline": {"fraction": 0.9},
        "memory": {"hosts": [{"megabytes": 2900}]}, "evaluation": {"examples_per_second": 49.0},
        "milliseconds": {"communication": {"median": 20}, "optimizer": {"median": 30}},
        "machine": {"blas": "b", "cpu": "c"}}' ;;
      *"bench load"*) echo '{"tokenizing": {"seconds": 0.03, "rows": 50}, "machine": {"blas": "b", "cpu": "c"}}' ;;
    esac
    """
  static let peer = """
    #!/bin/bash
    case "$*" in
      *--tokenizing*) printf 'Traceback:\\nValueError: a deliberate end\\n' >&2; exit 1 ;;
      *) echo '{"examples_per_second": 3.0, "megabytes": 5900, "evaluation_examples_per_second": 7.0,
        "milliseconds": {"reduction": 100, "optimizer": 700}}' | tr -d '\\n' ;;
    esac
    """

  @Test("a side that fails is a line with its cause; what was measured before and after stays") func failures() throws {
    let folder = try temporaryFolder()
    defer {
      for name in ["Benchmarks/compare", "launch", "python", "results"] { unlink("\(folder)/\(name)") }
      rmdir("\(folder)/Benchmarks")
      rmdir(folder)
    }
    mkdir("\(folder)/Benchmarks", 0o755)
    try writeAtomically(try readBytes("\(packageFolder)/Benchmarks/compare"), to: "\(folder)/Benchmarks/compare")
    for (name, text) in [("launch", Self.ours), ("python", Self.peer)] {
      try writeAtomically(Array(text.utf8), to: "\(folder)/\(name)")
      chmod("\(folder)/\(name)", 0o755)
    }
    let result = try run(
      "/usr/bin/env",
      [
        "python3", "\(folder)/Benchmarks/compare", "--model", "m", "--data", "d", "--python", "\(folder)/python",
        "--rounds", "1", "--only", "fp32,bf16,tokenizing", "--output", "\(folder)/results",
      ])
    #expect(result.status == 75, "\(result.stderr)")
    let text = String(decoding: try readBytes("\(folder)/results"), as: UTF8.self)
    for line in [
      // The fraction of the roofline, both rates, their ratio, the best that the roofline allows, TFLOP/s of a core.
      "| 2 ranks × 1 thread, fp32, examples/s | 90 % | 15.00 | 3.00 | 5.00 × | 5.56 × | 0.21 | ≥ 4.0 × | yes |",
      "| 2 ranks × 1 thread, bf16, examples/s |  | failed | 3.00 |  |  |  | ≥ 3.3 × | – |",
      "| tokenizing all 50 pairs, s |  | 0.030 | failed | 0.030 |  |  | ≤ 0.5 s | yes |",
      "- bf16: here: status 69: launch: error: no bf16 here",
      "- tokenizing: peer: status 1: ValueError: a deliberate end",
    ] {
      #expect(text.contains(line + "\n"), "\(text)")
    }
  }
}
