// swift-format-ignore-file: AlwaysUseLowerCamelCase

import FoundationEssentials
import System
import TestSupport
import Testing

/// Runs `bench` on so many ranks.
private func bench(
  ranks: Int = 1, _ arguments: [String], variables: [String: String] = [:]
) throws -> Program.Outcome {
  try Program.run(Program.command("bench", ranks: ranks, arguments), variables: variables)
}

/// Runs `bench` and reads the one JSON object that it prints.
private func results<Value: Decodable>(
  ranks: Int = 1, _ arguments: [String], variables: [String: String] = [:], as type: Value.Type
) throws -> Value {
  let outcome = try bench(ranks: ranks, arguments, variables: variables)
  #expect(outcome.status == 0 && outcome.errors == "" && outcome.left == [], "\(outcome.errors)")
  return try JSONDecoder().decode(Value.self, from: Data(outcome.output.utf8))
}

private struct Machine: Decodable {
  var cpu, system, blas: String
  var mpi: String?
  var ranks, threads_per_rank: Int
  var hosts: [String]
}

private struct Spread: Decodable {
  var median, p10, p90: Double
}

private struct StepResult: Decodable {
  struct Figures: Decodable {
    var library_gflops_per_second: Double?
    var own_gflops_per_second, memory_gigabytes_per_second: Double
  }
  struct Roofline: Decodable {
    var milliseconds, fraction, fraction_with_own_rate: Double
    var fraction_with_library_rate: Double?
  }
  struct Memory: Decodable {
    struct Rank: Decodable { var rss, peak_rss, pss: Double }
    struct Host: Decodable { var megabytes: Double }
    var ranks: [Rank]
    var hosts: [Host]
  }
  struct Verified: Decodable {
    var rows: Int
    var logits_difference, gradient_difference: Double
  }
  struct Evaluation: Decodable {
    var examples: Int
    var examples_per_second: Double
  }
  var examples_per_second, tokens_per_second, gflops_per_second, first_loss, last_loss: Double
  var milliseconds: [String: Spread]
  var machine_figures: Figures
  var roofline: Roofline
  var memory: Memory
  var verified: Verified
  var evaluation: Evaluation?
  var steps, batch_size, parameters: Int
  var precision, products: String
  var machine: Machine
}

extension Programs {
  /// Measurements: that they are all there and can be true. How fast is nobody's test.
  struct Bench {
    @Test("step prints every figure, alone and on two ranks", arguments: [1, 2])
    func step(ranks: Int) throws {
      let result = try results(
        ranks: ranks, ["step"] + tinyModel + ["--steps", "4", "--batch-size", "6", "--evaluation"], as: StepResult.self)
      #expect(result.steps == 4 && result.batch_size == 6 && result.parameters == 23_938)
      #expect(result.machine.ranks == ranks && result.machine.hosts.count == 1 && result.machine.threads_per_rank == 1)
      #expect(result.machine.blas.contains("OpenBLAS") && (result.machine.mpi?.contains("MPI") ?? false) == (ranks > 1))
      #expect(result.machine.cpu != "" && result.machine.system.hasPrefix("Linux"))
      #expect(result.precision == "fp32" && result.products.hasPrefix("fp32 ("))

      let parts = ["data", "forward", "backward", "waiting", "communication", "optimizer"]
      #expect(Set(result.milliseconds.keys) == Set(parts + ["total"]))
      for (name, spread) in result.milliseconds {
        #expect(spread.p10 <= spread.median && spread.median <= spread.p90 && spread.p10 >= 0, "\(name)")
      }
      // The parts leave nothing large out.
      let total = try #require(result.milliseconds["total"])
      let sum = parts.reduce(0) { $0 + (result.milliseconds[$1]?.p10 ?? 0) }
      #expect(sum > 0 && sum < 1.01 * total.p90, "\(sum) of \(total)")
      // Rows over time, and time over steps, are the same seconds.
      let slowest = Double(6 * ranks) / total.p10 * 1e3
      #expect(result.examples_per_second > 0 && result.examples_per_second <= 1.5 * slowest)
      // A row of the small model's data has 8 to 40 tokens.
      let tokens = result.tokens_per_second / result.examples_per_second
      #expect((8...40).contains(tokens), "\(tokens) tokens a row")

      let figures = result.machine_figures
      #expect((0.1...100_000).contains(figures.own_gflops_per_second))
      #expect((0.1...100_000).contains(figures.library_gflops_per_second ?? 0))
      #expect((0.1...10_000).contains(figures.memory_gigabytes_per_second))
      #expect(result.gflops_per_second > 0 && result.roofline.milliseconds > 0)
      #expect(result.roofline.fraction > 0 && result.roofline.fraction < 10)
      let fractions = [result.roofline.fraction_with_library_rate ?? 0, result.roofline.fraction_with_own_rate]
      #expect(fractions.contains(result.roofline.fraction) && fractions.max() ?? 0 >= result.roofline.fraction)

      #expect(result.memory.ranks.count == ranks && result.memory.hosts.count == 1)
      #expect(result.memory.ranks.allSatisfy { 0 < $0.pss && $0.pss <= $0.rss && $0.rss <= $0.peak_rss + 0.2 })
      let together = result.memory.ranks.reduce(0) { $0 + $1.pss }
      #expect(abs((result.memory.hosts.first?.megabytes ?? .nan) - together) < 1e-6 * together)
      #expect(abs(result.first_loss - 0.6931) < 0.2 && result.last_loss.isFinite)
      #expect(result.verified.rows == 6 && result.verified.logits_difference < 1e-4)
      #expect(result.verified.gradient_difference < 1e-3)
      let evaluation = try #require(result.evaluation)
      #expect(evaluation.examples == 30 && evaluation.examples_per_second > 0)
    }

    @Test(
      "what travels between hosts is measured: all but the untouched rows of the word table", arguments: ["no", "bf16"])
    func transfer(wire: String) throws {
      struct Result: Decodable {
        struct Transfer: Decodable {
          var milliseconds: Spread
          var hidden_fraction, megabytes_sent_per_rank: Double
          var precision: String
        }
        var transfer: Transfer?
        var first_loss, last_loss: Double
      }
      let command = ["step"] + tinyModel + ["--steps", "3", "--batch-size", "2", "--ddp_comm_hook", wire]
      let hosts = ["LOCKSTEP_PRETEND_HOSTS": "1,1"]
      let transfer = try #require(try results(ranks: 2, command, variables: hosts, as: Result.self).transfer)
      #expect(transfer.milliseconds.median > 0 && (0...1).contains(transfer.hidden_fraction))
      #expect(transfer.precision == (wire == "no" ? "fp32" : wire))
      // Of two hosts each sends every gradient once, but of the table's 135 rows of 32 only those of 4 rows' tokens.
      let numbers = transfer.megabytes_sent_per_rank * 1e6 / (wire == "no" ? 4 : 2)
      #expect(numbers > 23_938 - 135 * 32 && numbers < 23_938 - 10 * 32, "\(numbers)")
      #expect(try results(ranks: 2, command, as: Result.self).transfer == nil, "on one host nothing travels")
    }

    @Test("sums between hosts are verified and timed", arguments: ["no", "fp16"])
    func exchange(wire: String) throws {
      struct Sums: Decodable {
        struct Entry: Decodable {
          var method: String
          var bytes: Int
          var microseconds: Double
        }
        var results: [Entry]
      }
      let sums = try results(
        ranks: 3, ["allreduce", "--max-megabytes", "1", "--repetitions", "2", "--ddp-comm-hook", wire],
        variables: ["LOCKSTEP_PRETEND_HOSTS": "1,1,1"], as: Sums.self)
      #expect(Set(sums.results.map(\.method)) == ["communicator", "exchange", "MPI_Allreduce"])
      #expect(sums.results.count == 18 && sums.results.allSatisfy { $0.microseconds > 0 })
    }

    @Test("what checkpoints and comparisons of the ranks cost is measured beside the steps", arguments: [1, 2])
    func safety(ranks: Int) throws {
      struct Checkpoints: Decodable {
        var bytes: Int
        var stall_milliseconds, copy_milliseconds: Spread
        var first_stall_milliseconds, stall_over_copy, writing_milliseconds, cost: Double
        var start_seconds, restart_seconds, restart_over_start: Double
      }
      let folder = try TemporaryFolder()
      let found = try results(
        ranks: ranks,
        ["checkpoint"] + tinyModel + [
          "--output-dir", folder.path, "--steps", "3", "--rounds", "2", "--batch-size", "4",
        ],
        as: Checkpoints.self)
      #expect(found.bytes == 3 * 4 * 23_938)
      let ratio = found.stall_milliseconds.median / found.copy_milliseconds.median
      #expect(ratio > 0 && relativeError(found.stall_over_copy, ratio) < 1e-9)
      #expect(found.first_stall_milliseconds > 0 && found.writing_milliseconds > 0 && found.cost > -1)
      #expect(found.start_seconds > 0 && found.restart_seconds > 0)
      #expect(relativeError(found.restart_over_start, found.restart_seconds / found.start_seconds) < 1e-9)
      #expect(TemporaryFolder.entries(folder.path) == ["bench-checkpoints"], "checkpoints are removed")
      #expect(TemporaryFolder.entries("\(folder.path)/bench-checkpoints").isEmpty)

      struct Step: Decodable {
        struct Check: Decodable {
          var milliseconds: Spread
          var steps: Int
          var cost: Double
        }
        var lockstep_check: Check
        var milliseconds: [String: Spread]
      }
      let step = try results(
        ranks: ranks, ["step"] + tinyModel + ["--steps", "3", "--batch-size", "4", "--lockstep-check", "10"],
        as: Step.self)
      #expect(step.lockstep_check.steps == 10)
      let total = try #require(step.milliseconds["total"])
      let cost = step.lockstep_check.milliseconds.median / (10 * total.median)
      #expect(relativeError(step.lockstep_check.cost, cost) < 1e-9)
    }

    @Test("the roofline is the formula's")
    func roofline() throws {
      let result = try results(["step"] + tinyModel + ["--steps", "1", "--warmup", "0"], as: StepResult.self)
      // One step: operations = rate · time, and the roofline is operations ÷ best rate + bytes ÷ bandwidth.
      let operations = result.gflops_per_second * (result.milliseconds["total"]?.median ?? 0) * 1e6
      let figures = result.machine_figures
      let best = max(figures.own_gflops_per_second, figures.library_gflops_per_second ?? 0)
      let expected =
        operations / (best * 1e6) + 28 * Double(result.parameters) / (figures.memory_gigabytes_per_second * 1e6)
      #expect(relativeError(result.roofline.milliseconds, expected) < 1e-6)
      // 2 layers of 32 and 64, pooler and classifier; 12 · length² · width a layer lies between rows of 8 and 40 tokens.
      let tokens = result.tokens_per_second * (result.milliseconds["total"]?.median ?? 0) * 1e-3
      let weights = Double(2 * (4 * 32 * 32 + 2 * 32 * 64) + 32 * 32 + 2 * 32)
      let attention = operations - 6 * weights * tokens
      #expect(attention >= 12 * 8 * tokens * 64 && attention <= 12 * 40 * tokens * 64, "\(attention), \(tokens)")
    }

    @Test("predict is timed beside an evaluation of the same rows, and gives the same answers", arguments: [1, 2])
    func predict(ranks: Int) throws {
      struct Result: Decodable {
        var rows: Int
        var rows_per_second, evaluation_rows_per_second: Spread
        var ratio_to_evaluation, largest_difference: Double
      }
      let result = try results(ranks: ranks, ["predict"] + tinyModel + ["--rounds", "2"], as: Result.self)
      #expect(result.rows == 30 && result.largest_difference < 1e-5)
      #expect(result.rows_per_second.median > 0 && result.evaluation_rows_per_second.median > 0)
      #expect(result.ratio_to_evaluation > 0)
    }

    @Test("gemm, kernels, allreduce and load print their figures, on two ranks")
    func others() throws {
      struct Products: Decodable {
        struct Method: Decodable { var gflops_per_second: Double }
        var methods: [Method]
      }
      let small = ["--tokens", "24", "--hidden-size", "32", "--intermediate-size", "64", "--repetitions", "2"]
      let products = try results(ranks: 2, ["gemm"] + small, as: Products.self)
      #expect(products.methods.count >= 1 && products.methods.allSatisfy { $0.gflops_per_second > 0 })

      struct Kernels: Decodable {
        struct Kernel: Decodable {
          var name: String
          var elements: Int
          var microseconds, gigaelements_per_second, gigabytes_per_second, largest_error: Double
        }
        var kernels: [Kernel]
      }
      let kernels = try results(
        ranks: 2, ["kernels"] + small + ["--parameters", "1000", "--length", "9"], as: Kernels.self
      ).kernels
      for word in ["GELU", "LayerNorm", "softmax"] {
        #expect(kernels.count { $0.name.contains(word) } == 2, "forward and backward of \(word)")
      }
      for word in ["dropout", "AdamW"] { #expect(kernels.contains { $0.name.contains(word) }) }
      for kernel in kernels {
        #expect(kernel.elements > 0 && kernel.largest_error >= 0 && kernel.largest_error < 1e-4, "\(kernel.name)")
        let rate = Double(kernel.elements) / kernel.microseconds * 1e-3
        #expect(relativeError(kernel.gigaelements_per_second, rate) < 1e-9)
        #expect(kernel.gigabytes_per_second >= 8 * rate * 0.999)
      }

      struct Sums: Decodable {
        struct Entry: Decodable {
          var method: String
          var bytes: Int
          var microseconds, bus_gigabytes_per_second: Double
        }
        var results: [Entry]
        var memory_gigabytes_per_second_all_ranks: Double
      }
      let sums = try results(
        ranks: 3, ["allreduce", "--max-megabytes", "1", "--repetitions", "2"], as: Sums.self)
      #expect(Set(sums.results.map(\.method)) == ["communicator", "shared memory", "MPI_Allreduce"])
      #expect(Set(sums.results.map(\.bytes)) == [1000, 4000, 16_000, 64_000, 256_000, 1_000_000])
      #expect(sums.results.count == 18 && sums.memory_gigabytes_per_second_all_ranks > 0)
      for entry in sums.results {
        let expected = Double(entry.bytes) / entry.microseconds * 1e-3 * 4 / 3
        #expect(relativeError(entry.bus_gigabytes_per_second, expected) < 1e-9)
      }

      struct Load: Decodable {
        struct Start: Decodable {
          var milliseconds, first_loss: Double
          var parts_milliseconds: [String: Double]
        }
        struct Tokenizing: Decodable {
          var rows, tokens: Int
          var rows_per_second: Double
        }
        struct Loading: Decodable {
          var parameters: Int
          var gigabytes_per_second: Double
        }
        var start_up: Start
        var tokenizing: Tokenizing
        var loading: Loading
      }
      let load = try results(ranks: 2, ["load"] + tinyModel, as: Load.self)
      let sum = load.start_up.parts_milliseconds.values.reduce(0, +)
      #expect(relativeError(load.start_up.milliseconds, sum) < 1e-9 && sum > 0)
      for part in ["mpirun", "process and MPI", "corpus", "tokenizing", "model and optimizer", "first step"] {
        #expect(load.start_up.parts_milliseconds[part] ?? -1 >= 0, "\(part)")
      }
      #expect(load.tokenizing.rows == 92 && load.tokenizing.tokens > 92 * 5 && load.tokenizing.rows_per_second > 0)
      #expect(load.loading.parameters == 23_938 && load.loading.gigabytes_per_second > 0)
    }

    @Test(
      "bad options are told in one line",
      arguments: [
        (["step"], "--model"), (["step"] + tinyModel + ["--steps", "0"], "--steps: 0"),
        (["step"] + tinyModel + ["--batch-size", "0"], "--batch-size: 0"),
        (["predict"] + tinyModel + ["--rounds", "0"], "--rounds: 0"),
        (["predict"] + tinyModel + ["--task", "ax"], "--task: ax has no validation rows"),
        (["step"] + tinyModel + ["--warmup=-1"], "--warmup: -1"), (["gemm", "--tokens", "0"], "--tokens: 0"),
        (["kernels", "--length", "0"], "--length: 0"), (["kernels", "--parameters", "x"], "--parameters"),
        (["allreduce", "--max-megabytes", "0"], "--max-megabytes: 0"),
        (["allreduce", "--repetitions", "0"], "--repetitions: 0"),
        (["allreduce", "--bucket-kilobytes", "0"], "--bucket-kilobytes: 0"),
        (["step"] + tinyModel + ["--ddp-comm-hook", "fp8"], "fp8"), (["load", "--data", "x"], "--data: needs --model"),
        (["load", "--model", tinyModel[1], "--data", tinyModel[3], "--task", "x"], "unknown task"),
        (["frobnicate"], "frobnicate"),
      ])
    func badOptions(arguments: [String], words: String) throws {
      let outcome = try bench(arguments)
      #expect(outcome.status == 64 && outcome.output == "", "\(outcome.output)")
      #expect(outcome.errorLines.count == 1 && outcome.errors.hasPrefix("bench: error: "), "\(outcome.errors)")
      #expect(outcome.errors.contains(words), "\(outcome.errors)")
    }
  }
}
