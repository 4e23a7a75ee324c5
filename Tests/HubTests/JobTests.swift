import Glibc
import Hub
import System
import TestSupport
import Testing

/// From a name to a trained model and its answers, through `./launch`.
@Suite(.serialized) struct NamedJobTests {
  let folder: TemporaryFolder
  let server: HubServer
  var home: String { "\(folder.path)/home" }

  init() throws {
    folder = try TemporaryFolder()
    server = try HubServer()
  }

  /// The tiny model, and rows in the form in which MRPC was first published.
  private func addAll() throws {
    try server.add("models/acme/tiny", folder: tinyFolder)
    let train = try readBytes("\(Golden.folder)/mrpc/train.tsv")
    let validation = try readBytes("\(Golden.folder)/mrpc/dev.tsv")
    func rows(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] { bytes.split(separator: 0x0A).dropFirst().map { $0 } }
    func joined(_ lines: [ArraySlice<UInt8>]) -> [UInt8] { lines.flatMap { Array($0) + [0x0A] } }
    let header = try #require(train.split(separator: 0x0A).first)
    // Numbers that no other row has.
    func numbered(_ row: ArraySlice<UInt8>, _ first: Int) -> ArraySlice<UInt8> {
      let cells = row.split(separator: 0x09, omittingEmptySubsequences: false)
      let ids = "\t\(first)\t\(first + 1)\t"
      return Array(cells[0] + Array(ids.utf8) + cells[3] + [0x09] + cells[4])[...]
    }
    let own = rows(train).enumerated().map { numbered($1, 10 * $0) }
    let held = rows(validation).enumerated().map { numbered($1, 100_000 + 10 * $0) }
    let ids = held.indices.map { "\(100_000 + 10 * $0)\t\(100_001 + 10 * $0)\n" }.joined()
    server.addPlain("/senteval/senteval_data/msr_paraphrase_train.txt", joined([header] + own + held))
    server.addPlain("/senteval/senteval_data/msr_paraphrase_test.txt", joined([header] + held))
    server.addPlain("/glue/data/mrpc_dev_ids.tsv", Array(ids.utf8))
  }

  @Test(
    "finetune by name, from an empty cache to a saved model with its report, on 2 ranks; again with the server gone")
  func finetune() throws {
    try addAll()
    let saved = "\(folder.path)/saved"
    let arguments = [
      "--num_processes", "2", "finetune", "--model", "acme/tiny", "--task", "mrpc", "--epochs", "1", "--output-dir",
      saved,
    ]
    let outcome = try launch(arguments, server.variables(home))
    #expect(outcome.status == 0 && outcome.left == [], "\(outcome.errors)")
    let short = String(server.commit.prefix(7))
    #expect(outcome.output.contains("acme/tiny@\(short): 2 layers"), "\(outcome.output)")
    #expect(
      outcome.output.contains("mrpc from 127.0.0.1_\(server.port): 62 training rows, 30 validation rows"),
      "\(outcome.output)")
    #expect(outcome.errors.contains("train has 62 rows, GLUE's own has 3668"))
    let report = try String(decoding: readBytes("\(saved)/report.html"), as: UTF8.self)
    #expect(report.contains("acme/tiny@\(server.commit)") && report.contains("--task mrpc"))
    let card = try String(decoding: readBytes("\(saved)/README.md"), as: UTF8.self)
    #expect(card.contains("base_model: \"acme/tiny\""))
    // No rank needs the server, and nobody asks it twice.
    server.stop()
    let again = try launch(arguments, server.variables(home))
    #expect(again.status == 0, "\(again.errors)")
    let offline = server.variables(home).merging(["HF_HUB_OFFLINE": "1"]) { $1 }
    let measured = try launch(["evaluate", "--model", saved, "--against", "acme/tiny", "--task", "mrpc"], offline)
    #expect(measured.status == 65 || measured.status == 0, "\(measured.errors)")
    let evaluated = try launch(["evaluate", "--model", saved, "--task", "mrpc"], offline)
    #expect(evaluated.status == 0 && evaluated.output.contains("accuracy"), "\(evaluated.errors)")
    let predicted = try launch(["predict", "--model", saved, "--task", "mrpc"], offline)
    #expect(predicted.status == 0 && predicted.outputLines.count == 30, "\(predicted.errors)")
  }

  @Test("a trained model is asked by its name, and a folder of the same name stays a folder") func ask() throws {
    try server.add("models/acme/tiny-1", folder: "\(Golden.folder)/tiny-bert-3")
    let question = ["--text", "the otter", "--text-pair", "a kettle", "--json"]
    let byName = try launch(["predict", "--model", "acme/tiny-1"] + question, server.variables(home))
    #expect(byName.status == 0, "\(byName.errors)")
    let asFolder = try launch(["predict", "--model", "\(Golden.folder)/tiny-bert-3"] + question, [:])
    #expect(byName.output == asFolder.output)
    server.forget()
    let script = "cd \"$1\" && mkdir acme && cp -r \"$2\" acme/tiny-1 && shift 2 && exec \"$@\""
    let local = try Program.run(
      ["sh", "-c", script, "sh", folder.path, "\(Golden.folder)/tiny-bert-3", Program.built("launch"), "predict"]
        + ["--model", "acme/tiny-1"] + question, variables: server.variables(home))
    #expect(local.status == 0 && local.output == asFolder.output && server.requests == [], "\(local.errors)")
  }

  @Test("a data set of the hub's in JSON lines; several parts are named; Parquet is refused with the reason")
  func datasets() throws {
    try server.add("models/acme/tiny", folder: tinyFolder)
    let rows = Array(
      "{\"text1\": \"the otter\", \"text2\": \"a kettle\", \"label\": 0}\n{\"text1\": \"a\", \"text2\": \"b\", \"label\": 1}\n"
        .utf8)
    let files = ["train.jsonl", "validation.jsonl", "README.md"].map { ($0, HubServer.File(bytes: rows)) }
    server.add("datasets/acme/pairs", Dictionary(uniqueKeysWithValues: files))
    let start = ["finetune", "--model", "acme/tiny", "--max-steps", "1", "--dataset"]
    let outcome = try launch(start + ["acme/pairs"], server.variables(home))
    #expect(outcome.status == 0 && outcome.output.contains("acme/pairs@"), "\(outcome.errors)")
    server.stop()
    #expect(try launch(start + ["acme/pairs"], server.variables(home)).status == 0)
    let second = try HubServer()
    let parts = ["a", "b"].flatMap { part in
      ["train.tsv", "dev.tsv"].map { ("\(part)/\($0)", HubServer.File(bytes: rows)) }
    }
    second.add("datasets/acme/parts", Dictionary(uniqueKeysWithValues: parts))
    let (client, _) = try second.client(home)
    let several = failure { () throws(Failure) in try client.dataset(HubName(.dataset, "acme/parts")) }
    #expect(several?.status == .usage && several?.hint?.contains("--dataset-config") == true)
    #expect(try client.dataset(HubName(.dataset, "acme/parts"), configuration: "b").train.hasSuffix("/b/train.tsv"))
    second.add("datasets/acme/parquet", ["data/train-00000-of-00001.parquet": .init(bytes: rows)])
    let parquet = failure { () throws(Failure) in try client.dataset(HubName(.dataset, "acme/parquet")) }
    #expect(parquet?.status == .badData && parquet?.message.contains("Parquet") == true)
  }

  @Test(
    "a task in an archive; tables whose published sum is another are refused and removed", .needs(.program("python3")))
  func tables() throws {
    let script = """
      import zipfile
      with zipfile.ZipFile('\(folder.path)/RTE.zip', 'w', zipfile.ZIP_DEFLATED) as z:
        for name in ['train', 'dev', 'test']:
          z.writestr('RTE/' + name + '.tsv', 'index\\tsentence1\\tsentence2\\tlabel\\n0\\ta\\tb\\tentailment\\n')
        z.writestr('RTE/original/train.tsv', 'no')
        z.writestr('__MACOSX/train.tsv', 'no')
      """
    #expect(try Program.run(["python3", "-c", script]).status == 0)
    server.addPlain("/glue/data/RTE.zip", try readBytes("\(folder.path)/RTE.zip"))
    let source = try #require(GLUESource.all.first { $0.task == "rte" })
    let path = try server.client(home).client.glue(source) { _ in }
    #expect(TemporaryFolder.entries(path) == ["dev.tsv", "test.tsv", "train.tsv"])
    server.forget()
    #expect(
      try server.client(home, ["HF_HUB_OFFLINE": "1"]).client.glue(source) { _ in } == path && server.requests == [])

    try addAll()
    var settings = try server.settings(home)
    settings.checksGLUE = true
    let mrpc = try #require(GLUESource.all.first { $0.task == "mrpc" })
    let error = failure { () throws(Failure) in try HubClient(settings) { _ in }.glue(mrpc) { _ in } }
    #expect(error?.status == .badData && error?.message.contains("expected 793daf7b6224281e75fe61c1f80afe35") == true)
    #expect(HubCache("\(home)/hub").repositories().first { $0.id.hasSuffix("glue-mrpc") }?.blobs.isEmpty == true)
    #expect(incomplete(HubCache("\(home)/hub")) == [])
    let check = failure { () throws(Failure) in
      try server.client(home).client.glue(mrpc) { (_) throws(Failure) in throw Failure(.badData, "too few rows") }
    }
    #expect(check?.message == "too few rows")
    #expect(HubCache("\(home)/hub").repositories().first { $0.id.hasSuffix("glue-mrpc") }?.blobs.isEmpty == true)
  }

  @Test("the real MRPC has the published sums and GLUE's rows", .needs(.reference)) func realMRPC() throws {
    let data = try Golden.inReference("data/glue/MRPC")
    for name in ["msr_paraphrase_train.txt", "msr_paraphrase_test.txt"] {
      server.addPlain("/senteval/senteval_data/\(name)", try readBytes("\(data)/\(name)"))
    }
    server.addPlain("/glue/data/mrpc_dev_ids.tsv", try readBytes("\(data)/dev_ids.tsv"))
    var settings = try server.settings(home)
    settings.checksGLUE = true
    let mrpc = try #require(GLUESource.all.first { $0.task == "mrpc" })
    let path = try HubClient(settings) { _ in }.glue(mrpc) { _ in }
    #expect(TemporaryFolder.entries(path) == ["dev_ids.tsv", "msr_paraphrase_test.txt", "msr_paraphrase_train.txt"])
    try server.add("models/acme/tiny", folder: tinyFolder)
    let outcome = try launch(
      ["finetune", "--model", "acme/tiny", "--task", "mrpc", "--max-steps", "1"], server.variables(home))
    #expect(outcome.status == 0 && !outcome.errors.contains("GLUE's own has"), "\(outcome.errors)")
    #expect(outcome.output.contains("3,668 training rows, 408 validation rows"), "\(outcome.output)")
  }

  @Test(
    "what belongs together is asked for together",
    arguments: [
      (["--revision", "v1", "--data", "x"], 64), (["--dataset", "a/b", "--task", "mrpc"], 64),
      (["--dataset-config", "x"], 64), (["--task", "mrcp"], 64),
    ])
  func usage(arguments: [String], status: Int) throws {
    let outcome = try launch(["finetune", "--model", tinyFolder] + arguments, server.variables(home))
    #expect(Int(outcome.status) == status && outcome.errorLines.count == 1, "\(outcome.errors)")
    #expect(server.requests == [])
  }

  @Test("without ./launch the programs look nothing up, and say so") func withoutLaunch() throws {
    let program = try Program.built("finetune")
    let outcome = try Program.run([program, "--model", "acme/tiny", "--dataset", "acme/pairs"])
    #expect(outcome.status == 64 && outcome.errors.contains("is for ./launch"), "\(outcome.errors)")
  }
}
