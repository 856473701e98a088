import CLibpq
import Foundation
@testable import Postgres
import Sandbox
import Synchronization
import Testing

@Suite struct `A session` {
  @Test func `sends binds as values, never as text of the statement`() async throws {
    try await withSession { session async throws in
      let text = "'; DROP TABLE x; -- \\ \" é 🌊"
      #expect(try await session.value("SELECT \(text)") == text)
      #expect(try await session.value("SELECT \(Int64.max) - 1", as: Int64.self) == .max - 1)
      #expect(try await session.value("SELECT \(1.5) * 2", as: Double.self) == 3)
      #expect(try await session.value("SELECT NOT \(true)", as: Bool.self) == false)
      #expect(try await session.value("SELECT \(nil as String?)", as: String?.self) == nil)
      #expect(try await session.value("SELECT cardinality(\(["a", "b\"\\,", ""])::text[])", as: Int.self) == 3)
      #expect(try await session.value("SELECT (\(["a", "b\"\\,{}"])::text[])[2]") == "b\"\\,{}")
      #expect(try await session.value("SELECT 1 AS \(identifier: "odd \" name")", as: Int.self) == 1)
    }
  }

  @Test func `reports why a statement failed`() async throws {
    try await withSession { session async throws in
      let error = await #expect(throws: PostgresError.self) {
        try await session.execute("SELECT\n nothing FROM pg_class")
      }
      #expect(error?.sqlState == .undefinedColumn)
      #expect(error?.statementPosition == 9)
      #expect(error?.message == "column \"nothing\" does not exist")
      #expect(error?.isConnectionLoss == false)
      #expect(try await session.value("SELECT 1", as: Int.self) == 1)
    }
  }

  @Test func `reports the expected type of a column`() async throws {
    try await withSession { session async throws in
      let row = try await session.execute("SELECT NULL::int AS a, 'x' AS b").rows[0]
      #expect(throws: PostgresError(.decoding("column a expected Int, got NULL"))) { try row.get("a", as: Int.self) }
      #expect(throws: PostgresError(.decoding("column b expected Int, got another type"))) {
        try row.get("b", as: Int.self)
      }
      #expect(throws: PostgresError(.decoding("expected a column c, got a, b"))) { try row.get("c", as: Int.self) }
    }
  }

  /// libpq would send only the part before it.
  @Test func `refuses the character NUL as the server would, and stays usable`() async throws {
    try await withSession { session async throws in
      for statement: SQL in ["SELECT \("a\0b")::text", SQL(text: "SELECT 1 \0 / 0")] {
        // The second time, everything is already prepared.
        for _ in 1...2 {
          let error = await #expect(throws: PostgresError.self) {
            try await session.pipeline(["SELECT \("ab")::text", statement])
          }
          #expect(error?.sqlState == "22021" && error?.statementIndex == 1)
          #expect(await session.transactionStatus == .idle)
        }
        let error = await #expect(throws: PostgresError.self) { try await session.execute(statement) }
        #expect(error?.sqlState == "22021")
      }
      #expect(try await session.prepared("SELECT \("ab")::text").rows[0].get(0, as: String.self) == "ab")
    }
  }

  @Test func `runs a pipeline in one round trip, and reports which statement failed`() async throws {
    try await withSession { session async throws in
      let results = try await session.pipeline(["BEGIN", "SELECT \(1) + 1 AS n", "COMMIT"])
      #expect(try results[1].rows[0].get("n", as: Int.self) == 2)
      let error = await #expect(throws: PostgresError.self) {
        try await session.pipeline(["BEGIN", "SELECT 1", "SELECT 1 / \(0)", "SELECT 2", "COMMIT"])
      }
      #expect(error?.statementIndex == 2)
      #expect(error?.sqlState == .divisionByZero)
      #expect(await session.transactionStatus == .failed)
      await session.rollBack()
      #expect(await session.transactionStatus == .idle)
    }
  }

  @Test func `sends a pipeline far larger than the buffers of both sides`() async throws {
    try await withSession { session async throws in
      let text = String(repeating: "x", count: 20_000)
      let results = try await session.pipeline((0..<2_000).map { "SELECT \($0) AS n, \(text) AS t" })
      #expect(try results.map { try $0.rows[0].get("n", as: Int.self) } == Array(0..<2_000))
      #expect(results.allSatisfy { $0.rows[0].text(1)?.count == 20_000 })
    }
  }

  @Test func `prepares each text once, and may prepare more texts than it keeps`() async throws {
    try await withSession { session async throws in
      for round in 0..<1_200 {
        let n = try await session.prepared(SQL(text: "SELECT \(round % 700) AS n")).rows[0].get("n", as: Int.self)
        #expect(n == round % 700)
      }
      #expect(try await session.value("SELECT count(*) FROM pg_prepared_statements", as: Int.self) <= 500)
    }
  }

  @Test func `prepares statements again after DISCARD or a failed transaction`() async throws {
    try await withSession { session async throws in
      _ = try? await session.pipeline(["BEGIN", "SELECT 1 / 0", "SELECT 'never parsed'"])
      await session.rollBack()
      #expect(try await session.pipeline(["SELECT 'never parsed' AS x"])[0].rows.count == 1)
    }
  }

  @Test func `rolls a transaction back when its body throws`() async throws {
    struct Stop: Error {}
    try await withSession { session async throws in
      try await session.script("CREATE TEMP TABLE t (n int)")
      await #expect(throws: Stop.self) {
        try await session.transaction { session in
          try await session.execute("INSERT INTO t VALUES (1)")
          throw Stop()
        }
      }
      #expect(try await session.value("SELECT count(*) FROM t", as: Int.self) == 0)
      let n = try await session.transaction { session in
        try await session.execute("INSERT INTO t VALUES (1) RETURNING n").rows[0].get("n", as: Int.self)
      }
      #expect(n == 1)
      #expect(try await session.value("SELECT count(*) FROM t", as: Int.self) == 1)
    }
  }

  @Test func `reports a commit that the server turned into a rollback`() async throws {
    _ = try await withSession { session async throws in
      await #expect(throws: PostgresError.self) {
        try await session.transaction { session in _ = try? await session.execute("SELECT 1 / 0") }
      }
    }
  }

  @Test func `copies rows out without keeping them in memory`() async throws {
    try await withSession { session async throws in
      let bytes = Mutex(0)
      let rows = try await session.copyOut("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 20000)) TO STDOUT") {
        row in
        bytes.withLock { $0 += row.count }
      }
      #expect(rows == 20_000)
      #expect(bytes.withLock { $0 } == 20_000 * 1_001)
    }
  }

  @Test func `ends a copy whose reader throws, and stays usable`() async throws {
    struct Stop: Error {}
    try await withSession { session async throws in
      await #expect(throws: Stop.self) {
        try await session.copyOut("COPY (SELECT generate_series(1, 50000000)) TO STDOUT") { _ in throw Stop() }
      }
      #expect(try await session.value("SELECT 1", as: Int.self) == 1)
    }
  }

  @Test func `passes notices on`() async throws {
    let notices = Mutex<[ServerMessage]>([])
    let session = try await Session.connect(
      try await SharedCluster.options(), onNotice: { n in notices.withLock { $0.append(n) } })
    try await session.script("DO $$ BEGIN RAISE NOTICE 'low tide'; END $$")
    await session.close()
    #expect(notices.withLock { $0.map(\.message) } == ["low tide"])
  }

  @Test func `that ends under its own statement has the server's reason, with its code`() async throws {
    let sql: SQL = "SELECT pg_terminate_backend(pg_backend_pid())"
    for run: @Sendable (Session) async throws -> Void in [
      { try await $0.execute(sql) }, { _ = try await $0.pipeline(["SELECT 1", sql, "SELECT 2"]) },
    ] {
      try await withSession { session async throws in
        let error = await #expect(throws: PostgresError.self) { try await run(session) }
        #expect(error?.sqlState?.code == "57P01" && error?.isConnectionLoss == true, "\(error!)")
        #expect(!session.isOpen)
      }
    }
  }

  @Test func `that was terminated reports it, and is not open`() async throws {
    try await withSession { session async throws in
      _ = try await withSession { try await $0.execute("SELECT pg_terminate_backend(\(Int(session.processID))::int)") }
      let error = await #expect(throws: PostgresError.self) { try await session.execute("SELECT 1") }
      #expect(error?.isConnectionLoss == true)
      #expect(session.isOpen == false)
    }
  }
}

@Suite struct `Connecting` {
  @Test func `sets keepalives unless the operator did`() async throws {
    try await withSession { session async throws in
      let socket = await session.socket
      #expect(option(SOL_SOCKET, SO_KEEPALIVE, of: socket) == 1)
      #expect((1...60).contains(option(Int32(IPPROTO_TCP), TCP_KEEPIDLE, of: socket)))
      #expect((1...60_000).contains(option(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, of: socket)))
    }
    var options = try await SharedCluster.options()
    options.conninfo += " keepalives_idle=77 tcp_user_timeout=99000"
    let session = try await Session.connect(options)
    let socket = await session.socket
    #expect(option(Int32(IPPROTO_TCP), TCP_KEEPIDLE, of: socket) == 77)
    #expect(option(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, of: socket) == 99_000)
    await session.close()
  }

  private func option(_ level: Int32, _ name: Int32, of socket: Int32) -> Int32 {
    var value: Int32 = -1
    var size = socklen_t(MemoryLayout<Int32>.size)
    getsockopt(socket, level, name, &value, &size)
    return value
  }

  @Test func `uses UTF-8 and sets the daemon's application name`() async throws {
    try await withSession { session async throws in
      #expect(try await session.value("SHOW client_encoding") == "UTF8")
      #expect(try await session.value("SHOW application_name") == "tidemark")
    }
  }

  @Test func `fails with a connection error that does not show the password`() async throws {
    let options = ConnectionOptions(conninfo: "host=/nowhere user=u password=hush dbname=d")
    let error = await #expect(throws: PostgresError.self) { try await Session.connect(options) }
    #expect(error?.isConnectionLoss == true)
    #expect(error?.message.contains("hush") == false)
    #expect(options.redacted == "host=/nowhere port=5432 dbname=d user=u")
  }

  @Test func `refuses an unreadable connection string without showing it`() async throws {
    let error = await #expect(throws: PostgresError.self) {
      try await Session.connect(ConnectionOptions(conninfo: "host=h pasword=hush"))
    }
    #expect(error?.isConnectionLoss == false)
    #expect(error?.message.contains("hush") == false)
  }

  @Test(.timeLimit(.minutes(1))) func `times out on a server that does not answer`() async throws {
    // A socket that accepts connections and never answers.
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(listener) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        _ = bind(listener, pointer, size)
        _ = listen(listener, 5)
        _ = getsockname(listener, pointer, &size)
      }
    }
    let port = UInt16(bigEndian: address.sin_port)
    let options = ConnectionOptions(conninfo: "host=127.0.0.1 port=\(port) user=u", connectTimeout: .seconds(1))
    await #expect(throws: PostgresError.self) { try await Session.connect(options) }
  }

  @Test func `can be cancelled`() async throws {
    let task = Task {
      try await Session.connect(ConnectionOptions(conninfo: "host=192.0.2.1 user=u", connectTimeout: .seconds(60)))
    }
    task.cancel()
    await #expect(throws: PostgresError.self) { try await task.value }
  }
}

extension Session {
  fileprivate var socket: Int32 { PQsocket(connection.pointer) }
}
