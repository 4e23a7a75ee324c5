import Glibc
import Launcher
import System
import TestSupport
import Testing

/// The launcher's memory while ranks write more than it can hold.
@Suite(.serialized) struct OutputVolumeTests {
  /// 1 GB where time does not matter.
  static let megabytes = getenv("LOCKSTEP_SLOW") == nil ? 100 : 1000

  @Test("all of it arrives, in each rank's order, through little memory", arguments: [[], ["--tee"]])
  func volume(options: [String]) throws {
    // Numbered lines of 1,000 bytes from two ranks.
    let count = Self.megabytes * 500
    let writer = """
      BEGIN { while (length(pad) < 985) pad = pad "x"
      for (i = 1; i <= \(count); i++) printf "%d %012d %s\\n", ENVIRON["OMPI_COMM_WORLD_RANK"], i, pad }
      """
    let reader = """
      NF < 3 { bad++; next }
      { r = $(NF - 2); if ($(NF - 1) + 0 != ++last[r] || length($NF) != 985) bad++ }
      END { print last[0], last[1], bad + 0 }
      """
    let command = (["\(binaries)/launch", "-n", "2"] + options + ["awk", writer]).map(shellQuoted)
    let script = """
      exec 3> >(awk \(shellQuoted(reader)); echo read)
      \(command.joined(separator: " ")) >&3 & P=$!
      exec 3>&-
      while grep -s VmHWM /proc/$P/status >&2; do sleep 0.1; done
      wait $P; echo $?
      wait
      """
    let result = try Running("/bin/bash", ["-c", script].map { Array($0.utf8) }).finish(within: 600)
    #expect(Set(result.lines) == ["0", "\(count) \(count) 0", "read"], "\(result.text)")
    let kilobytes = result.stderr.split(separator: "\n").compactMap { line in
      line.hasPrefix("VmHWM:") ? line.split { $0 == " " || $0 == "\t" }[at: 1].flatMap { Int($0) } : nil
    }
    // The row's bound is 100 MB.
    #expect(try #require(kilobytes.max()) < 100_000)
    if getenv("LOCKSTEP_SLOW") != nil {
      print(
        "\(Self.megabytes) MB \(options): \(result.seconds) s, the launcher took \(kilobytes.max() ?? 0) kB at most")
    }
  }
}
