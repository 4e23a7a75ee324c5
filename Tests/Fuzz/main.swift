import Glibc
import System
import TestSupport

// fuzz [READER…] [--seed N] [--count N] [--only N] [--programs] [--list]
//
// Gives changed good input to every reader of the package, or to those that are named: 100,000 inputs each, the same for
// the same seed. With --programs the real programs read them, 200 each. Ends with status 1 if a reader trapped, hung, took
// too much memory or gave something wrong; prints the reader, the seed and the input's number, with which --only reads
// that input alone.

var names: [String] = []
var seed: UInt64 = 1
var count: Int?
var (first, only): (Int, Int?) = (0, nil)
var isPrograms = false
var childFolder: String?

func number(_ text: String?) -> Int {
  guard let text, let value = Int(text), value >= 0 else {
    fail("expected a number, found \(text ?? "nothing")")
  }
  return value
}

func fail(_ message: String) -> Never {
  say("fuzz: error: \(message)")
  exit(ExitStatus.usage.rawValue)
}

var words = CommandLine.arguments.dropFirst()
while let word = words.popFirst() {
  switch word {
  case "--seed": seed = UInt64(number(words.popFirst()))
  case "--count": count = number(words.popFirst())
  case "--first": first = number(words.popFirst())
  case "--only": only = number(words.popFirst())
  case "--programs": isPrograms = true
  case "--readers": isPrograms = false
  case "--child": childFolder = words.popFirst()
  case "--list":
    say(Reader.all.map(\.name).joined(separator: "\n"))
    exit(0)
  default:
    guard Reader.all.contains(where: { $0.name == word }) else {
      fail("no reader is called \(word); there are \(Reader.all.map(\.name).joined(separator: ", "))")
    }
    names.append(word)
  }
}
var readers = names.isEmpty ? Reader.all : Reader.all.filter { names.contains($0.name) }
if isPrograms { readers.removeAll { $0.program == nil } }
let inputs = count ?? (isPrograms ? 200 : 100_000)

do {
  if childFolder != nil || only != nil {
    let folder = try childFolder == nil ? TemporaryFolder(in: "/dev/shm") : nil
    let path = childFolder ?? folder?.path ?? ""
    for reader in readers {
      let child = Child(
        reader: reader, seed: seed, workspace: Workspace(path: path), progress: try Progress("\(path)/progress"))
      let numbers = only.map { $0..<$0 + 1 } ?? first..<inputs
      if isPrograms { try child.runPrograms(numbers) } else { try child.run(numbers) }
      if only != nil { say(child.progress.counts.accepted == 1 ? "accepted" : "refused") }
    }
  } else {
    exit(try Parent(seed: seed, count: inputs, isPrograms: isPrograms).run(readers) ? 0 : 1)
  }
} catch {
  say("fuzz: \(names.joined(separator: ", ")): \(error)")
  exit(1)
}
