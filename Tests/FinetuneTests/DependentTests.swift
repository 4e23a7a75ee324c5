import System
import TestSupport
import Testing

extension Programs {
  /// A package elsewhere that names this one by URL and version.
  struct Dependents {
    /// Makes a repository of this package's files in the first folder, with a version, and builds the package in the second.
    private static let script = """
      set -eu
      repository=$1 package=$2 root=$3
      mkdir -p "$repository" "$package/Sources/elsewhere"
      cd "$root"
      # All but files that are removed and not committed as such.
      git ls-files --cached --others --exclude-standard | while IFS= read -r file; do
        [[ ! -f $file ]] || cp --parents "$file" "$repository"
      done
      cd "$repository"
      git init -q
      git add -A
      git -c user.name=t -c user.email=t@t commit -qm all
      git tag 1.0.0
      cp Examples/AcceleratedLoop/main.swift "$package/Sources/elsewhere/main.swift"
      cat >"$package/Package.swift" <<END
      // swift-tools-version: 6.1
      import PackageDescription
      let package = Package(
        name: "elsewhere",
        dependencies: [.package(url: "file://$repository/", from: "1.0.0")],
        targets: [
          .executableTarget(
            name: "elsewhere",
            dependencies: [.product(name: "Lockstep", package: "${repository##*/}")])
        ],
        swiftLanguageModes: [.v6]
      )
      END
      cd "$package"
      swift build -c release -Xcc -march=native -Xcc -fno-math-errno -Xcc -mprefer-vector-width=512 >&2
      """

    @Test(
      "a package that names this one by URL and version resolves, builds and runs under launch",
      .needs(.patience, .program("git"), .program("swift")))
    func elsewhere() throws {
      let folder = try TemporaryFolder()
      let root = parent(of: Golden.testsFolder)
      let package = "\(folder.path)/elsewhere"
      let built = try Program.run(
        ["bash", "-c", Self.script, "bash", "\(folder.path)/lockstep", package, root], seconds: 3000)
      try #require(built.status == 0, "\(built.errors.suffix(3000))")
      let arguments = ["\(Golden.folder)/tiny-bert", "\(Golden.folder)/mrpc", "6"]
      let outcome = try Program.run(
        [Program.built("launch"), "--num_processes", "2", "\(package)/.build/release/elsewhere"] + arguments)
      let own = try Program.run(Program.command("accelerated-loop", ranks: 2, arguments))
      #expect(outcome.status == 0, "\(outcome.errors)")
      func losses(_ outcome: Program.Outcome) -> [Double] {
        outcome.outputLines.filter { $0.hasPrefix("step ") }.compactMap {
          $0.split(separator: " ").last.flatMap { Double($0) }
        }
      }
      let (found, expected) = (losses(outcome), losses(own))
      try #require(found.count == 18 && expected.count == 18)
      // Other flags round otherwise.
      for (found, expected) in zip(found, expected) { #expect(relativeError(found, expected) < 1e-5) }
    }
  }
}
