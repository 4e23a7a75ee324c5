import Glibc
import Launcher
import System
import Testing

/// What the launcher writes: nothing raw to a terminal, no secret, and nothing over what is not its own.
@Suite struct HostileOutputTests {
  static let raw = "a\u{1B}[2J\nb\u{7F}\u{9B}c\u{202E}d\u{2028}e\u{200B}f\u{FEFF}g\u{2066}h"

  @Test func charactersThatControlATerminalAreEscaped() {
    #expect(
      Self.raw.escapingControlCharacters
        == "a\\u{1b}[2J\\u{a}b\\u{7f}\\u{9b}c\\u{202e}d\\u{2028}e\\u{200b}f\\u{feff}g\\u{2066}h")
    #expect("plain ä 中 é".escapingControlCharacters == "plain ä 中 é")
    #expect(Self.raw.escapingAllButLines.contains("\n"))
    #expect(!Self.raw.escapingAllButLines.unicodeScalars.contains("\u{1B}"))
  }

  @Test(arguments: ["plain", "with space", "it's", raw, "\n", "\\\u{1B}'$(id)`", "", "\u{202E}"])
  func shownWordsReadBackInBash(_ word: String) throws {
    let shown = shellShown(word)
    #expect(shown.escapingControlCharacters == shown)
    let result = try run("/bin/bash", ["-c", "printf %s \(shown)"])
    #expect(result.text == word)
  }

  @Test func secretsAreHidden() {
    for (name, value) in [
      ("SLURM_JWT", "eyJx"), ("OMPI_MCA_api_token", "1"), ("SLURM_X", "eyJhbGciOi"), ("LOCKSTEP_PASSWORD", "p"),
      ("OMPI_MCA_x", "--auth=abc"), ("SLURM_DB", "mysql://u:p@host/db"), ("OMPI_MCA_sec_key", "k"),
      ("OMP_credential", "c"), ("LOCKSTEP_AWS_SECRET", "s"),
    ] { #expect(Secrets.shown(value, of: name) == "(hidden)", "\(name)=\(value)") }
    #expect(Secrets.shown("self,vader", of: "OMPI_MCA_btl") == "self,vader")
    #expect(Secrets.shown("a\u{1B}b", of: "OMPI_MCA_btl") == "a\\u{1b}b")
    #expect(Secrets.shown(String(repeating: "x", count: 10_000), of: "SLURM_X").utf8.count < 200)
  }

  @Test func environmentAndNotesHideSecretsAndEscape() throws {
    let variables = ["SLURM_JWT": "eyJsecret", "OMPI_MCA_my_token": "hunter2", "OMPI_MCA_x": "a\u{1B}[31mb\nforged"]
    let result = try launch("env", environment: variables.mapValues { $0 })
    #expect(result.status == 0)
    let notes = try launch("--num_processes", "1", "true", environment: variables.mapValues { $0 })
    for text in [result.text, notes.stderr] {
      #expect(!text.contains("eyJsecret") && !text.contains("hunter2"), "\(text)")
      #expect(!text.contains("\u{1B}") && !text.contains("\nforged"), "\(text)")
      #expect(text.contains("OMPI_MCA_my_token"))
    }
  }

  @Test(arguments: [
    ["--dry-run", "finetune"], ["config", "explain"], ["env"], ["--help"], ["run", "--help"], ["completions", "bash"],
    ["test", "--help"], ["check", "--help"], ["config", "--help"],
  ]) func lostOutputIsAnError(_ arguments: [String]) throws {
    let words = (["\(binaries)/launch"] + arguments).map(shellQuoted).joined(separator: " ")
    for output in ["> /dev/full", ">&-"] {
      let result = try run("/bin/sh", ["-c", "\(words) \(output)"])
      #expect(result.status == 74, "\(arguments) \(output): \(result.stderr)")
      #expect(result.stderr.split(separator: "\n").count == 1, "\(result.stderr)")
    }
  }

  @Test(arguments: ["0", "-1", "1", "9223372036854775807", "99999999999999999999", "x"])
  func helpOfAnyWidth(_ columns: String) throws {
    let result = try launch("run", "--help", environment: ["COLUMNS": columns])
    #expect(result.status == 0 && result.text.contains("--num_processes"), "\(result.stderr)")
  }

  // MARK: Files.

  /// What must not be written to stands in the folder for the ranks' output.
  @Test func logFolderWritesOnlyFilesOfItsOwn() throws {
    let folder = try temporaryFolder()
    let victim = "\(folder)/model.safetensors"
    try writeAtomically(Array("precious".utf8), to: victim)
    let logs = "\(folder)/logs"
    try makeDirectory(logs)
    defer { OwnFolder(temporary: "/tmp")?.removeTree(String(folder.dropFirst(5))) }
    for (name, make) in [
      ("rank-0.out", { symlink(victim, $0) }), ("rank-0.err", { link(victim, $0) }),
      ("rank-1.out", { mkfifo($0, 0o600) }), ("collectives.txt", { symlink(victim, $0) }),
      ("rank-1.err", { mkdir($0, 0o700) }),
    ] as [(String, (String) -> Int32)] {
      #expect(make("\(logs)/\(name)") == 0)
      let result = try launch("--num_processes", "2", "--log_dir", logs, "sh", "-c", "echo hi; exit 3")
      #expect(result.status == 73, "\(name): \(result.stderr)")
      #expect(result.error.contains(name))
      unlink("\(logs)/\(name)")
      rmdir("\(logs)/\(name)")
    }
    #expect(try readBytes(victim) == Array("precious".utf8))
    let result = try launch("--num_processes", "1", "--log_dir", logs, "sh", "-c", "echo hi")
    #expect(result.status == 0 && exists("\(logs)/rank-0.out"), "\(result.stderr)")
  }

  @Test(arguments: ["--mpirun_hostfile", "--config_file"]) func pipesAsInputsDoNotBlock(_ option: String) throws {
    let folder = try temporaryFolder()
    defer { OwnFolder(temporary: "/tmp")?.removeTree(String(folder.dropFirst(5))) }
    #expect(mkfifo("\(folder)/fifo", 0o600) == 0)
    let result = try launch("--dry-run", option, "\(folder)/fifo", "true")
    #expect(result.status == 78 && result.error.contains("not a regular file"), "\(result.stderr)")
  }

  @Test func filesThatOthersCanChangeAreNamed() throws {
    let folder = try temporaryFolder()
    defer { OwnFolder(temporary: "/tmp")?.removeTree(String(folder.dropFirst(5))) }
    let path = "\(folder)/c.yaml"
    try writeAtomically(Array("lockstep: {remote_shell: /bin/false}\n".utf8), to: path)
    #expect(try ConfigFile(path: path).warnings == [])
    chmod(path, 0o666)
    #expect(try ConfigFile(path: path).warnings.first?.contains("everybody may write to it") == true)
    chmod(path, 0o644)
    if geteuid() == 0 {
      chown(path, 65_534, 0)
      #expect(try ConfigFile(path: path).warnings.first?.contains("belongs to user 65534") == true)
      chown(path, 0, 65_534)
      chmod(path, 0o664)
      #expect(try ConfigFile(path: path).warnings.first?.contains("group 65534 may write") == true)
    }
    try writeAtomically(Array("num_processes: 1\n".utf8), to: path)
    chmod(path, 0o666)
    #expect(try ConfigFile(path: path).warnings == [], "it names no program")
  }

  // MARK: ResourceLimit of the system.

  @Test func tooFewDescriptorsAreSaidBeforeTheStart() throws {
    for limit in [40, 61, 63] {
      let result = try run(
        "/bin/bash", ["-c", "ulimit -n \(limit); exec \(binaries)/launch --num_processes 2 sleep 9"])
      #expect(result.status == 69 && result.error.contains("ulimit -n 64"), "\(limit): \(result.stderr)")
    }
  }

  @Test func limitOnFilesEndsInALine() throws {
    for limit in [0, 1, 4] {
      for ranks in [1, 2] {
        // Through a pipe: the limit holds for the files that the output would go to.
        let start = "ulimit -f \(limit); exec \(binaries)/launch --num_processes \(ranks) true"
        let script = "(\(start)) 2>&1 | cat; exit ${PIPESTATUS[0]}"
        let result = try run("/bin/bash", ["-c", script])
        #expect(result.status == 69 && result.text.contains("a file may have \(limit * 1024) bytes"), "\(result.text)")
        #expect(result.text.contains("ulimit -f") && !result.text.contains("TMPDIR"), "\(result.text)")
        #expect(result.lines.count == 1)
      }
    }
  }

  @Test("an address space that the launcher does not fit in is said in a line, by the script")
  func addressSpace() throws {
    // The script with a set-up that finds all built, whatever the tests' own state.
    let folder = try temporaryFolder()
    defer { _ = try? run("/bin/rm", ["-rf", folder]) }
    let prepare = """
      mkdir -p \(folder)/tools \(folder)/.build/release; cp \(packageFolder)/launch \(folder)
      ln -s \(binaries)/launch \(folder)/.build/release/launch
      echo 'say() { echo "$*" >&2; }; is_built() { true; }' >\(folder)/tools/set-up
      """
    _ = try run("/bin/bash", ["-c", prepare])
    for limit in [12_000, 20_000, 30_000] {
      let script = "ulimit -v \(limit); exec \(folder)/launch -n 1 true"
      let result = try run("/bin/bash", ["-c", script])
      #expect(result.status == 69 && result.error.contains("ulimit -v"), "\(limit): \(result.stderr)")
      #expect(result.stderr.split(separator: "\n").count == 1, "\(result.stderr)")
    }
    let enough = try run("/bin/bash", ["-c", "ulimit -v 250000; exec \(folder)/launch -n 1 true"])
    #expect(enough.status == 0, "\(enough.stderr)")
  }

  @Test func listenersAreBoundToThisHost() throws {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(socket) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket, $0, size) }
    }
    try #require(status == 0 && listen(socket, 1) == 0)
    LocalListeners.bind(of: getpid())
    var device = [UInt8](repeating: 0, count: 16)
    var length = socklen_t(16)
    #expect(getsockopt(socket, SOL_SOCKET, SO_BINDTODEVICE, &device, &length) == 0)
    #expect(device.starts(with: "lo".utf8))
  }
}
