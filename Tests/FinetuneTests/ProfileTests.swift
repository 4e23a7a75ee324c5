import FoundationEssentials
import System
import TestSupport
import Testing

/// A timeline in Chrome's trace format.
private struct Timeline: Decodable {
  struct Event: Decodable {
    // swift-format-ignore: AlwaysUseLowerCamelCase
    struct Arguments: Decodable {
      var step: Int?
      var name: String?
    }
    var ph, name: String
    var pid: Int
    var ts, dur: Double?
    var args: Arguments
    var start: Double { ts ?? .nan }
    var end: Double { start + (dur ?? .nan) }
  }
  var traceEvents: [Event]

  init(_ path: String) throws { self = try JSONDecoder().decode(Timeline.self, from: Data(readBytes(path))) }

  func spans(_ rank: Int) -> [Event] { traceEvents.filter { $0.pid == rank && $0.ph == "X" } }
}

extension Programs {
  /// Where the time went.
  struct Profiles {
    @Test(
      "a timeline has all ranks, every part of every step, and layers inside forward and backward", arguments: [1, 3])
    func timeline(ranks: Int) throws {
      let folder = try TemporaryFolder()
      let path = "\(folder.path)/profile.json"
      let options = ["--max-steps", "3", "--batch-size", "3", "--gradient-accumulation-steps", "2", "--profile", path]
      let outcome = try finetune(ranks: ranks, tinyModel + options)
      #expect(outcome.status == 0 && outcome.output.contains("timeline in \(path)"), "\(outcome.errors)")
      #expect(TemporaryFolder.entries(folder.path) == ["profile.json"])
      let timeline = try Timeline(path)
      #expect(Set(timeline.traceEvents.map(\.pid)) == Set(0..<ranks))
      let names = timeline.traceEvents.filter { $0.name == "process_name" }.compactMap(\.args.name)
      #expect(names.count == ranks && names.enumerated().allSatisfy { $1.hasPrefix("rank \($0) (host ") }, "\(names)")
      for rank in 0..<ranks {
        let spans = timeline.spans(rank)
        #expect(spans.allSatisfy { $0.start >= 0 && $0.end >= $0.start })
        func count(_ name: String) -> Int { spans.count { $0.name == name } }
        // Two micro-batches a step.
        for name in ["data", "forward", "backward", "waiting"] { #expect(count(name) == 6, "\(name)") }
        for name in ["reduction", "optimizer", "step"] { #expect(count(name) == 3, "\(name)") }
        #expect(count("evaluation") == 1)
        for part in ["embeddings", "layer 0", "layer 1", "head"] {
          for pass in ["forward", "backward"] {
            let inner = spans.filter { $0.name == "\(part) \(pass)" }
            let outer = spans.filter { $0.name == pass }
            #expect(inner.count == 6, "\(part) \(pass)")
            // Times are rounded to nanoseconds.
            #expect(
              inner.allSatisfy { span in
                outer.contains { $0.start <= span.start + 0.002 && span.end <= $0.end + 0.002 }
              }, "\(part) \(pass) lies outside")
          }
        }
        let steps = spans.filter { $0.name == "step" }
        #expect(steps.compactMap(\.args.step) == [1, 2, 3])
        for span in spans where span.name != "step" && span.name != "evaluation" {
          let own = try #require(steps.first { $0.args.step == span.args.step }, "\(span)")
          #expect(own.start <= span.start + 0.002 && span.end <= own.end + 0.002, "\(span)")
        }
        for (earlier, later) in zip(steps, steps.dropFirst()) { #expect(earlier.end <= later.start + 0.002) }
      }
      // One clock: no rank ends a step before every rank has begun it, for all wait for each other.
      for step in 1...3 {
        let same = timeline.traceEvents.filter { $0.name == "step" && $0.args.step == step }
        #expect(try #require(same.map(\.end).min()) > #require(same.map(\.start).max()))
      }
    }

    @Test("bench step writes one too, of the timed steps")
    func bench() throws {
      let folder = try TemporaryFolder()
      let path = "\(folder.path)/profile.json"
      let outcome = try Program.run(
        Program.command(
          "bench", ranks: 2, ["step"] + tinyModel + ["--steps", "3", "--warmup", "2", "--profile", path]))
      #expect(outcome.status == 0, "\(outcome.errors)")
      let timeline = try Timeline(path)
      for rank in 0..<2 { #expect(timeline.spans(rank).count { $0.name == "step" } == 3) }
    }

    @Test("where a timeline cannot be written, nothing is trained", arguments: ["/nonexistent/profile.json", "/tmp"])
    func unwritable(path: String) throws {
      let outcome = try finetune(tinyModel + ["--max-steps", "1", "--profile", path])
      #expect(outcome.status == 73 && outcome.output == "", "\(outcome.output)")
      #expect(outcome.errorLines.count == 1 && outcome.errors.contains(path))
    }

    @Test("every run ends with five lines on where the time went", arguments: [1, 2])
    func fiveLines(ranks: Int) throws {
      let outcome = try finetune(ranks: ranks, tinyModel + ["--max-steps", "3"])
      #expect(outcome.status == 0, "\(outcome.errors)")
      let lines = outcome.outputLines.suffix(5).map { line in
        String(line.prefix { $0 != " " }) == "slowest" || line.hasPrefix("would") || line.hasPrefix("a step")
          ? String(line.prefix(12)) : String(line.prefix { $0 != " " })
      }
      try #require(lines.count == 5, "\(lines)")
      #expect(lines[0] == "time" && lines[1].hasPrefix("a step") && lines[2] == "efficiency", "\(lines)")
      #expect(lines[3] == "slowest rank" && lines[4].hasPrefix("would help"), "\(lines)")
      let time = outcome.outputLines.suffix(5).first ?? ""
      #expect(!time.hasSuffix("evaluation 0.0 %"), "it evaluates without a timeline too: \(time)")
      // Shares of one whole.
      let shares = time.split(separator: ",").compactMap { Double($0.split(separator: " ").suffix(2).first ?? "") }
      #expect(shares.count == 7 && abs(shares.reduce(0, +) - 100) < 0.5, "\(time)")
      #expect(outcome.outputLines.suffix(3).first?.contains("over \(ranks) rank") == true)
    }
  }
}
