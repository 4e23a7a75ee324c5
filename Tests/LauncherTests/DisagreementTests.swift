import Glibc
import Launcher
import System
import Testing

/// Ranks that do not do the same, or do not have the same.
@Suite(.serialized) struct DisagreementTests {
  static let check = FailureTests.check

  @Test(
    "ranks that end with other weights, steps or calls disagree",
    arguments: [
      ("weights-differ", "ended with other weights than rank 0"),
      ("steps-differ", "ended after step 2, rank 0 after step 1"),
      ("roots-differ", "made 2 collective calls, other ones than rank 0's 2; --debug finds"),
    ]) func disagree(check: String, text: String) throws
  {
    try FailureTests().fail(check, "1").expect(76, rank: 1, says: text)
  }

  @Test("the same steps and digests are a success") func same() throws {
    let result = try FailureTests().fail("steps", "4")
    #expect(result.status == 0)
    #expect(result.stderr.isEmpty)
  }

  @Test(
    "--debug names the ranks and the places before data moves; another operation cannot be: all sums are sums",
    arguments: [
      (0, "sum of 2 floats", "sum of 4 floats"), (6, "sum of 50000 floats", "sum of 100000 floats"),
      (1, "sum of 4 doubles", "sum of 4 floats"),
      (2, "broadcast from rank 1 of 32 bytes", "broadcast from rank 0 of 32 bytes"), (3, "barrier", "sum of 4 floats"),
      (4, "gather of 8 bytes", "barrier"), (5, "sum of 4 floats", "sum of 4 floats"),
    ]) func debug(which: Int, odd: String, others: String) throws
  {
    let result = try launch("-n", "3", "--debug", Self.check, "differ", "\(which)")
    #expect(result.status == 76)
    #expect(
      result.error.contains(
        "ranks call different collectives: rank 1 (host \(hostName)) \(odd) at rankcheck/Checks.swift:")
        && result.error.contains(", the others \(others) at rankcheck/Checks.swift:"), "\(result.stderr)")
    #expect(!result.text.contains("went on"))
    #expect(result.left == [])
    #expect(result.seconds < 40)
  }

  @Test("--debug names a collective that one rank does not call because it has ended") func oneEnds() throws {
    let result = try launch("-n", "3", "--debug", Self.check, "one-ends", "1")
    #expect(result.status == 76)
    #expect(
      result.error.contains("ranks call different collectives: rank 1 (host \(hostName)) the end of the job at ")
        && result.error.contains("sum of 1 doubles at rankcheck/Faults.swift:"), "\(result.stderr)")
    #expect(result.left == [])
  }

  @Test("--debug lets ranks that call the same go on") func sameCalls() throws {
    let result = try launch("-n", "3", "--debug", Self.check, "differ", "9")
    #expect(result.status == 0 && result.lines.count { $0.hasSuffix("went on") } == 3, "\(result.stderr)")
  }

  /// What each rank has otherwise, by a shell line of its own before the program starts.
  static let differences: [(String, String, String)] = [
    ("threads", "export LOCKSTEP_NUM_THREADS=2", "the ranks differ in threads: rank 1 (host \(hostName)) 2, rank 0"),
    ("arguments", "set -- --seed 7", "the ranks differ in the program's arguments: rank 1 (host \(hostName)) "),
    (
      "OpenBLAS's kernels", "export OPENBLAS_CORETYPE=Haswell LOCKSTEP_BLAS_CORE=Haswell",
      "the ranks differ in OpenBLAS's kernels: rank 1 (host \(hostName)) Haswell, rank 0"
    ),
  ]

  @Test("what the ranks must have alike is compared at the start", arguments: differences)
  func handshake(item: String, change: String, says: String) throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    let golden = "\(packageFolder)/Tests/Golden"
    let script = """
      D=\(folder)/$OMPI_COMM_WORLD_RANK; mkdir $D; cp -r \(golden)/tiny-bert $D/model; cp -r \(golden)/mrpc $D/data
      export LOCKSTEP_NUM_THREADS=1
      if [ $OMPI_COMM_WORLD_RANK = 1 ]; then \(change); fi
      cd $D; exec \(binaries)/finetune --model model --data data --max-steps 2 "$@"
      """
    let result = try launch("-n", "2", "sh", "-c", script)
    #expect(result.status == 76)
    #expect(result.stderr.contains("error: \(says)"), "\(result.stderr)")
    #expect(
      result.stderr.contains("rank 1 (host \(hostName)) ") && result.stderr.contains("rank 0 (host \(hostName)) "))
    #expect(!result.text.contains("step "))
    #expect(result.left == [])
    #expect(result.seconds < 40)
  }

  @Test(
    "files of other ranks than 0 do not count",
    arguments: [
      "sed -i '$d' $D/data/train.tsv", "rm -r $D/data", "sed -i '$s/.*/zzz/' $D/model/vocab.txt", "rm -r $D/model",
    ])
  func filesOfOtherRanks(change: String) throws {
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    let golden = "\(packageFolder)/Tests/Golden"
    func lines(_ change: String) throws -> [String] {
      let script = """
        D=\(folder)/$OMPI_COMM_WORLD_RANK; rm -rf $D; mkdir $D; cp -r \(golden)/tiny-bert $D/model; cp -r \(golden)/mrpc $D/data
        if [ $OMPI_COMM_WORLD_RANK = 1 ]; then \(change); fi
        cd $D; exec \(binaries)/finetune --model model --data data --max-steps 3 --metrics \(folder)/metrics
        """
      let result = try launch("-n", "2", "sh", "-c", script)
      #expect(result.status == 0, "\(result.stderr)")
      return try String(decoding: readBytes("\(folder)/metrics"), as: UTF8.self).split(separator: "\n").map(String.init)
    }
    #expect(try lines(change) == lines("true"))
  }

  @Test("items of a program's own are compared at the start too") func ownItems() throws {
    let result = try launch("-n", "2", "sh", "-c", "NUMBER=$OMPI_COMM_WORLD_RANK exec \(Self.check) differ-in")
    #expect(result.status == 76)
    #expect(
      result.stderr
        == "error: the ranks differ in the number: rank 1 (host \(hostName)) 1, rank 0 (host \(hostName)) 0\n")
  }
}
