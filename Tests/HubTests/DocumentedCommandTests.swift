import System
import TestSupport
import Testing

/// What README.md and docs/ tell a reader to type does what they say: each command is run, with little work.
@Suite(.serialized) struct DocumentedCommandTests {
  static let runPages = DocumentedCommands.pages.filter { page in
    let blocks = (try? DocumentedCommands.blocks(page)) ?? []
    return blocks.contains { !$0.commands.isEmpty }
  }

  private static func isElsewhere(_ command: String) -> Bool {
    DocumentedCommands.elsewhere.contains { command.hasPrefix($0.start) }
  }

  @Test("every command of a page ends with 0, in the page's order", arguments: DocumentedCommandTests.runPages)
  func commands(page: String) throws {
    let commands = try DocumentedCommands.blocks(page).flatMap(\.commands).filter { !Self.isElsewhere($0) }
    let folder = try TemporaryFolder()
    let server = try HubServer()
    for name in ["sentence-transformers/all-MiniLM-L6-v2", "google-bert/bert-base-uncased", "acme/tiny"] {
      try server.add("models/\(name)", folder: tinyFolder)
    }
    try server.addMRPC()
    let variables = server.variables("\(folder.path)/home").merging([
      "HOME": folder.path, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
      "OMPI_MCA_rmaps_base_oversubscribe": "1",
    ]) { $1 }
    func run(_ command: String) throws -> Program.Outcome {
      try Program.run(
        ["bash", "-c", "set -o pipefail; cd \"$0\" && \(command)", folder.path], variables: variables, seconds: 120)
    }
    try lay(out: folder)
    if commands.contains(where: { $0.contains("--model trained") }) {
      let outcome = try run(
        "./launch finetune --model DIR --data GLUE/MRPC --max-steps 1 --output-dir trained && cp -r trained older && cp -r trained other"
      )
      try #require(outcome.status == 0, "\(outcome.errors)")
    }
    for command in commands {
      let outcome = try run(DocumentedCommands.shortened(command))
      // Two ranks want a core each; where there is one, that is refused with the way out.
      let lacksCores = command.contains("--binding core") && Capability.cores(2).whyMissing != nil
      if lacksCores { #expect(outcome.errors.contains("(--binding none)")) }
      #expect(
        outcome.status == (lacksCores ? 64 : 0) && outcome.left == [],
        "\(command): status \(outcome.status), \(outcome.errors.suffix(2000))")
    }
  }

  /// What the pages' readers have: the programs, a model, tables, questions.
  private func lay(out folder: TemporaryFolder) throws {
    let programs = parent(of: try Program.built("launch"))
    let rows = (0..<12).map { "it was number \($0),\($0 % 2),it was number \($0),\($0 % 2)\n" }.joined()
    for name in ["train.csv", "dev.csv"] { try folder.write("review,stars,text,label\n\(rows)", name) }
    try folder.write("{\"text\": \"the otter\", \"text_pair\": \"a kettle\"}\n", "questions.jsonl")
    let mrpc = try folder.copy("\(Golden.folder)/mrpc", as: "GLUE/MRPC")
    try writeAtomically(
      Array("index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1\t2\tthe otter\ta kettle\n".utf8), to: "\(mrpc)/test.tsv")
    let script = """
      cd "$0" && mkdir .build shared && printf '#!/bin/sh\\nexec "%s/launch" "$@"\\n' "$1" >launch && chmod +x launch
      ln -s "$1" .build/release && ln -s "$2/hostfiles" hostfiles && ln -s "$2/Tests/Golden/tasks/SST-2" GLUE/SST-2
      ln -s "$2/Tests/Golden/tiny-bert" DIR && ln -s DIR MODEL_FOLDER && ln -s GLUE/MRPC MRPC_FOLDER
      """
    let outcome = try Program.run(["bash", "-ec", script, folder.path, programs, DocumentedCommands.root])
    try #require(outcome.status == 0, "\(outcome.errors)")
  }

  @Test("no block escapes: each has commands or is a known text, and the lists hold nothing that no page has")
  func lists() throws {
    let blocks = try DocumentedCommands.pages.flatMap(DocumentedCommands.blocks)
    let texts = blocks.filter { $0.commands.isEmpty }
    for block in texts {
      let first = block.lines.first ?? ""
      #expect(DocumentedCommands.texts.contains { first.hasPrefix($0) }, "\(block.page): \(first)")
    }
    for start in DocumentedCommands.texts {
      #expect(texts.contains { $0.lines.first?.hasPrefix(start) == true }, "no page has \(start)")
    }
    let commands = blocks.flatMap(\.commands)
    for (start, tests) in DocumentedCommands.elsewhere {
      #expect(commands.contains { $0.hasPrefix(start) }, "no page has \(start)")
      #expect(exists("\(DocumentedCommands.root)/\(tests)"), "\(start): there is no \(tests)")
    }
    #expect(commands.count > 40)
  }

  @Test("README.md has at most 1,200 words") func words() throws {
    let text = try String(decoding: readBytes("\(DocumentedCommands.root)/README.md"), as: UTF8.self)
    #expect(text.split { $0 == " " || $0 == "\n" }.count <= 1200)
  }
}
