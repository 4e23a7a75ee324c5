import Datasets
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
    try server.addMRPC()
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
    #expect(error?.status == .badData && error?.message.contains("expected 60a9b09084528f0673ee") == true)
    #expect(HubCache("\(home)/hub").repositories().first { $0.id.hasSuffix("glue-mrpc") }?.blobs.isEmpty == true)
    #expect(incomplete(HubCache("\(home)/hub")) == [])
    let check = failure { () throws(Failure) in
      try server.client(home).client.glue(mrpc) { (_) throws(Failure) in throw Failure(.badData, "too few rows") }
    }
    #expect(check?.message.hasPrefix("too few rows, and SetFit/mrpc: ") == true, "\(check?.message ?? "")")
    #expect(HubCache("\(home)/hub").repositories().first { $0.id.hasSuffix("glue-mrpc") }?.blobs.isEmpty == true)
  }

  @Test("where GLUE's own host fails, the copy on the hub is taken and that is said; its rows count, too")
  func copies() throws {
    try server.add("models/acme/tiny", folder: tinyFolder)
    let train =
      "{\"text1\": \"the otter\", \"text2\": \"a kettle\", \"label\": 0, \"idx\": 0, \"label_text\": \"not equivalent\"}\n"
    let rows = train + train.replacing("\"label\": 0", with: "\"label\": 1")
    let names = ["train.jsonl", "validation.jsonl", "test.jsonl"]
    server.add(
      "datasets/SetFit/mrpc",
      Dictionary(uniqueKeysWithValues: names.map { ($0, HubServer.File(bytes: Array(rows.utf8))) }))
    let arguments = ["finetune", "--model", "acme/tiny", "--task", "mrpc", "--max-steps", "1"]
    let outcome = try launch(arguments, server.variables(home))
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(outcome.errors.contains("answers 404, expected 200; taking SetFit/mrpc from"), "\(outcome.errors)")
    #expect(outcome.output.contains("mrpc from SetFit: 2 training rows, 2 validation rows"), "\(outcome.output)")
    // The next time nothing is asked of GLUE's host.
    server.forget()
    #expect(try launch(arguments, server.variables(home)).status == 0)
    #expect(server.requests.allSatisfy { $0.target.hasPrefix("/acme/tiny/") }, "\(server.requests)")
    let offline = server.variables(home).merging(["HF_HUB_OFFLINE": "1"]) { $1 }
    #expect(try launch(arguments, offline).status == 0)
    // With both out of reach, the message has both reasons and the files to bring.
    let source = try #require(GLUESource.all.first { $0.task == "mrpc" })
    let both = failure { () throws(Failure) in
      try server.client("\(folder.path)/other").client.glue(source) { (_) throws(Failure) in
        throw Failure(.badData, "has 2 rows, GLUE's own has 3668")
      }
    }
    #expect(both?.status == .missingInput && both?.message.contains("and has 2 rows, GLUE's own has 3668") == true)
    #expect(both?.hint?.contains("msr_paraphrase_train.txt") == true, "\(both.debugDescription)")
    // A copy that will not do does not keep the host's own tables away once they are there.
    try server.addMRPC()
    let own = try server.client("\(folder.path)/other").client.glue(source) { (folder) throws(Failure) in
      if folder.contains("SetFit") { throw Failure(.badData, "has 2 rows, GLUE's own has 3668") }
    }
    #expect(own.contains("glue-mrpc"), "\(own)")
    #expect(Set(GLUESource.all.map(\.task)) == Set(GLUETask.all.map(\.name)))
    #expect(GLUESource.all.flatMap(\.files).allSatisfy { $0.sha256.utf8.count == 64 })
  }

  @Test(
    "check, inspect, estimate-memory, verify-equivalence and bench take names as finetune does, and fetch what they need"
  )
  func otherCommands() throws {
    try addAll()
    let named = ["--model", "acme/tiny"]
    let cases: [(words: [String], needsWeights: Bool)] = [
      (["inspect", "model"] + named, false), (["inspect", "tokens", "--text", "the otter"] + named, false),
      (["inspect", "batches", "--task", "mrpc"] + named, false),
      (["estimate-memory", "acme/tiny", "--num_processes", "2", "--task", "mrpc"], false),
      (["bench", "step", "--steps", "1", "--warmup", "0", "--task", "mrpc"] + named, false),
      (["bench", "predict", "--rounds", "1", "--task", "mrpc"] + named, false),
      (["inspect", "forward", "--rows", "2", "--task", "mrpc"] + named, true),
      (["bench", "load", "--task", "mrpc"] + named, true),
      (["verify-equivalence", "--steps", "1", "finetune", "--task", "mrpc"] + named, true),
      (["check", "--num_processes", "1", "finetune", "--task", "mrpc"] + named, true),
    ]
    for (words, needsWeights) in cases {
      server.forget()
      let own = "\(folder.path)/home-\(words.prefix(2).joined())"
      let outcome = try launch(words, server.variables(own))
      #expect(outcome.status == 0, "\(words): \(outcome.errors)")
      #expect(server.gets("/model.safetensors").isEmpty != needsWeights, "\(words): \(server.requests)")
      #expect(server.gets("/mrpc_dev_ids.tsv").count == (words.contains("--task") ? 1 : 0), "\(words)")
    }
    server.stop()
    let again = try launch(
      ["bench", "load", "--task", "mrpc"] + named, server.variables("\(folder.path)/home-benchload"))
    #expect(again.status == 0 && again.output.contains("\"rows\""), "\(again.errors)")
  }

  @Test("a model that is nowhere is told before the task's tables are fetched") func modelFirst() throws {
    let outcome = try launch(["finetune", "--model", "no/such/folder", "--task", "mrpc"], server.variables(home))
    #expect(outcome.status == 66 && outcome.errorLines.count == 1 && server.requests == [], "\(outcome.errors)")
    #expect(outcome.errors.hasPrefix("launch: error: no/such/folder: there is no such folder"), "\(outcome.errors)")
  }

  @Test("what check cannot find is a finding with the job's own status")
  func checked() throws {
    let outcome = try launch(["check", "finetune", "--model", "acme/none", "--task", "mrpc"], server.variables(home))
    #expect(outcome.status == 66, "\(outcome.errors)")
    #expect(outcome.output.hasPrefix("error   acme/none: there is no such model on"), "\(outcome.output)")
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
