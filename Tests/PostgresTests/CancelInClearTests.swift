import Foundation
import Glibc
import Postgres
import Sandbox
import Synchronization
import Testing

/// What the first packet of each connection through it asks for.
private final class Onlooker: Sendable {
  enum First: Hashable { case encryption, cancellation, other }

  let port: Int
  private let listener: Int32
  private let seen = Mutex<[First]>([])

  init(before target: Int) throws {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    self.listener = listener
    var address = Self.loopback(0)
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, size) == 0 && listen(listener, 16) == 0 ? getsockname(listener, $0, &size) : -1
      }
    }
    try #require(status == 0)
    port = Int(UInt16(bigEndian: address.sin_port))
    Thread.detachNewThread { [self] in
      while case let client = accept(listener, nil, nil), client >= 0 {
        Thread.detachNewThread { [self] in pass(client, to: target) }
      }
    }
  }

  var firsts: [First] { seen.withLock { $0 } }

  func end() { shutdown(listener, Int32(SHUT_RDWR)) }

  private func pass(_ client: Int32, to target: Int) {
    let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = Self.loopback(target)
    let status = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    var isFirst = true
    while status == 0 {
      var polled = [client, server].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      guard poll(&polled, 2, -1) > 0 else { continue }
      let (from, to) = polled[0].revents != 0 ? (client, server) : (server, client)
      var buffer = [UInt8](repeating: 0, count: 65_536)
      let count = read(from, &buffer, buffer.count)
      guard count > 0 else { break }
      if isFirst, from == client {
        isFirst = false
        let code = buffer[4..<8].reduce(0) { $0 << 8 | Int($1) }
        seen.withLock { $0.append(code == 80_877_103 ? .encryption : code == 80_877_102 ? .cancellation : .other) }
      }
      guard send(to, buffer, count, Int32(MSG_NOSIGNAL)) == count else { break }
    }
    close(client)
    close(server)
  }

  private static func loopback(_ port: Int) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return address
  }
}

@Suite struct `A request to cancel` {
  /// It holds the key of the session.
  @Test func `is never in the clear where the session is not`() async throws {
    let cluster = try await PrivateCluster.start(
      settings: ["fsync": "off", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key"], listensOnTCP: true)
    do {
      let openssl = Process()
      openssl.executableURL = URL(filePath: "/usr/bin/openssl")
      openssl.arguments =
        "req -new -x509 -days 3 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost -out server.crt -keyout server.key"
        .split(separator: " ").map(String.init)
      openssl.currentDirectoryURL = URL(filePath: cluster.directory + "/data")
      openssl.standardError = FileHandle.nullDevice
      try openssl.run()
      openssl.waitUntilExit()
      let key = cluster.directory + "/data/server.key"
      var owner = stat()
      stat(cluster.directory + "/data", &owner)
      chown(key, owner.st_uid, owner.st_gid)
      chmod(key, 0o600)
      let plain = try await Session.connect(ConnectionOptions(conninfo: cluster.conninfo(database: "postgres")))
      try await plain.script("ALTER SYSTEM SET ssl = on")
      try await plain.script("SELECT pg_reload_conf()")

      for mode in ["require", "disable"] {
        let onlooker = try Onlooker(before: cluster.port)
        // One of several hosts: the request goes to the one that the session has reached.
        let options = ConnectionOptions(
          conninfo:
            "host=127.0.0.1,127.0.0.1 port=1,\(onlooker.port) user=postgres dbname=postgres sslmode=\(mode) gssencmode=disable"
        )
        let deadline = ContinuousClock.now + .seconds(60)
        var connected: Session?
        while connected == nil {
          do { connected = try await Session.connect(options) } catch {
            // The server has not read its settings yet.
            try #require(ContinuousClock.now < deadline, "\(error)")
            try await Task.sleep(for: .milliseconds(20))
          }
        }
        let session = connected!
        let before = onlooker.firsts.count
        let waiting = Task { try await session.execute("SELECT pg_sleep(600)") }
        try await plain.untilActive(session.processID)
        waiting.cancel()
        let error = await #expect(throws: PostgresError.self) { try await waiting.value }
        #expect(error?.isCancelled == true)
        #expect(session.isOpen, "the server ended the statement, not the session")
        #expect(try await session.value("SELECT 1", as: Int.self) == 1)
        #expect(Array(onlooker.firsts.dropFirst(before)) == [mode == "require" ? .encryption : .cancellation])
        await session.close()
        onlooker.end()
      }
      await plain.close()
    } catch {
      await cluster.remove()
      throw error
    }
    await cluster.remove()
  }
}
