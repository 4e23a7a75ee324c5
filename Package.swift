// swift-tools-version: 6.1
import PackageDescription

#if canImport(Glibc)
  import Glibc
#endif

/// Whether this is the checkout of a package that depends on this one. SwiftPM lets no dependency that is named by version
/// choose flags for the compiler or linker, so it has none then; docs/library.md says how such a package is built as fast.
/// A build of the checkout itself, by its `launch`, says so.
let isDependency: Bool = {
  guard Context.environment["LOCKSTEP_OWN_BUILD"] == nil else { return false }
  let parts = Context.packageDirectory.split(separator: "/")
  guard parts.dropLast().last == "checkouts" else { return false }
  // A folder of the user's may be called so, too, but has no mirror of repositories beside it.
  return access("/" + parts.dropLast(2).joined(separator: "/") + "/repositories", F_OK) == 0
}()

/// The CPU that the hot loops are compiled for: this machine's own, unless `LOCKSTEP_MARCH` names another for a mixed
/// cluster (`x86-64-v3`, say). Swift takes the CPU's features from its clang importer, hence `-Xcc`.
let march = Context.environment["LOCKSTEP_MARCH"] ?? "native"

/// Only for targets that hold hot loops over checked shapes and read no files: `-Ounchecked` removes traps.
/// Without `-fno-math-errno` a square root is a call; AVX-512 at full width is 1.4 times as fast for GELU.
///
/// `LOCKSTEP_CHECKED` keeps the traps, for `Tests/checked`.
let isChecked = Context.environment["LOCKSTEP_CHECKED"] != nil
var hotLoopFlags = (isChecked ? [] : ["-Ounchecked"]) + ["-Xcc", "-march=\(march)", "-Xcc", "-fno-math-errno"]
#if arch(x86_64)
  hotLoopFlags += ["-Xcc", "-mprefer-vector-width=512"]
#endif
let hotLoops: [SwiftSetting] = isDependency ? [] : [.unsafeFlags(hotLoopFlags)]

/// The programs carry the Swift runtime inside: they start in half the time, and run on hosts without Swift. Not
/// `--static-swift-stdlib`, for then the tests (whose library is dynamic only) would have every module compiled twice.
/// A test target may not depend on such a program, or it would be linked so itself; tests run the programs.
/// The libraries are those that a static FoundationEssentials, which ArgumentParser uses, stands on.
let staticRuntime: [LinkerSetting] = linkerFlags(
  ["-static-stdlib", "-l_FoundationCShims", "-l_FoundationCollections", "-lswiftSynchronization"])

func linkerFlags(_ flags: [String]) -> [LinkerSetting] { isDependency ? [] : [.unsafeFlags(flags)] }

/// `swift package generate-documentation --target Lockstep`; nothing that a package that depends on this one needs.
let documentation: [Package.Dependency] =
  isDependency ? [] : [.package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.4.0")]

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
  name: "lockstep",
  products: [
    .executable(name: "launch", targets: ["launch-cli"]),
    .executable(name: "finetune", targets: ["finetune"]),
    .executable(name: "predict", targets: ["predict"]),
    .executable(name: "inspect", targets: ["inspect"]),
    .executable(name: "bench", targets: ["bench"]),
    .executable(name: "selftest", targets: ["selftest"]),
    .executable(name: "manual-loop", targets: ["manual-loop"]),
    .executable(name: "accelerated-loop", targets: ["accelerated-loop"]),
    .executable(name: "own-task", targets: ["own-task"]),
    .library(name: "Lockstep", targets: ["Lockstep"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
  ] + documentation,
  targets: [
    // C libraries: one door each.
    .systemLibrary(name: "CMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev", "openmpi-bin"])]),
    .systemLibrary(name: "CYAML", providers: [.apt(["libyaml-dev"])]),
    .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
    .systemLibrary(name: "CCPU"),
    .systemLibrary(name: "CProcess"),
    .systemLibrary(name: "CFileSystem"),
    .systemLibrary(name: "CSHA256"),
    .systemLibrary(name: "CCurl"),
    .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
    .target(name: "CTiles"),

    // The worker's parts, bottom up.
    .target(name: "System", dependencies: ["CFileSystem", "CSHA256"]),
    .target(name: "JSON", dependencies: ["System"]),
    .target(name: "CPU", dependencies: ["CCPU"]),
    .target(name: "Kernels", dependencies: ["COpenBLAS", "CCPU", "CTiles"], swiftSettings: hotLoops),
    // The rows of one step, as a data set gives them and a model computes them.
    .target(name: "Batches"),
    .target(name: "BERT", dependencies: ["Batches", "Kernels", "JSON", "System"]),
    .target(name: "Tokenization", dependencies: ["JSON", "System"]),
    .target(name: "Datasets", dependencies: ["Batches", "Tokenization", "JSON", "System"]),
    .target(name: "Corpus", dependencies: ["System"]),
    .target(name: "Safetensors", dependencies: ["System"]),
    .target(name: "TorchPickle", dependencies: ["Safetensors", "System"]),
    .target(name: "WeightFiles", dependencies: ["Safetensors", "TorchPickle", "JSON", "System"]),
    // The format and the folders of checkpoints, for what trains and for the launcher.
    .target(name: "Checkpoints", dependencies: ["JSON", "System"]),
    // What a rank and the launcher's process beside it share.
    .target(name: "FlightRecorder", dependencies: ["CProcess", "System"]),
    .target(name: "Collectives", dependencies: ["CMPI", "CProcess", "FlightRecorder", "System"]),
    // Gradients of all ranks to one update.
    .target(name: "DataParallel", dependencies: ["Collectives", "Kernels", "System"]),
    // What a person or another program is told of a run while it goes on.
    .target(name: "Reporting", dependencies: ["Collectives", "JSON", "System"]),
    .target(
      name: "Training",
      dependencies: [
        "DataParallel", "Reporting", "BERT", "Batches", "Kernels", "CPU", "Collectives", "Datasets", "Tokenization",
        "Safetensors",
        "WeightFiles", "JSON", "Checkpoints", "System",
      ]),
    // What a trained model says about rows.
    .target(
      name: "Inference",
      dependencies: [
        "Training", "Reporting", "BERT", "Kernels", "Collectives", "Datasets", "Tokenization", "JSON", "System",
      ]),
    // What a run leaves for people: its page, the model's card, a comparison of runs.
    .target(
      name: "RunReport", dependencies: ["Inference", "Training", "Reporting", "Datasets", "JSON", "System"]),
    .target(
      name: "ProgramSupport",
      dependencies: [
        "Inference", "Training", "WeightFiles", "Datasets", "Kernels", "Collectives", "System", argumentParser,
      ],
      path: "Sources/programs/support"),
    .executableTarget(
      name: "finetune",
      dependencies: [
        "RunReport", "Inference", "Training", "Reporting", "Checkpoints", "Corpus", "ProgramSupport", argumentParser,
      ],
      path: "Sources/programs/finetune",
      linkerSettings: staticRuntime),
    .executableTarget(
      name: "predict",
      dependencies: [
        "RunReport", "Inference", "Training", "Reporting", "Collectives", "Datasets", "Tokenization", "JSON", "System",
        "ProgramSupport", argumentParser,
      ],
      path: "Sources/programs/predict", linkerSettings: staticRuntime),
    .executableTarget(
      name: "inspect", dependencies: ["Training", "Batches", "ProgramSupport", argumentParser],
      path: "Sources/programs/inspect",
      linkerSettings: staticRuntime),
    .executableTarget(
      name: "bench",
      dependencies: [
        "Training", "Inference", "Checkpoints", "DataParallel", "Reporting", "Corpus", "Kernels", "Tokenization",
        "JSON",
        "ProgramSupport", argumentParser,
      ],
      path: "Sources/programs/bench",
      linkerSettings: staticRuntime),
    .executableTarget(
      name: "selftest",
      dependencies: ["Training", "DataParallel", "Reporting", "Corpus", "Kernels", "ProgramSupport", argumentParser],
      path: "Sources/programs/selftest",
      linkerSettings: staticRuntime),
    // What a user's program imports, and programs that import nothing else.
    .target(
      name: "Lockstep",
      dependencies: [
        "Training", "Reporting", "BERT", "Batches", "Kernels", "Checkpoints", "Collectives", "Datasets", "Tokenization",
        "System",
      ]),
    .executableTarget(
      name: "manual-loop", dependencies: ["Lockstep"], path: "Examples/ManualLoop", linkerSettings: staticRuntime),
    .executableTarget(
      name: "accelerated-loop", dependencies: ["Lockstep"], path: "Examples/AcceleratedLoop",
      linkerSettings: staticRuntime),
    .executableTarget(
      name: "own-task", dependencies: ["Lockstep"], path: "Examples/OwnTask", linkerSettings: staticRuntime),

    // Names to local folders: the cache of the Hugging Face hub, and what fills it. Only the front-end links it.
    .target(
      name: "Hub", dependencies: ["CCurl", "CZlib", "JSON", "System"],
      linkerSettings: [.linkedLibrary(":libz.a")]),
    // The front-end: links neither MPI nor BLAS.
    .target(
      name: "Launcher", dependencies: ["System", "JSON", "FlightRecorder", "CProcess", "CYAML"],
      // The launcher's binary is every rank's agent, also on hosts that have no libyaml.
      linkerSettings: [.linkedLibrary(":libyaml.a")]),
    .executableTarget(
      name: "launch-cli",
      dependencies: [
        "Launcher", "Hub", "Datasets", "Checkpoints", "Safetensors", "JSON", "System", argumentParser,
      ],
      linkerSettings: staticRuntime),

    // Goldens, comparisons that name the worst element, processes, what a machine must have: shared by test targets.
    .target(
      name: "TestSupport",
      dependencies: ["BERT", "Batches", "Kernels", "Datasets", "Safetensors", "Tokenization", "System"],
      path: "Tests/Support/TestSupport"),
    .testTarget(name: "SystemTests", dependencies: ["System", "TestSupport"]),
    .testTarget(name: "JSONTests", dependencies: ["JSON", "System"]),
    .testTarget(
      name: "KernelsTests", dependencies: ["Kernels", "CPU", "TestSupport"], exclude: ["fit_polynomials.py"]),
    .testTarget(name: "BERTTests", dependencies: ["BERT", "Kernels", "Safetensors", "TestSupport"]),
    .testTarget(
      name: "TokenizationTests", dependencies: ["Tokenization", "JSON", "System", "TestSupport"],
      exclude: ["fuzz.py", "make_goldens.py", "make_unicode_tables.py", "Goldens"]),
    .testTarget(name: "DatasetsTests", dependencies: ["Datasets", "Batches", "TestSupport"]),
    .testTarget(
      name: "CorpusTests", dependencies: ["Corpus", "Datasets", "Tokenization", "System"],
      exclude: ["train_in_torch.py"]),
    .testTarget(
      name: "SafetensorsTests", dependencies: ["Safetensors", "System", "TestSupport"], exclude: ["differential.py"]
    ),
    .testTarget(
      name: "TorchPickleTests", dependencies: ["TorchPickle", "System", "TestSupport"],
      exclude: ["make_files.py", "Files"]),
    .testTarget(name: "WeightFilesTests", dependencies: ["WeightFiles", "Safetensors", "System", "TestSupport"]),
    .testTarget(name: "CheckpointsTests", dependencies: ["Checkpoints", "System", "TestSupport"]),
    .testTarget(name: "CollectivesTests", dependencies: ["Collectives", "System", "rankcheck", "TestSupport"]),
    // What the tests of Collectives run under mpirun.
    .executableTarget(
      name: "rankcheck", dependencies: ["Collectives", "FlightRecorder", "System"], path: "Tests/Support/rankcheck"),
    // Every reader of input from outside, with changed good input.
    .executableTarget(
      name: "fuzz",
      dependencies: [
        "BERT", "Inference", "Datasets", "Tokenization", "Safetensors", "WeightFiles", "JSON", "Checkpoints",
        "Launcher", "Hub", "FlightRecorder", "System", "TestSupport",
      ], path: "Tests/Fuzz"),
    .testTarget(name: "FuzzTests", dependencies: ["fuzz", "TestSupport"]),
    .testTarget(
      name: "LockstepTests", dependencies: ["Lockstep", "Collectives", "Safetensors", "System", "TestSupport"]),
    .testTarget(
      name: "InferenceTests",
      dependencies: ["RunReport", "Inference", "Training", "Reporting", "Datasets", "JSON", "System", "TestSupport"]),
    .testTarget(
      name: "DataParallelTests", dependencies: ["DataParallel", "Collectives", "Kernels", "System", "TestSupport"]),
    .testTarget(name: "ReportingTests", dependencies: ["Reporting"]),
    .testTarget(
      name: "TrainingTests",
      dependencies: ["Training", "DataParallel", "Reporting", "Checkpoints", "Kernels", "TestSupport"]),
    // The real programs, as a user starts them.
    .testTarget(name: "FinetuneTests", dependencies: ["TestSupport", "Checkpoints", "Safetensors", "System"]),
    .testTarget(
      name: "HubTests", dependencies: ["Hub", "BERT", "Datasets", "Tokenization", "JSON", "System", "TestSupport"]),
    .testTarget(name: "LauncherTests", dependencies: ["Launcher", "System", "TestSupport"]),
  ],
  swiftLanguageModes: [.v6]
)

// The tests of whole programs run those of the usual build, and are half of the work of building tests.
if isChecked { package.targets.removeAll { ["FinetuneTests", "HubTests", "LauncherTests"].contains($0.name) } }
