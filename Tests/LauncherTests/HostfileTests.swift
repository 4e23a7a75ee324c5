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
      case "UTF-16": [0xFF, 0xFE, 0x61, 0x00, 0x0A, 0x00]
      case "not UTF-8": [0x61, 0x20, 0x62, 0xFF, 0x0A]
      default: Array(text.utf8)
      }
    }
  }

  static let bad = [
    Bad("CRLF", "a slots=1\r\nb slots=2\r\n", "h:1:10", "carriage return"),
    Bad("BOM", "\u{FEFF}a slots=1\n", "h:1:1", "byte order mark"),
    Bad("zero", "a slots=0\n", "h:1:9", "slots=0, expected 1 to"),
    Bad("negative", "a slots=-1\n", "h:1:9", "slots=-1"),
    Bad("word", "a\nb slots=abc\n", "h:2:9", "slots=abc"),
    Bad("huge", "a slots=99999999999\n", "h:1:9", "99999999999, expected 1 to 65535"),
    Bad("beyond Int", "a slots=99999999999999999999\n", "h:1:9", "expected 1 to"),
    Bad("misspelled key", "a slot=2\n", "h:1:3", "did you mean slots?"),
    Bad("fewer max_slots than slots", "a slots=4 max_slots=2\n", "h:1:21", "max_slots=2 is less than slots=4"),
    Bad("host twice", "a slots=1\nb\nA slots=2\n", "h:3:1", "listed already in line 1"),
    Bad("empty", "", "h:1:1", "names no host"),
    Bad("comments", "# a\n// b\n/* c\n d */\n", "h:1:1", "names no host"),
    Bad("colon", "node:2\n", "h:1:1", "has a colon"),
    Bad("option", "-oProxyCommand=x\n", "h:1:1", "starts with a dash"),
    Bad("short", "-v\n", "h:1:1", "starts with a dash"),
    Bad("option of ssh", "-Fevil\n", "h:1:1", "starts with a dash"),
    Bad("behind a user", "u@-oProxyCommand=x\n", "h:1:1", "starts with a dash"),
    Bad("semicolon", "a;id\n", "h:1:1", "\";\""),
    Bad("dollar", "$(id)\n", "h:1:1", "\"$\""),
    Bad("quotes", "\"a b\"\n", "h:1:1", "\"\"\""),
    Bad("plus", "+n0\n", "h:1:1", "relative"),
    Bad("caret", "^host\n", "h:1:1", "relative"),
    Bad("user with a dash", "-l@a\n", "h:1:1", "user name"),
    Bad("user with shell text", "a username=$(id)\n", "h:1:12", "user name"),
    Bad("user twice", "u@a username=v\n", "h:1:5", "the user is given twice"),
    Bad("name of 256 characters", String(repeating: "a", count: 256) + "\n", "h:1:1", "256 characters"),
    Bad("underscore", "node_x\n", "h:1:1", "_, which Open MPI does not take"),
    Bad("IPv6", "fd00::2\n", "h:1:1", "IPv6"),
    Bad("twice this machine", "localhost slots=1\nme slots=1\n", "h:2:1", "is this machine, as is localhost"),
    Bad("two words", "a b\n", "h:1:3", "\"b\" has no value"),
    Bad("slots twice", "a slots=1 slots=2\n", "h:1:11", "slots is given twice"),
    Bad("port", "a port=99999\n", "h:1:8", "port=99999"),
    Bad("UTF-16", "\u{FFFD}", "h:1:1", "is UTF-16"),
    Bad("not UTF-8", "\u{FFFE}", "h:1:3", "not UTF-8"),
    Bad("port zero", "a port=0\n", "h:1:8", "port=0, expected 1 to 65535"),
    Bad("no value", "a slots=\n", "h:1:3", "\"slots\" has no value"),
    Bad("backtick", "a`id`\n", "h:1:1", "\"`\""),
    Bad("dot at the end", "a.\n", "h:1:1", "begins or ends with a dot or dash"),
    Bad("empty behind a user", "u@\n", "h:1:1", "is empty"),
    Bad("control character", "a\u{1}b\n", "h:1:2", "control character 1"),
    Bad("open comment", "a slots=1\n/* b\n", "h:2:1", "ends inside a comment"),
  ]

  @Test("bad hostfiles are refused, with line and column", arguments: bad) func refused(_ bad: Bad) {
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

  @Test("everything that is legal in a hostfile is read") func everythingThatIsLegal() throws {
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

  @Test("domains, capitals and addresses are kept as they are") func namesAreKept() throws {
    let text = "a.x.org slots=1\na.y.org slots=1\nNode-3.X.org slots=1\n10.0.0.1 slots=1\n"
    let hosts = try Hostfile(Array(text.utf8), path: "h", ownName: "b").entries
    #expect(hosts.map(\.name.description) == ["a.x.org", "a.y.org", "Node-3.X.org", "10.0.0.1"])
    #expect(try Placement(hosts, ranks: nil, path: "h").hostfile == text)
  }

  @Test("a hostfile of as many lines as there may be is read") func manyLines() throws {
    let text = (0..<65_536).map { "n\($0) slots=1\n" }.joined()
    let start = ContinuousClock.now
    #expect(try Hostfile(Array(text.utf8), path: "h").entries.count == 65_536)
    #expect(ContinuousClock.now - start < .seconds(20))
  }

  @Test("a hostfile without a last newline is read, one that all may write to is said, a missing one refused")
  func missingAndUnwise() throws {
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
