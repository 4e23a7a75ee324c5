import Glibc
import Hub
import System
import TestSupport
import Testing

/// Several processes, dying processes and Python on one cache.
@Suite(.serialized) struct ProcessTests {
  let folder: TemporaryFolder
  let server: HubServer
  var home: String { "\(folder.path)/home" }
  var root: String { "\(home)/hub/models--acme--tiny" }
  private let large = "/large/models/acme/tiny/model.safetensors"

  init() throws {
    folder = try TemporaryFolder()
    server = try HubServer()
  }

  @Test("four processes at once fetch a model once") func four() throws {
    server.add("models/acme/tiny", description(weights: noise(2 << 20)))
    server.fail("GET", large, .drip(bytes: 200_000, microseconds: 100_000))
    let command = [try Program.built("launch"), "download", "acme/tiny"]
    let programs = try (0..<4).map { _ in try Program(command, variables: server.variables(home)) }
    let outcomes = programs.map { $0.wait(seconds: 60) }
    #expect(outcomes.allSatisfy { $0.status == 0 && $0.output == outcomes[0].output }, "\(outcomes)")
    for name in ["config.json", "vocab.txt"] { #expect(server.gets("/\(name)").count == 1) }
    #expect(server.requests.filter(\.isElsewhere).count == 1)
  }

  @Test("what kill -9 leaves is never taken for whole, and the next process goes on with it") func killed() throws {
    let weights = noise(2 << 20)
    server.add("models/acme/tiny", description(weights: weights))
    server.fail("GET", large, .drip(bytes: 100_000, microseconds: 100_000))
    let program = try Program(
      [try Program.built("launch"), "download", "acme/tiny"], variables: server.variables(home))
    func partial() -> Int {
      let names = TemporaryFolder.entries("\(root)/blobs").filter { $0.hasSuffix(".incomplete") }
      return names.first.flatMap { try? InputFile("\(root)/blobs/\($0)").byteCount } ?? 0
    }
    while partial() < 400_000 && program.seconds < 30 { usleep(5000) }
    kill(program.process, SIGKILL)
    _ = program.wait(seconds: 10)
    let taken = partial()
    #expect(taken >= 400_000 && taken < weights.count)
    let offline = server.variables(home).merging(["HF_HUB_OFFLINE": "1"]) { $1 }
    #expect(try launch(["download", "acme/tiny"], offline).status == 66)
    let outcome = try launch(["download", "acme/tiny"], server.variables(home))
    #expect(
      outcome.status == 0 && outcome.errors.contains("going on with acme/tiny/model.safetensors"), "\(outcome.errors)")
    let range = try #require(server.requests.last { $0.isElsewhere }?.headers["range"])
    #expect(range == "bytes=\(taken)-")
    #expect(try readBytes("\(root)/snapshots/\(server.commit)/model.safetensors") == weights)
    #expect(incomplete(HubCache("\(home)/hub")) == [])
  }

  @Test("wrong bytes that a dead process left cost a second fetch, not a wrong file") func wrongRemains() throws {
    let weights = noise(2 << 20)
    server.add("models/acme/tiny", description(weights: weights))
    try makeDirectory("\(root)/blobs")
    let path = "\(root)/blobs/\(SHA256.hexDigest(weights)).0123abcd.incomplete"
    try writeAtomically(noise(1 << 20, seed: 9), to: path)
    let snapshot = try server.client(home).client.model("acme/tiny")
    #expect(try readBytes("\(snapshot.path)/model.safetensors") == weights)
    #expect(incomplete(HubCache("\(home)/hub")) == [])
  }

  @Test(
    "Python's huggingface_hub and this cache, in both orders: neither fetches what the other has",
    .needs(.variable("LOCKSTEP_PYTHON")))
  func python() throws {
    let python = try #require(Golden.variable("LOCKSTEP_PYTHON")?.split(separator: ":").last.map(String.init))
    try server.add("models/acme/tiny", folder: tinyFolder)
    let script = """
      from huggingface_hub import hf_hub_download
      for name in ['config.json', 'tokenizer_config.json', 'vocab.txt', 'model.safetensors']:
        print(hf_hub_download('acme/tiny', name))
      """
    func byPython(_ home: String) throws -> [String] {
      let outcome = try Program.run([python, "-c", script], variables: server.variables(home))
      #expect(outcome.status == 0, "\(outcome.errors)")
      return outcome.outputLines
    }
    // Of files: newer versions ask for other things, too.
    func gets() -> [String] {
      server.requests.filter { $0.method == "GET" && ($0.isElsewhere || $0.target.contains("/resolve/")) }.map(\.target)
    }
    let other = "\(folder.path)/other"
    let own = try launch(["download", "acme/tiny"], server.variables(home))
    #expect(own.status == 0, "\(own.errors)")
    server.forget()
    let found = try byPython(home)
    #expect(gets() == [] && found.last == "\(own.outputLines.last ?? "")/model.safetensors")
    _ = try byPython(other)
    server.forget()
    let second = try launch(["download", "acme/tiny"], server.variables(other))
    #expect(second.status == 0 && gets() == [], "\(second.errors)")
    #expect(try launch(["cache", "verify"], server.variables(other)).status == 0)
  }

  @Test("a lock that Python holds is waited for", .needs(.variable("LOCKSTEP_PYTHON"))) func pythonsLock() throws {
    let python = try #require(Golden.variable("LOCKSTEP_PYTHON")?.split(separator: ":").last.map(String.init))
    let weights = noise(5000)
    server.add("models/acme/tiny", description(weights: weights))
    let lock = "\(home)/hub/.locks/models--acme--tiny/\(SHA256.hexDigest(weights)).lock"
    try makeDirectory(parent(of: lock))
    let script = """
      import time, filelock, os
      with filelock.FileLock('\(lock)'):
        print('held', flush=True)
        while not os.path.exists('\(folder.path)/go'): time.sleep(0.01)
      """
    let holder = try Program([python, "-c", script])
    while holder.outputSoFar != "held\n" && holder.seconds < 30 { usleep(5000) }
    let waiting = try Program(
      [try Program.built("launch"), "download", "acme/tiny"], variables: server.variables(home))
    while server.requests.last?.description != "HEAD /acme/tiny/resolve/\(server.commit)/model.safetensors"
      && waiting.seconds < 30
    { usleep(5000) }
    usleep(300_000)
    #expect(server.requests.filter(\.isElsewhere) == [])
    try folder.write("", "go")
    let outcome = waiting.wait(seconds: 30)
    #expect(outcome.status == 0 && outcome.errors.contains("waiting for another process"), "\(outcome.errors)")
    _ = holder.wait(seconds: 10)
  }

  @Test("cache list and verify: a changed byte is found, removed, and fetched again") func verify() throws {
    server.add("models/acme/tiny", description(weights: noise(5000)))
    #expect(try launch(["download", "acme/tiny"], server.variables(home)).status == 0)
    let list = try launch(["cache", "list"], server.variables(home))
    #expect(list.outputLines.last?.hasPrefix("model    acme/tiny  3") == true, "\(list.output)")
    #expect(try launch(["cache", "verify"], server.variables(home)).output == "acme/tiny: good, 3 files\n")
    let blob = "\(root)/blobs/\(SHA256.hexDigest(noise(5000)))"
    var bytes = noise(5000)
    bytes[17] ^= 4
    try writeAtomically(bytes, to: blob)
    let found = try launch(["cache", "verify", "--json"], server.variables(home))
    #expect(found.status == 65 && found.output.contains("has other bytes than its name says"), "\(found.errors)")
    #expect(exists(blob))
    #expect(try launch(["cache", "verify", "--remove"], server.variables(home)).status == 65 && !exists(blob))
    server.forget()
    #expect(try launch(["download", "acme/tiny"], server.variables(home)).status == 0)
    #expect(server.requests.filter(\.isElsewhere).count == 1)
    #expect(try launch(["cache", "verify"], server.variables(home)).status == 0)
    #expect(try launch(["cache", "list", "acme/none"], server.variables(home)).status == 66)
  }

  @Test("a cache that cannot be written says where and what to do") func unwritable() throws {
    server.add("models/acme/tiny", description(weights: noise(5000)))
    try folder.write("", "file")
    let outcome = try launch(["download", "acme/tiny"], server.variables("\(folder.path)/file/x"))
    #expect(
      outcome.status == 73 && outcome.errorLines.last?.contains("set HF_HOME to a folder that can be written") == true,
      "\(outcome.errors)")
  }

  @Test("a cache that can only be read gives what it has, and says what it cannot take", .needs(.mounts))
  func readOnly() throws {
    server.add("models/acme/tiny", description(weights: noise(5000)))
    server.add("models/acme/other", description(weights: noise(100)))
    let own = try launch(["download", "acme/tiny"], server.variables(home))
    #expect(own.status == 0, "\(own.errors)")
    let script = "mount --bind \(home) \(home) && mount -o remount,bind,ro \(home) && exec \"$0\" download \"$1\""
    func run(_ name: String) throws -> Program.Outcome {
      try Program.run(
        ["unshare", "--mount", "sh", "-c", script, Program.built("launch"), name], variables: server.variables(home))
    }
    let known = try run("acme/tiny")
    #expect(known.status == 0 && known.output == own.output, "\(known.errors)")
    let unknown = try run("acme/other")
    #expect(unknown.status == 73 && unknown.errorLines.count == 1, "\(unknown.status) \(unknown.errors)")
    #expect(unknown.errors.contains("Read-only file system"), "\(unknown.errors)")
    #expect(unknown.errors.contains("set HF_HOME to a folder that can be written"), "\(unknown.errors)")
  }

  @Test("a full disk says so, and what is there can be gone on with", .needs(.mounts)) func full() throws {
    server.add("models/acme/tiny", description(weights: noise(3 << 20)))
    let script = """
      mount -t tmpfs -o size=2m tmpfs \(folder.path) && "$0" download acme/tiny
      """
    let outcome = try Program.run(
      ["unshare", "--mount", "sh", "-c", script, Program.built("launch")], variables: server.variables(home))
    #expect(outcome.status == 74 && outcome.errorLines.last?.contains("MB are to come") == true, "\(outcome.errors)")
  }

  @Test("without libcurl there is one line that says what to install", .needs(.mounts)) func noLibrary() throws {
    let script = """
      for f in $(ldconfig -p | sed -n 's/.*libcurl.*=> //p'); do mount --bind /dev/null "$f"; done; "$0" download acme/tiny
      """
    let outcome = try Program.run(
      ["unshare", "--mount", "sh", "-c", script, Program.built("launch")], variables: server.variables(home))
    #expect(outcome.status == 69 && outcome.errorLines.count == 1, "\(outcome.errors)")
    #expect(outcome.errors.contains("apt-get install libcurl4"))
  }

  @Test(
    "a model of 440 MB through two cuts", .needs(.patience, .memory(megabytes: 2000), .temporarySpace(megabytes: 1000)))
  func large440() throws {
    let weights = noise(440_000_000)
    server.add("models/acme/tiny", description(weights: weights))
    server.fail("GET", large, .cut(after: 150_000_000), .cut(after: 150_000_000))
    let script = """
      "$0" download acme/tiny & p=$!
      while grep -s VmHWM /proc/$p/status; do sleep 0.1; done
      wait $p
      """
    let outcome = try Program.run(
      ["bash", "-c", script, Program.built("launch")], variables: server.variables(home), seconds: 600)
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(server.requests.filter(\.isElsewhere).count == 3)
    let peak = outcome.outputLines.compactMap { line in
      line.hasPrefix("VmHWM:") ? Int(line.split(separator: " ").dropLast().last ?? "") : nil
    }.max()
    #expect(try #require(peak) < 100_000, "kB; what has come is on the disk and nowhere else")
    let seconds = formatted(outcome.seconds, digits: 1)
    print("440 MB through two cuts: \(seconds) s, at most \((peak ?? 0) / 1000) MB of memory")
    #expect(try launch(["cache", "verify"], server.variables(home)).status == 0)
  }
}
