import Foundation
import Glibc
import Testing

/// A host of its own on a wire of its own, as a network namespace: what is sent over the wire can be dropped in both directions, and
/// nobody is told.
package struct Network {
  /// Whether this process may make one.
  package static let isPossible: Bool = {
    getuid() == 0
      && ["ip", "tc"].allSatisfy { tool in
        ["/usr/sbin/", "/sbin/", "/usr/bin/"].contains { FileManager.default.isExecutableFile(atPath: $0 + tool) }
      }
  }()

  package let name: String
  /// Of this side of the wire, where the server listens.
  package let address: String
  private let wires: [String]

  /// What makes a command run on the other host.
  package var prefix: [String] { ["ip", "netns", "exec", name] }

  package static func with(_ body: (Network) async throws -> Void) async throws {
    let number = Int(getpid()) % 16_000
    // Of the block that is set aside for benchmarks of networks.
    let net = "198.\(18 + number / 8_192).\(number / 32 % 256).\(number % 32 * 8)"
    let host = net.split(separator: ".").prefix(3).joined(separator: ".")
    let last = number % 32 * 8
    let network = Network(
      name: "tidemark-\(number)", address: "\(host).\(last + 1)", wires: ["tmh\(number)", "tmn\(number)"])
    do {
      try await network.build("\(host).\(last + 2)")
      try await body(network)
      await network.remove()
    } catch {
      await network.remove()
      throw error
    }
  }

  package func cut() async throws {
    try await run("tc", "qdisc", "add", "dev", wires[0], "root", "blackhole")
    try await run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", wires[1], "root", "blackhole")
  }

  package func heal() async throws {
    try await run("tc", "qdisc", "del", "dev", wires[0], "root")
    try await run("ip", "netns", "exec", name, "tc", "qdisc", "del", "dev", wires[1], "root")
  }

  private func build(_ other: String) async throws {
    try await run("ip", "netns", "add", name)
    try await run("ip", "link", "add", wires[0], "type", "veth", "peer", "name", wires[1], "netns", name)
    try await run("ip", "addr", "add", "\(address)/30", "dev", wires[0])
    try await run("ip", "link", "set", wires[0], "up")
    try await run("ip", "-n", name, "addr", "add", "\(other)/30", "dev", wires[1])
    try await run("ip", "-n", name, "link", "set", wires[1], "up")
    try await run("ip", "-n", name, "link", "set", "lo", "up")
  }

  private func remove() async {
    _ = try? await Program.command(["ip", "link", "del", wires[0]])
    _ = try? await Program.command(["ip", "netns", "del", name])
  }

  private func run(_ words: String...) async throws {
    let outcome = try await Program.command(words)
    try #require(outcome.code == 0, "\(words): \(outcome.error)")
  }
}
