import ArgumentParser
import Glibc
import Launcher
import System

/// Makes a folder to copy to hosts without Swift.
struct PackCommand: MachineCommand {
  static let configuration = CommandConfiguration(
    commandName: "pack",
    abstract: "Make a folder with the programs, for hosts without Swift.",
    discussion: "The hosts need Open MPI and OpenBLAS. Copy the folder to the same path on each.")

  @Argument(help: "The folder to make.") var folder: String

  func run(on machine: Machine) throws {
    let files = try Package.files(programs: machine.programs)
    let sizes = try Package.write(files, to: folder, on: machine)
    try put("packed \(files.map(\.name.escapingControlCharacters).joined(separator: ", "))")
    let megabytes = { (bytes: Int) in "\(formatted(Double(bytes) / 1e6, digits: 0)) MB" }
    try put("the programs have \(megabytes(sizes.packed)), with symbols \(megabytes(sizes.built))")
    if let note = sizes.note { say("note: \(note)") }
    try put("copy it to the same path on each host, such as: rsync -a \(shellShown(folder))/ HOST:PATH/")
  }
}
