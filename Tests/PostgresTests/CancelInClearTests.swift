import Foundation
import Glibc
import Postgres
import Sandbox
import Synchronization
import TestSupport
import Testing

/// What a connection's first packet asks for.
private enum First {
  case encryption, cancellation, other

  init(_ packet: [UInt8]) {
    let code = packet.dropFirst(4).prefix(4).reduce(0) { $0 << 8 | Int($1) }
    self = code == 80_877_103 ? .encryption : code == 80_877_102 ? .cancellation : .other
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
        let firsts = Mutex<[First]>([])
        let proxy = try Proxy(to: cluster.port) { packet in firsts.withLock { $0.append(First(packet)) } }
        // One of several hosts: the request goes to the one that the session has reached.
        let options = ConnectionOptions(
          conninfo:
            "host=127.0.0.1,127.0.0.1 port=1,\(proxy.port) user=postgres dbname=postgres sslmode=\(mode) gssencmode=disable"
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
        let before = firsts.withLock { $0.count }
        let waiting = Task { try await session.execute("SELECT pg_sleep(600)") }
        try await plain.untilActive(session.processID)
        waiting.cancel()
        let error = await #expect(throws: PostgresError.self) { try await waiting.value }
        #expect(error?.isCancelled == true)
        #expect(session.isOpen, "the server ended the statement, not the session")
        #expect(try await session.value("SELECT 1", as: Int.self) == 1)
        #expect(firsts.withLock { Array($0.dropFirst(before)) } == [mode == "require" ? .encryption : .cancellation])
        await session.close()
        proxy.end()
      }
      await plain.close()
    } catch {
      await cluster.remove()
      throw error
    }
    await cluster.remove()
  }
}
