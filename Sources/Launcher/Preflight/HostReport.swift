import System

/// What a host says about itself when it is asked before a job.
package struct HostReport: Sendable, Equatable {
  package struct Address: Sendable, Equatable {
    package var interface: String
    /// As a number, the first byte highest.
    package var address: UInt32
    package var prefix: Int

    /// The network that the address is in: `10.77.0.0/24`.
    package var network: String { Self.dotted(networkAddress) + "/\(prefix)" }

    private var networkAddress: UInt32 { prefix == 0 ? 0 : address & (~UInt32(0) << UInt32(32 - prefix)) }

    /// The same as a number, to compare and to look up.
    package var networkNumber: UInt64 { UInt64(networkAddress) << 8 | UInt64(prefix) }

    /// Whether it is what `network` means: the interface's name, or a network that holds the address.
    package func isIn(_ network: String) -> Bool {
      if interface == network { return true }
      guard let other = Address(interface: "", network), other.prefix <= prefix else { return false }
      var own = self
      own.prefix = other.prefix
      return own.network == other.network
    }

    package var dotted: String { Self.dotted(address) }

    private static func dotted(_ address: UInt32) -> String {
      [24, 16, 8, 0].map { "\(address >> $0 & 0xFF)" }.joined(separator: ".")
    }

    /// Reads `10.77.0.1/24`; at the end of a tunnel the system says `10.77.0.1` alone.
    package init?(interface: String, _ text: String) {
      let parts = text.utf8.split(separator: UInt8(ascii: "/"))
      guard 1...2 ~= parts.count else { return nil }
      let length = parts.count == 1 ? 32 : Int(String(Substring(parts[1])))
      guard let prefix = length, 0...32 ~= prefix else { return nil }
      let bytes = parts[0].split(separator: UInt8(ascii: ".")).compactMap { UInt8(String(Substring($0))) }
      guard bytes.count == 4 else { return nil }
      self.interface = interface
      self.prefix = prefix
      address = bytes.reduce(0) { $0 << 8 | UInt32($1) }
    }
  }

  package var hasDaemon = true
  package var hasFolder = true
  /// Programs that are not there, or not executable.
  package var missingPrograms: Set<String> = []
  /// Checksum and size, by program.
  package var programSums: [String: String] = [:]
  package var mpiVersion: String?
  /// Which machine it is: the same under another name, too.
  package var identity: String?
  package var clockSeconds: Int?
  package var cores: Int?
  package var freeMemoryBytes: Int?
  package var freeTemporaryBytes: Int?
  package var freeSharedBytes: Int?
  package var addresses: [Address] = []
  package var missingData: Set<String> = []
  /// Checksum and size, by file.
  package var dataSums: [String: String] = [:]
  /// Whether the last answer was there, so that nothing was cut off.
  package var isComplete = false
  /// The first line that no host would say.
  package private(set) var nonsense: String?

  /// More lines, and more addresses, than any host has to say.
  private static let mostLines = 16_384
  private static let mostAddresses = 1024

  /// Begins each line of an answer; a login script may print others.
  static let marker = "lockstep-preflight:"

  /// Reads the answer `text`; nil where there is none in it.
  package init?(_ text: String) {
    // Over bytes: ssh ends its lines with CR LF, which is one Character.
    let lines = text.utf8.split { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }.map { String(Substring($0)) }
    let answers = lines.filter { $0.utf8.starts(with: Self.marker.utf8) }.map {
      $0.utf8.dropFirst(Self.marker.utf8.count)
    }
    if answers.isEmpty { return nil }
    for answer in answers.prefix(Self.mostLines) {
      let words = answer.split(separator: 0x20, maxSplits: 1).map { String(Substring($0)) }
      if let key = words.first { read(key, words.count > 1 ? words[1] : "") }
    }
    if answers.count > Self.mostLines { nonsense = nonsense ?? "\(answers.count) lines" }
    if addresses.count >= Self.mostAddresses { nonsense = nonsense ?? "\(Self.mostAddresses) addresses or more" }
  }

  private mutating func read(_ key: String, _ value: String) {
    let words = value.utf8.split(separator: 0x20, maxSplits: 2).map { String(Substring($0)) }
    switch key {
    case "no-daemon": hasDaemon = false
    case "no-folder": hasFolder = false
    case "no-program": missingPrograms.insert(value)
    case "program" where words.count == 3: programSums[words[2]] = "\(words[0]) \(words[1])"
    case "mpi": mpiVersion = value.shortened
    case "machine": identity = value.shortened
    case "clock": clockSeconds = number(words.first, upTo: 1 << 40, key)
    case "cores": cores = number(words.first, upTo: 1 << 20, key)
    case "memory": freeMemoryBytes = number(words.first, upTo: Self.mostKilobytes, key).map { $0 * 1024 }
    case "temporary": freeTemporaryBytes = number(words.first, upTo: Self.mostKilobytes, key).map { $0 * 1024 }
    case "shared": freeSharedBytes = number(words.first, upTo: Self.mostKilobytes, key).map { $0 * 1024 }
    case "address" where words.count >= 2 && addresses.count < Self.mostAddresses:
      if let address = Address(interface: words[0], words[1]) { addresses.append(address) }
    case "no-data": missingData.insert(value)
    case "data" where words.count == 3: dataSums[words[2]] = "\(words[0]) \(words[1])"
    case "end": isComplete = true
    default: break
    }
  }

  /// An exbibyte.
  private static let mostKilobytes = 1 << 50

  /// The number `word`, from 0 to `limit`; nil where it is none, as where a host cannot tell. One beyond is nonsense.
  private mutating func number(_ word: String?, upTo limit: Int, _ key: String) -> Int? {
    guard let word, let first = word.utf8.first, first == UInt8(ascii: "-") || 0x30...0x39 ~= first else { return nil }
    if word == "-" { return nil }
    if let number = Int(word), 0...limit ~= number { return number }
    nonsense = nonsense ?? "\(key) \(word.shortened)"
    return nil
  }

  /// The text that the shell of a host runs to answer.
  ///
  /// - Parameters:
  ///   - daemon: the program of MPI that every host needs, if any.
  ///   - programs: their files; `summed` are those that must be the same everywhere.
  ///   - data: files or folders that must be the same everywhere.
  ///   - isThorough: whether large files are read too; else their sizes count.
  package static func question(
    daemon: String?, mpirun: String, folder: String, programs: [String], summed: Set<String>, data: [String],
    isThorough: Bool
  ) -> String {
    var lines = ["PATH=$PATH:/usr/sbin:/sbin", "say() { echo \"\(marker)$*\"; }"]
    if let daemon { lines.append("command -v \(shellQuoted(daemon)) >/dev/null || say no-daemon") }
    lines.append("cd \(shellQuoted(folder)) 2>/dev/null || say no-folder")
    for program in programs {
      let path = shellQuoted(program)
      let sum = summed.contains(program) ? "say program $(cksum <\(path)) \(path)" : ":"
      lines.append("if [ -x \(path) ]; then \(sum); else say no-program \(path); fi")
    }
    lines += [
      "say mpi $(\(shellQuoted(mpirun)) --version 2>/dev/null | head -n 2)",
      // Of a container, its network and its name.
      "say machine $(cat /proc/sys/kernel/random/boot_id /proc/sys/kernel/hostname) $(readlink /proc/self/ns/net)",
      "say clock $(date +%s)", "unset OMP_NUM_THREADS OMP_THREAD_LIMIT", "say cores $(nproc)",
      "while read -r key value unit; do [ \"$key\" = MemAvailable: ] && say memory $value; done </proc/meminfo",
      "say temporary $(df -kP \"${TMPDIR:-/tmp}\" | tail -n 1 | { read -r a b c free d; echo $free; })",
      "say shared $(df -kP /dev/shm 2>/dev/null | tail -n 1 | { read -r a b c free d; echo $free; })",
      "ip -o -4 addr show up 2>/dev/null | while read -r n name family address rest; do say address $name $address; done",
    ]
    for path in data {
      let path = shellQuoted(path.utf8.first == UInt8(ascii: "-") ? "./\(path)" : path)
      let all = "find -L \(path) -type f"
      let sums =
        isThorough
        ? "\(all) -exec cksum {} +"
        : "\(all) ! -size +64M -exec cksum {} +; \(all) -size +64M -exec stat -L -c '0 %s %n' {} +"
      lines.append(
        "if [ -e \(path) ]; then { \(sums); } | head -n 1000 | while read -r sum; do say data \"$sum\"; done; "
          + "else say no-data \(path); fi")
    }
    return (lines + ["say end"]).joined(separator: "\n")
  }
}
