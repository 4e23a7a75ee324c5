import Glibc
import Launcher
import System
import Testing

@Suite struct HostfileTests {
  struct Bad: Sendable, CustomTestStringConvertible {
    var row: String
    var text: String
    var place: String
    var says: String
    var testDescription: String { row }
    init(_ row: String, _ text: String, _ place: String, _ says: String) {
      (self.row, self.text, self.place, self.says) = (row, text, place, says)
    }

    /// Two rows are bytes that no text has.
    var bytes: [UInt8] {
      switch row {
      case "K1 UTF-16": [0xFF, 0xFE, 0x61, 0x00, 0x0A, 0x00]
      case "K1 not UTF-8": [0x61, 0x20, 0x62, 0xFF, 0x0A]
      default: Array(text.utf8)
      }
    }
  }

  static let bad = [
    Bad("K1 CRLF", "a slots=1\r\nb slots=2\r\n", "h:1:10", "carriage return"),
    Bad("K2 BOM", "\u{FEFF}a slots=1\n", "h:1:1", "byte order mark"),
    Bad("K3 zero", "a slots=0\n", "h:1:9", "slots=0, expected 1 to"),
    Bad("K3 negative", "a slots=-1\n", "h:1:9", "slots=-1"),
    Bad("K3 word", "a\nb slots=abc\n", "h:2:9", "slots=abc"),
    Bad("K3 huge", "a slots=99999999999\n", "h:1:9", "99999999999, expected 1 to 65535"),
    Bad("K3 beyond Int", "a slots=99999999999999999999\n", "h:1:9", "expected 1 to"),
    Bad("K4", "a slot=2\n", "h:1:3", "did you mean slots?"),
    Bad("K5", "a slots=4 max_slots=2\n", "h:1:21", "max_slots=2 is less than slots=4"),
    Bad("K6", "a slots=1\nb\nA slots=2\n", "h:3:1", "listed already in line 1"),
    Bad("K7 empty", "", "h:1:1", "names no host"),
    Bad("K7 comments", "# a\n// b\n/* c\n d */\n", "h:1:1", "names no host"),
    Bad("K8", "node:2\n", "h:1:1", "has a colon"),
    Bad("K9 option", "-oProxyCommand=x\n", "h:1:1", "starts with a dash"),
    Bad("K9 short", "-v\n", "h:1:1", "starts with a dash"),
    Bad("K9 option of ssh", "-Fevil\n", "h:1:1", "starts with a dash"),
    Bad("K9 behind a user", "u@-oProxyCommand=x\n", "h:1:1", "starts with a dash"),
    Bad("K10 semicolon", "a;id\n", "h:1:1", "\";\""),
    Bad("K10 dollar", "$(id)\n", "h:1:1", "\"$\""),
    Bad("K10 quotes", "\"a b\"\n", "h:1:1", "\"\"\""),
    Bad("K11 plus", "+n0\n", "h:1:1", "relative"),
    Bad("K11 caret", "^host\n", "h:1:1", "relative"),
    Bad("K13 user with a dash", "-l@a\n", "h:1:1", "user name"),
    Bad("K13 user with shell text", "a username=$(id)\n", "h:1:12", "user name"),
    Bad("K13 user twice", "u@a username=v\n", "h:1:5", "the user is given twice"),
    Bad("K14", String(repeating: "a", count: 256) + "\n", "h:1:1", "256 characters"),
    Bad("N10 underscore", "node_x\n", "h:1:1", "_, which Open MPI does not take"),
    Bad("N10 IPv6", "fd00::2\n", "h:1:1", "IPv6"),
    Bad("N10 twice this machine", "localhost slots=1\nme slots=1\n", "h:2:1", "is this machine, as is localhost"),
    Bad("two words", "a b\n", "h:1:3", "\"b\" has no value"),
    Bad("slots twice", "a slots=1 slots=2\n", "h:1:11", "slots is given twice"),
    Bad("port", "a port=99999\n", "h:1:8", "port=99999"),
    Bad("K1 UTF-16", "\u{FFFD}", "h:1:1", "is UTF-16"),
    Bad("K1 not UTF-8", "\u{FFFE}", "h:1:3", "not UTF-8"),
    Bad("K3 port zero", "a port=0\n", "h:1:8", "port=0, expected 1 to 65535"),
    Bad("K3 no value", "a slots=\n", "h:1:3", "\"slots\" has no value"),
    Bad("K10 backtick", "a`id`\n", "h:1:1", "\"`\""),
    Bad("K10 dot at the end", "a.\n", "h:1:1", "begins or ends with a dot or dash"),
    Bad("K10 empty behind a user", "u@\n", "h:1:1", "is empty"),
    Bad("control character", "a\u{1}b\n", "h:1:2", "control character 1"),
    Bad("open comment", "a slots=1\n/* b\n", "h:2:1", "ends inside a comment"),
  ]

  @Test("K1 to K14, N10", arguments: bad) func refused(_ bad: Bad) {
    do throws(Failure) {
      let file = try Hostfile(bad.bytes, path: "h", ownName: "me")
      Issue.record("accepted: \(file.entries)")
    } catch {
      #expect(error.status == .configuration)
      #expect(error.place == bad.place)
      #expect(error.description.contains(bad.says), "got: \(error)")
      #expect(!error.description.contains("\n"))
    }
  }

  @Test("K13 everything that is legal") func everythingThatIsLegal() throws {
    let text = """
      # a cluster
      a slots=2   // first
      \tuser@b.x.org\tslots = 3 max_slots=4
      c /* c has
      two lines */
      10.0.0.7 cpu=1 port=2222 username=u_1
      """
    let entries = try Hostfile(Array(text.utf8), path: "h").entries
    #expect(entries.map(\.name.description) == ["a", "b.x.org", "c", "10.0.0.7"])
    #expect(entries.map(\.slots) == [2, 3, nil, 1])
    #expect(entries.map(\.user) == [nil, "user", nil, "u_1"])
    #expect(entries.map(\.port) == [nil, nil, nil, 2222])
    #expect(entries.map(\.line) == [2, 3, 4, 6])
  }

  @Test("N10 domains, capitals and addresses are kept as they are") func namesAreKept() throws {
    let text = "a.x.org slots=1\na.y.org slots=1\nNode-3.X.org slots=1\n10.0.0.1 slots=1\n"
    let hosts = try Hostfile(Array(text.utf8), path: "h", ownName: "b").entries
    #expect(hosts.map(\.name.description) == ["a.x.org", "a.y.org", "Node-3.X.org", "10.0.0.1"])
    #expect(try Placement(hosts, ranks: nil, path: "h").hostfile == text)
  }

  @Test("K14 as many lines as there may be") func manyLines() throws {
    let text = (0..<65_536).map { "n\($0) slots=1\n" }.joined()
    let start = ContinuousClock.now
    #expect(try Hostfile(Array(text.utf8), path: "h").entries.count == 65_536)
    #expect(ContinuousClock.now - start < .seconds(20))
  }

  @Test("K12, K15, K16 no newline at the end, writable for all, missing") func missingAndUnwise() throws {
    for (path, says) in [
      ("/nonexistent/h", "the hostfile cannot be opened: No such file"), ("/tmp", "the hostfile is a directory"),
    ] {
      let failure = #expect(throws: Failure.self) { try Hostfile(path: path) }
      #expect(failure?.status == .configuration)
      #expect(failure?.description.contains("\(path): \(says)") == true)
    }
    let folder = try temporaryFolder()
    defer {
      unlink("\(folder)/h")
      rmdir(folder)
    }
    try writeAtomically(Array("a slots=1".utf8), to: "\(folder)/h")
    #expect(try Hostfile(path: "\(folder)/h").warnings.isEmpty)
    chmod("\(folder)/h", 0o666)
    #expect(try Hostfile(path: "\(folder)/h").warnings.count == 1)
  }
}

@Suite struct PlacementTests {
  func entries(_ text: String) throws -> [HostEntry] { try Hostfile(Array(text.utf8), path: "h").entries }

  @Test func slotsAreFilledInOrder() throws {
    let hosts = try entries("a slots=1\nb slots=3 port=22 username=u\nc slots=2\n")
    #expect(
      try Placement(hosts, ranks: nil, path: "h").hostfile == "a slots=1\nb slots=3 username=u port=22\nc slots=2\n")
    #expect(try Placement(hosts, ranks: 3, path: "h").hostfile == "a slots=1\nb slots=2 username=u port=22\n")
    #expect(try Placement(hosts, ranks: 6, path: "h").ranks == 6)
  }

  @Test func neverMoreRanksThanSlots() throws {
    do throws(Failure) {
      _ = try Placement([HostEntry(name: HostName("a", at: nil), slots: 2)], ranks: 3, path: "h")
      Issue.record("accepted")
    } catch {
      #expect(error.status == .usage)
      #expect(error.description.contains("3 ranks, but h has 2 slots on 1 host"))
    }
  }
}
