import Glibc
import Launcher
import System
import TestSupport
import Testing

/// What a killed mpirun leaves is removed; nothing else, whatever lies about.
@Suite struct RemainsTests {
  /// A host's folders, with a session of the process 4711 and memory of its job.
  final class Host {
    let folder: String
    var places = JobRemains.Places(Environment())
    var top: String { "\(places.temporary[0])/ompi.\(places.host).\(geteuid())" }

    init() throws {
      folder = try temporaryFolder()
      places.temporary = ["\(folder)/tmp"]
      places.memory = "\(folder)/shm"
      places.host = "a.example.org"
      try makeDirectory(places.memory)
      try write("tmp/ompi.a.example.org.\(geteuid())/pid.4711/0/x")
      try write("tmp/ompi.a.example.org.\(geteuid())/pid.4711/contact.txt", "1060438016.0;tcp://192.0.2.2:1\n")
      try write("victim/precious")
    }

    deinit {
      OwnFolder(temporary: parent(of: folder))?.removeTree(String(folder.dropFirst(parent(of: folder).count + 1)))
    }

    func write(_ name: String, _ text: String = "") throws {
      try makeDirectory(parent(of: "\(folder)/\(name)"))
      try writeAtomically(Array(text.utf8), to: "\(folder)/\(name)")
    }

    func has(_ name: String) -> Bool { exists("\(folder)/\(name)") }
  }

  @Test func sessionAndMemoryOfTheJobGo() throws {
    let host = try Host()
    // The job of that session, and its neighbour of the same family; then another's.
    for job in ["3f350001", "3f350002", "3f360001"] { try host.write("shm/vader_segment.a.\(geteuid()).\(job).0") }
    try host.write("shm/vader_segment.b.\(geteuid()).3f350001.0")
    try host.write("shm/vader_segment.a.\(geteuid() + 1).3f350001.0")
    try host.write("shm/sem.vader_segment.a.\(geteuid()).3f350001.0")
    JobRemains(holder: 4711).remove(from: host.places)
    #expect(!exists("\(host.top)/pid.4711"))
    #expect(
      Set(names(in: host.places.memory)) == [
        "vader_segment.a.\(geteuid()).3f360001.0", "vader_segment.b.\(geteuid()).3f350001.0",
        "vader_segment.a.\(geteuid() + 1).3f350001.0", "sem.vader_segment.a.\(geteuid()).3f350001.0",
      ])
  }

  @Test func sessionsOfOtherJobsStay() throws {
    let host = try Host()
    try host.write("tmp/ompi.4712/x")
    JobRemains(holder: 4712, family: 7).remove(from: host.places)
    #expect(exists("\(host.top)/pid.4711/0/x"))
    #expect(!host.has("tmp/ompi.4712"))
  }

  @Test func linksLeadNowhere() throws {
    let host = try Host()
    symlink("\(host.folder)/victim", "\(host.top)/pid.4711/0/link")
    symlink("\(host.folder)/victim", "\(host.folder)/tmp/ompi.4711")
    JobRemains(holder: 4711).remove(from: host.places)
    #expect(!exists("\(host.top)/pid.4711"))
    #expect(host.has("victim/precious"))

    symlink("\(host.folder)/victim", "\(host.top)/pid.4711")
    JobRemains(holder: 4711).remove(from: host.places)
    #expect(host.has("victim/precious"))

    // Nor a link in place of the user's folder.
    try host.write("victim/pid.4711/precious")
    rename(host.top, "\(host.folder)/away")
    symlink("\(host.folder)/victim", host.top)
    JobRemains(holder: 4711).remove(from: host.places)
    #expect(host.has("victim/pid.4711/precious"))
  }

  @Test(.needs(.givingFiles)) func otherUsersFilesStay() throws {
    let host = try Host()
    try host.write("tmp/ompi.a.example.org.0/pid.4711/theirs/x")
    chown("\(host.top)/pid.4711/theirs", 65_534, 65_534)
    JobRemains(holder: 4711).remove(from: host.places)
    #expect(exists("\(host.top)/pid.4711/theirs/x"))
    #expect(!exists("\(host.top)/pid.4711/0"))
    chown(host.top, 65_534, 65_534)
    try host.write("tmp/ompi.a.example.org.0/pid.4711/0/x")
    JobRemains(holder: 4711).remove(from: host.places)
    #expect(exists("\(host.top)/pid.4711/0/x"))
  }

  /// A name never climbs out of its folder.
  @Test(arguments: ["", ".", "..", "../victim", "victim/..", "/etc"]) func pathsAreNoNames(_ name: String) throws {
    let host = try Host()
    let folder = try #require(OwnFolder(temporary: "\(host.folder)/victim"))
    #expect(folder.child(name) == nil)
    folder.removeTree(name)
    folder.removeFile(name)
    #expect(host.has("victim/precious"))
  }
}
