import JSON
import System
import TestSupport
import Testing

extension Programs {
  /// `predict` and `evaluate`, as a user starts them.
  struct Predictions {
    static let model = "\(Golden.folder)/tiny-bert"

    /// Runs `script` with `predict` as $0 and the model as $1; `$R` starts so many ranks.
    private func shell(_ script: String, ranks: Int = 1, model: String = model) throws -> Program.Outcome {
      let starter = ranks > 1 ? Program.mpirun(ranks: ranks).joined(separator: " ") : ""
      return try Program.run(
        ["bash", "-c", "set -o pipefail; \(script)", try Program.built("predict"), model], variables: ["R": starter])
    }

    @Test("lines are answered in their order, the same on 1 and 3 ranks, with the input's keys", arguments: [1, 3])
    func lines(ranks: Int) throws {
      let script =
        #"for i in $(seq 100); do echo "{\"i\":$i,\"text\":\"the otter $i\",\"text_pair\":\"a kettle\"}"; done"#
      let outcome = try shell("\(script) | $R $0 --model $1", ranks: ranks)
      #expect(outcome.status == 0 && outcome.left == [], "\(outcome.errors)")
      let alone = try shell("\(script) | $0 --model $1")
      #expect(outcome.output == alone.output)
      let lines = outcome.outputLines
      try #require(lines.count == 100)
      for (index, line) in lines.enumerated() {
        let row = try JSONDocument(Array(line.utf8), path: "line").root
        let keys = try row.members().map { String(decoding: $0.key, as: UTF8.self) }
        #expect(keys == ["i", "text", "text_pair", "label", "score", "probabilities"])
        #expect(try row.member("i")?.int() == index + 1)
        let values = try (row.member("probabilities")?.elements() ?? []).map { try $0.double() }
        #expect(values.count == 2 && abs(values.reduce(0, +) - 1) < 1e-6)
      }
    }

    @Test("ranks as threads answer the same")
    func threads() throws {
      let script = #"for i in $(seq 20); do echo "{\"text\":\"the otter $i\"}"; done"#
      let outcome = try shell("\(script) | LOCKSTEP_IN_PROCESS=3 $0 --model $1")
      #expect(outcome.status == 0, "\(outcome.errors)")
      #expect(outcome.output == (try shell("\(script) | $0 --model $1")).output)
    }

    @Test("a pipe that stays open is answered line by line", arguments: [1, 2])
    func openPipe(ranks: Int) throws {
      // The second line is written only once the first has its answer.
      let script = """
        coproc P { exec $R $0 --model $1; }
        exec 7>&${P[1]} 8<&${P[0]}
        for text in one two; do echo "{\\"text\\":\\"$text\\"}" >&7; read -r line <&8; echo "$line"; done
        eval "exec ${P[1]}>&-"; exec 7>&-
        wait $P_PID
        """
      let outcome = try shell(script, ranks: ranks)
      #expect(outcome.status == 0, "\(outcome.errors)")
      #expect(outcome.outputLines.count == 2 && outcome.outputLines.last?.contains("\"text\":\"two\"") == true)
    }

    @Test("an empty line and a broken one are answered in their place, and the job ends with 65", arguments: [1, 3])
    func brokenLines(ranks: Int) throws {
      let outcome = try shell(
        #"printf '{"text":"a"}\n\n{"text":"x"\n{"text":"b","id":1}' | $R $0 --model $1"#, ranks: ranks)
      #expect(outcome.status == 65, "\(outcome.errors)")
      let lines = outcome.outputLines
      try #require(lines.count == 4)
      #expect(lines[1] == #"{"error":"line 2 is empty"}"# && lines[2].hasPrefix(#"{"error":"standard input:3:12"#))
      #expect(lines[0].contains("\"label\"") && lines[3].hasPrefix(#"{"text":"b","id":1,"label""#))
      #expect(
        outcome.errors.contains("predict: error: 2 of 4 rows have no answer, the first is row 2: line 2 is empty"))
    }

    @Test("a line that comes alone and cannot be asked is answered, too", arguments: [1, 2])
    func loneLine(ranks: Int) throws {
      for (line, answer) in [("", #"{"error":"line 1 is empty"}"#), (#"{"text":"x""#, #"{"error":"standard input:1:"#)]
      {
        let outcome = try shell("echo '\(line)' | $R $0 --model $1", ranks: ranks)
        #expect(outcome.status == 65 && outcome.output.hasPrefix(answer), "\(outcome.output) \(outcome.errors)")
        #expect(outcome.errors.contains("1 of 1 row has no answer"), "\(outcome.errors)")
      }
    }

    @Test("a text longer than the model's positions is cut, and that is said once")
    func longTexts() throws {
      let outcome = try shell(
        #"long=$(yes word | head -500 | tr '\n' ' '); printf '{"text":"%s"}\n{"text":"a"}\n{"text":"%s"}\n' "$long" "$long" | $0 --model $1"#
      )
      #expect(outcome.status == 0 && outcome.outputLines.count == 3, "\(outcome.errors)")
      #expect(outcome.errors == "predict: note: 2 of 3 rows had more than 40 tokens and were cut\n")
    }

    @Test("a reader that goes away ends the job with 74 and a line")
    func readerGoes() throws {
      let outcome = try shell(
        #"{ yes '{"text":"a"}' | head -20000 | $0 --model $1; echo "status ${PIPESTATUS[2]}" >&2; } | head -1"#)
      #expect(outcome.errors.contains("status 74"), "\(outcome.errors)")
      #expect(outcome.errorLines.contains("predict: error: standard output: writing failed: Broken pipe"))
      #expect(outcome.left == [])
    }

    @Test("SIGTERM ends a job that waits for input, and nothing is left", arguments: [1, 2])
    func kill(ranks: Int) throws {
      let folder = try TemporaryFolder()
      // The shell holds the pipe open; a job in the background would else get /dev/null.
      let outcome = try shell(
        "mkfifo '\(folder.path)/in'; exec 3<>'\(folder.path)/in'; "
          + #"$R $0 --model $1 <&3 & p=$!; sleep 2; kill $p; wait $p; echo "status $?""#, ranks: ranks)
      #expect(outcome.output.hasPrefix("status 1") && outcome.left == [], "\(outcome.output) \(outcome.errors)")
    }

    @Test("a table's rows are answered under the names of its columns", arguments: ["tsv", "csv", "jsonl"])
    func tables(format: String) throws {
      let folder = try TemporaryFolder()
      let text = [
        "tsv": "id\tsentence1\tsentence2\n1\tthe otter\ta kettle\n",
        "csv": "id,sentence1,sentence2\n1,the otter,a kettle\n",
        "jsonl": "{\"id\":\"1\",\"sentence1\":\"the otter\",\"sentence2\":\"a kettle\"}\n",
      ][format]
      let file = try folder.write(Array(try #require(text).utf8), "rows.\(format)")
      let outcome = try shell("$0 --model $1 --test-file '\(file)'")
      #expect(outcome.status == 0, "\(outcome.errors)")
      #expect(
        outcome.output.hasPrefix(
          #"{"id":"1","sentence1":"the otter","sentence2":"a kettle","label":"LABEL_0","score":"#))
    }

    @Test("GLUE's file for the test rows, the same on 1 and 3 ranks", arguments: [1, 3])
    func submission(ranks: Int) throws {
      let folder = try TemporaryFolder()
      try makeDirectory("\(folder.path)/data")
      let rows = (0..<7).map { "\($0)\t1\t2\tthe otter \($0)\ta kettle\n" }.joined()
      try folder.write("index\t#1 ID\t#2 ID\t#1 String\t#2 String\n" + rows, "data/test.tsv")
      let words = "--task mrpc --test --data '\(folder.path)/data' --output-dir '\(folder.path)/out'"
      for _ in 1...2 {
        let outcome = try shell("$R $0 --model $1 \(words)", ranks: ranks)
        #expect(outcome.status == 0, "\(outcome.errors)")
      }
      let lines = String(decoding: try readBytes("\(folder.path)/out/MRPC.tsv"), as: UTF8.self).split(separator: "\n")
      #expect(lines.count == 8 && lines.first == "index\tprediction")
      #expect(lines.dropFirst().enumerated().allSatisfy { $1 == "\($0)\t0" || $1 == "\($0)\t1" })
      try folder.write("mine", "out/MRPC.tsv")
      #expect(try shell("$0 --model $1 \(words)").status == 73, "a file of the user's is not replaced")
    }

    @Test("what cannot be asked is one line with its status")
    func refusals() throws {
      let cases: [(words: String, status: Int32, text: String)] = [
        ("--model $1 --text ' '", 64, "--text: is blank"), ("--model $1 --text-pair b", 64, "needs --text"),
        ("--model /nosuch --text a", 66, "/nosuch: there is no such folder"),
        ("--model '\(Golden.folder)/tiny-bert-old' --text a", 65, "has no trained classifier"),
        ("evaluate --model $1", 64, "--task: is missing"),
        (
          "evaluate --model '\(Golden.folder)/tiny-bert-3' --task mrpc --data '\(Golden.folder)/mrpc'", 65,
          "the model has 3 classes"
        ),
        ("evaluate --model $1 --test-file '\(Golden.folder)/tasks/own/three-dev.jsonl'", 65, "label is"),
      ]
      for (words, status, text) in cases {
        // Where the word is evaluate it comes first.
        let outcome = try shell("$0 \(words)")
        #expect(
          outcome.status == status && outcome.errorLines.count == 1, "\(words): \(outcome.status) \(outcome.errors)")
        #expect(outcome.errors.contains(text), "\(outcome.errors)")
      }
    }

    @Test("evaluate's figures are those of finetune's last evaluation, on 1 and 3 ranks", arguments: [1, 3])
    func evaluation(ranks: Int) throws {
      let folder = try TemporaryFolder()
      let (saved, metrics) = ("\(folder.path)/saved", "\(folder.path)/metrics")
      let trained = try finetune(tinyModel + ["--max-steps", "4", "--output-dir", saved, "--metrics", metrics])
      #expect(trained.status == 0, "\(trained.errors)")
      let last = try #require(try MetricsLine.read(metrics).last)
      let outcome = try shell(
        "$R $0 evaluate --model $1 --task mrpc --data '\(Golden.folder)/mrpc' --json --bootstrap 50 --against $1",
        ranks: ranks, model: saved)
      #expect(outcome.status == 0, "\(outcome.errors)")
      let root = try JSONDocument(Array(outcome.output.utf8), path: "output").root
      #expect(try root.member("metrics")?.member("accuracy")?.double() == last.accuracy)
      #expect(try root.member("metrics")?.member("f1")?.double() == last.f1)
      #expect(relativeError(try root.member("loss")?.double() ?? .nan, last.loss) < 1e-5)
      #expect(try root.member("against")?.member("mcnemar")?.member("p_value")?.double() == 1)
      let counts = try (root.member("confusion_matrix")?.elements() ?? []).flatMap {
        try $0.elements().map { try $0.int() }
      }
      #expect(counts.reduce(0, +) == last.examples)
    }

    @Test("a run leaves a page and a card whose figures are the metrics file's, and a card that somebody wrote stays")
    func report() throws {
      let folder = try TemporaryFolder()
      let (saved, metrics) = ("\(folder.path)/saved", "\(folder.path)/metrics")
      let arguments = tinyModel + ["--max-steps", "6", "--output-dir", saved, "--metrics", metrics]
      #expect(try finetune(ranks: 2, arguments).status == 0)
      let page = String(decoding: try readBytes("\(saved)/report.html"), as: UTF8.self)
      let lines = try MetricsLine.read(metrics)
      for line in lines {
        for value in [line.loss, line.accuracy, line.f1, line.learning_rate, line.grad_norm].compactMap({ $0 }) {
          let text = value == value.rounded() ? "\(Int(value))" : "\(value)"
          #expect(page.contains("<td>\(text)</td>"), "\(text)")
        }
      }
      #expect(page.utf8.count < 1_000_000)
      let last = try #require(lines.last?.accuracy)
      let card = String(decoding: try readBytes("\(saved)/README.md"), as: UTF8.self)
      #expect(card.contains("    - type: \"accuracy\"\n      value: \(last)\n"), "\(card)")
      try folder.write("mine", "saved/README.md")
      #expect(try finetune(arguments).status == 0)
      #expect(String(decoding: try readBytes("\(saved)/README.md"), as: UTF8.self) == "mine")
    }
  }
}
