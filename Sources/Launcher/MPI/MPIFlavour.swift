import Glibc
import System

/// The kinds of MPI whose `mpirun` the launcher knows, each with flags of its own.
public enum MPIFlavour: String, Sendable, Equatable, CaseIterable {
  /// Open MPI up to 4, on ORTE.
  case openMPI4 = "Open MPI 4"
  /// Open MPI from 5, on PRRTE.
  case openMPI5 = "Open MPI 5"
  /// MPICH and its like, on Hydra.
  case mpich = "MPICH"
  /// Intel MPI, on a Hydra of its own.
  case intel = "Intel MPI"

  /// Whether programs built with Open MPI find one another under it.
  public var isOpenMPI: Bool { self == .openMPI4 || self == .openMPI5 }

  /// Reads what `mpirun --version` printed; nil where that is of another kind.
  public init?(version text: String) {
    func number(after words: String) -> Int? {
      // `mpirun (Open MPI) 4.1.4`
      guard let start = text.utf8.firstIndex(ofText: words) else { return nil }
      let digits = text.utf8[start...].dropFirst(words.utf8.count).prefix { (0x30...0x39).contains($0) }
      return Int(String(Substring(digits)))
    }
    if let major = number(after: "(Open MPI) ") ?? number(after: "(OpenRTE) ") {
      self = major < 5 ? .openMPI4 : .openMPI5
    } else if text.utf8.firstIndex(ofText: "Intel(R) MPI") != nil {
      self = .intel
    } else if text.utf8.firstIndex(ofText: "HYDRA build details") != nil || text.utf8.firstIndex(ofText: "MPICH") != nil
    {
      self = .mpich
    } else {
      return nil
    }
  }

  /// Asks the `mpirun` at `path`. Throws `.unavailable` where it cannot be started, does not answer or
  /// is of another kind.
  public init(mpirun path: String, environment: Environment) throws(Failure) {
    let command = try CapturedCommand([path, "--version"], environment)
    guard let text = command.answer(until: .now + .seconds(10)) else {
      throw Failure(.unavailable, at: path, "does not say its version within 10 s, expected an mpirun")
    }
    guard let flavour = MPIFlavour(version: text) else {
      let line = text.utf8.split { $0 == 0x0A || $0 == 0x0D }.first.map { String(Substring($0.prefix(100))) }
      throw Failure(
        .unavailable, at: path, "says \"\(line ?? "")\", expected Open MPI, MPICH or Intel MPI",
        hint: "name another with --mpirun PATH")
    }
    self = flavour
  }

  /// What to start in place of the `mpirun` at `path`: Intel's is a script that does not hand on signals to the program
  /// beside it.
  public func program(for path: String) -> String {
    let direct = "\(parent(of: path))/mpiexec.hydra"
    return self == .intel && access(direct, X_OK) == 0 ? direct : path
  }
}

extension Substring.UTF8View {
  /// Where the first occurrence of `text` starts.
  func firstIndex(ofText text: String) -> Index? {
    let wanted = Array(text.utf8)
    return indices.first { self[$0...].starts(with: wanted) }
  }
}

extension String.UTF8View {
  package func firstIndex(ofText text: String) -> Index? { self[...].firstIndex(ofText: text) }
}
