import Glibc
import System

/// The names and addresses by which a hostfile can mean this machine.
public struct LocalHostNames: Sendable, ExpressibleByStringLiteral {
  /// The name that the kernel has.
  public let hostName: String
  /// Of its interfaces, as text.
  private let addresses: Set<String>
  /// The addresses of a name; a closure so that tests need no resolver.
  private let resolve: @Sendable (String) -> [String]

  public init(
    hostName: String, addresses: Set<String> = [], resolve: @escaping @Sendable (String) -> [String] = { _ in [] }
  ) {
    self.hostName = hostName.lowercased()
    self.addresses = addresses
    self.resolve = resolve
  }

  /// A machine without a network.
  public init(stringLiteral hostName: String) { self.init(hostName: hostName) }

  /// Of this machine.
  public static func ofThisMachine(hostName: String) -> LocalHostNames {
    LocalHostNames(
      hostName: hostName, addresses: NetworkInterfaces.addresses, resolve: NetworkInterfaces.addresses(of:))
  }

  /// Whether `name` means this machine.
  ///
  /// node1 and node1.example.org are one machine where only one of them has the domain; where both have one, or only the
  /// hostfile has, the addresses decide: node1.other.org is another machine.
  public func contains(_ name: String) -> Bool {
    let name = name.lowercased()
    if name == hostName || name == "localhost" || name.hasPrefix("127.") { return true }
    if name.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2E }) { return addresses.contains(name) }
    guard Self.first(name) == Self.first(hostName) else { return false }
    if !name.utf8.contains(UInt8(ascii: ".")) { return true }
    let found = resolve(name)
    if found.isEmpty { return !hostName.utf8.contains(UInt8(ascii: ".")) }
    return found.contains { addresses.contains($0) || $0.hasPrefix("127.") }
  }

  /// How mpirun knows this machine, where `name` means it and mpirun might not see that.
  func nameForMPI(_ name: String) -> String? {
    let folded = name.lowercased()
    guard folded != hostName, folded != "localhost", !folded.hasPrefix("127."), contains(name) else { return nil }
    return hostName
  }

  /// What stands before the first dot.
  private static func first(_ name: String) -> Substring { name.prefix { $0 != "." } }
}
