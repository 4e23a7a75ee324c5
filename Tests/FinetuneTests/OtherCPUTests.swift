import Glibc
import TestSupport
import Testing

/// A machine without the instructions that the programs were built with.
struct OtherCPUTests {
  @Test(
    "a program on a CPU that it was not built for says so, instead of dying on an illegal instruction",
    .needs(.emulator),
    arguments: ["finetune", "inspect"])
  func saysSo(program: String) throws {
    let arguments = program == "inspect" ? ["forward", "--model", "m", "--data", "d"] : ["--help"]
    // A CPU of 2008, before AVX; OpenBLAS is told so too, as it asks the real one in ways that the emulator lacks.
    let outcome = try Program.run(
      ["qemu-x86_64", "-cpu", "Nehalem", Program.built(program)] + arguments,
      variables: ["OPENBLAS_CORETYPE": "Nehalem"], seconds: 60)
    let messages = outcome.errorLines.filter { $0.hasPrefix("\(program): error: ") }
    #expect(outcome.status == 69, "\(outcome.errors)")
    #expect(
      messages.count == 1 && messages.allSatisfy { $0.contains("was built for a CPU with avx") }, "\(outcome.errors)")
  }
}
