import Foundation
import Glibc
import Postgres
import Sandbox
import TestSupport
import Testing

/// A real PgBouncer before the server.
@Suite(.gated, .enabled(if: Bouncer.isInstalled, "pgbouncer is not installed")) struct `Behind PgBouncer` {
  @Test func `locks in transaction mode are refused, with the remedy`() async throws {
    let cluster = try await PrivateCluster.start(settings: ["fsync": "off"])
    try await Bouncer.with(cluster, mode: "transaction") { bouncer in
      try await Fleet.with(counters: 2, on: cluster) { fleet in
        let pooled = fleet.database.conninfo.replacing("port=\(cluster.port)", with: "port=\(bouncer.port)")
        for head in ["mode = \"hotcold\"", "mode = \"solo\""] {
          let config = try Program.settings(
            fleet.database.conninfo, fleet.projections, head: head, database: "lock_url = \"\(pooled)\"")
          let outcome = try await Program.run(["run", "-c", config])
          #expect(outcome.code == 1 && !outcome.error.contains("Ready"), "\(outcome)")
          #expect(
            outcome.error.contains("TM212") && outcome.error.contains("its backend changes between two statements")
              && outcome.error.contains("Set database.lock_url to a direct connection"), "\(outcome.error)")
        }
        let left = try await fleet.database.value(
          "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", as: Int.self)
        #expect(left == 0, "no lock stays behind in the pool")
      }
    }
    await cluster.remove()
  }

  @Test func `shards in transaction mode are refused, with the remedy`() async throws {
    let cluster = try await PrivateCluster.start(settings: ["fsync": "off"])
    try await Bouncer.with(cluster, mode: "transaction") { bouncer in
      try await Fleet.with(counters: 2, on: cluster) { fleet in
        let pooled = fleet.database.conninfo.replacing("port=\(cluster.port)", with: "port=\(bouncer.port)")
        let outcome = try await Program.run([
          "run", "-c",
          try fleet.config(conninfo: pooled, database: "lock_url = \"\(fleet.database.conninfo)\""),
        ])
        #expect(outcome.code == 1 && outcome.error.contains("TM212"), "\(outcome)")
        #expect(outcome.error.contains("pool_mode = session"), "\(outcome.error)")
      }
    }
    await cluster.remove()
  }

  /// In session mode a session is one, and the locks may go past the pooler or through it.
  @Test(arguments: [true, false])
  func `several nodes share the shards in session mode`(hasLockURL: Bool) async throws {
    let cluster = try await PrivateCluster.start(settings: ["fsync": "off"])
    try await Bouncer.with(cluster, mode: "session") { bouncer in
      try await Fleet.with(counters: 6, on: cluster) { fleet in
        let direct = fleet.database.conninfo
        let pooled = direct.replacing("port=\(cluster.port)", with: "port=\(bouncer.port)")
        try await fleet.writing {
          for _ in 1...3 {
            try await fleet.start(
              try fleet.config(conninfo: pooled, database: hasLockURL ? "lock_url = \"\(direct)\"" : ""))
          }
          try await fleet.balanced(among: 3)
          try await fleet.kill(await fleet.nodes[0])
          try await fleet.balanced(among: 2)
        }
        try await fleet.isRight()
      }
    }
    await cluster.remove()
  }
}

/// The pooler, on the socket directory of a cluster.
private struct Bouncer {
  static let isInstalled = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].contains {
    FileManager.default.isExecutableFile(atPath: $0)
  }

  let port = 6432

  static func with(_ cluster: PrivateCluster, mode: String, _ body: (Bouncer) async throws -> Void) async throws {
    let bouncer = Bouncer()
    let file = try Program.file(
      """
      [databases]
      * = host=\(cluster.directory) port=\(cluster.port) user=postgres
      [pgbouncer]
      listen_addr =
      unix_socket_dir = \(cluster.directory)
      listen_port = \(bouncer.port)
      auth_type = any
      pool_mode = \(mode)
      max_client_conn = 400
      default_pool_size = 100
      pidfile = \(cluster.directory)/pgbouncer.pid
      """)
    chmod(file, 0o644)
    // Like the server, it refuses to run as root.
    let unprivileged =
      getuid() == 0 ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"] : []
    let running = Task { try await Program.command(unprivileged + ["pgbouncer", "-q", file]) }
    var pid: pid_t?
    try await eventually("the pooler answers") {
      pid = (try? String(contentsOfFile: "\(cluster.directory)/pgbouncer.pid", encoding: .utf8)).flatMap {
        pid_t($0.trimmingCharacters(in: .whitespacesAndNewlines))
      }
      return pid != nil && FileManager.default.fileExists(atPath: "\(cluster.directory)/.s.PGSQL.\(bouncer.port)")
    }
    let result: Result<Void, any Error>
    do {
      try await body(bouncer)
      result = .success(())
    } catch {
      result = .failure(error)
    }
    kill(pid!, SIGTERM)
    _ = try await running.value
    try result.get()
  }
}
