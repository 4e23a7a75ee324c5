import CProcess
import Glibc
import System

/// Sees to it that the mpirun of a job on this host alone cannot be reached from other hosts.
///
/// It listens for daemons of other hosts at every address, and no option keeps it from that. Its sockets are bound to
/// the loopback interface from here, on which ranks of this host reach it by any address. Where the system allows no
/// process to do so for another, all stays as mpirun has it.
package enum LocalListeners {
  /// Binds the sockets on which `pid` listens at every address.
  package static func bind(of pid: pid_t) {
    let process = lockstep_open_process(pid)
    guard process >= 0 else { return }
    defer { close(process) }
    for name in names(in: "/proc/\(pid)/fd") {
      guard let number = Int32(name), isSocket("/proc/\(pid)/fd/\(name)") else { continue }
      let copy = lockstep_copy_descriptor(process, number)
      guard copy >= 0 else { continue }
      defer { close(copy) }
      if listensEverywhere(copy) { setsockopt(copy, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) }
    }
  }

  private static func isSocket(_ path: String) -> Bool {
    var info = stat()
    return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFSOCK
  }

  private static func listensEverywhere(_ socket: Int32) -> Bool {
    var listens: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    guard getsockopt(socket, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0, listens != 0 else { return false }
    var storage = sockaddr_storage()
    size = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let status = withUnsafeMutablePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket, $0, &size) }
    }
    guard status == 0 else { return false }
    return withUnsafeBytes(of: storage) { bytes in
      // The address of IPv4 stands after family and port, that of IPv6 after those and the flow.
      switch Int32(storage.ss_family) {
      case AF_INET: bytes[4..<8].allSatisfy { $0 == 0 }
      case AF_INET6: bytes[8..<24].allSatisfy { $0 == 0 }
      default: false
      }
    }
  }
}
