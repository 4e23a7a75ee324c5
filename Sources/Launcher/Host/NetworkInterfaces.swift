import Glibc

/// What the system knows of this machine's network.
enum NetworkInterfaces {
  /// The IPv4 addresses of all interfaces.
  static var addresses: Set<String> { Set(all.compactMap(\.address)) }

  /// Whether the loopback interface is up.
  static var isLoopbackUp: Bool {
    let wanted = UInt32(IFF_LOOPBACK | IFF_UP)
    return all.contains { $0.flags & wanted == wanted }
  }

  private static var all: [(flags: UInt32, address: String?)] {
    var list: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&list) == 0 else { return [] }
    defer { freeifaddrs(list) }
    var found: [(UInt32, String?)] = []
    var next = list
    while let interface = next {
      found.append((interface.pointee.ifa_flags, interface.pointee.ifa_addr.flatMap { text($0) }))
      next = interface.pointee.ifa_next
    }
    return found
  }

  /// The IPv4 addresses that `name` stands for.
  static func addresses(of name: String) -> [String] {
    var hints = addrinfo()
    hints.ai_family = AF_INET
    var list: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(name, nil, &hints, &list) == 0 else { return [] }
    defer { freeaddrinfo(list) }
    var found: [String] = []
    var next = list
    while let entry = next {
      if let address = entry.pointee.ai_addr, let text = text(address) { found.append(text) }
      next = entry.pointee.ai_next
    }
    return found
  }

  private static func text(_ address: UnsafeMutablePointer<sockaddr>) -> String? {
    guard address.pointee.sa_family == sa_family_t(AF_INET) else { return nil }
    let bytes = address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { pointer in
      withUnsafeBytes(of: pointer.pointee.sin_addr.s_addr) { Array($0) }
    }
    return bytes.map { "\($0)" }.joined(separator: ".")
  }
}
