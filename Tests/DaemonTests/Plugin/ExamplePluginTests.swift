import Daemon
import Foundation
import Postgres
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

private let examples = Program.package.appending(path: "etc/examples")

@Suite(.gated) struct `An example of a plugin` {
  @Test func `in shell appends a line for each event to a file`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installPlugin(
      [examples.appending(path: "append-to-file").path, programs.path("audit.txt")])
    try await database.append("order_placed", data: [#"{"text": "tab\t and \\ \"quote\""}"#, "[1, null]"])
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await database.append("order_paid", data: ["{}"])
      try await daemon.caughtUp()
    }
    // As a crash leaves it in the middle of a line: the events come again.
    let file = try FileHandle(forWritingTo: URL(filePath: programs.path("audit.txt")))
    try file.seekToEnd()
    try file.write(contentsOf: Data("3\t2026".utf8))
    try file.close()
    try await database.script(
      "UPDATE mt_event_progression SET last_seq_id = 1 WHERE name = 'Plug:All'; UPDATE tidemark.position SET last_seq_id = 1"
    )
    try await withDaemon(settings) { daemon in try await daemon.caughtUp() }
    let lines = programs.lines("audit.txt").map { $0.split(separator: "\t").map(String.init) }
    #expect(lines.map { $0[0] } == ["1", "2", "3", "2", "3"])
    try #require(lines.allSatisfy { $0.count == 4 })
    #expect(lines.map { $0[2] } == ["order_placed", "order_placed", "order_paid", "order_placed", "order_paid"])
    // As PostgreSQL wrote it; a tab within is an escape of JSON.
    #expect(lines[0][3] == #"{"text": "tab\t and \\ \"quote\""}"#)
    #expect(lines[1][3] == "[1, null]" && lines[3] == lines[1])
  }

  /// Whatever PostgreSQL takes as JSON: nested thousands of times, numbers of a hundred thousand digits, large texts, other keys.
  @Test func `takes every JSON that PostgreSQL takes, as it is`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let server = try programs.program(
      """
      #!/usr/bin/python3
      import http.server
      directory = \(String(reflecting: programs.directory))
      class Endpoint(http.server.BaseHTTPRequestHandler):
          def do_POST(self):
              body = self.rfile.read(int(self.headers["Content-Length"]))
              open(directory + "/bodies", "ab").write(body + b"\\n")
              self.send_response(200); self.end_headers()
          def log_message(self, *arguments): pass
      server = http.server.HTTPServer(("127.0.0.1", 0), Endpoint)
      open(directory + "/port", "w").write(str(server.server_port) + "\\n")
      server.serve_forever()
      """, name: "server")
    let serving = Task { try await Program.command([server]) }
    defer { serving.cancel() }
    try await eventually("the endpoint listens") { programs.lines("port").count == 1 }
    let (appending, posting) = (
      examples.appending(path: "append-to-file").path, examples.appending(path: "post-to-http").path
    )
    let settings = try await database.install(
      """
      [projections.Append]
      exec = ["\(appending)", "\(programs.path("lines"))"]
      [projections.Post]
      exec = ["\(posting)", "http://127.0.0.1:\(programs.lines("port")[0])/"]
      """)
    let deep = String(repeating: "[", count: 5_000) + String(repeating: "]", count: 5_000)
    try await database.append(data: [
      deep, "[1e100000, -1e-10000]", "\"\(String(repeating: "ü€", count: 300_000))\"",
      #"{"data": ",\"data\":", "headers": ",\"headers\":null", "seq_id": 7, "type": "\\"}"#, "null",
    ])
    try await withDaemon(settings) { daemon in try await daemon.caughtUp(within: .seconds(60)) }
    #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 0)
    let stored = try await database.value(
      "SELECT string_agg(data::text, E'\\n' ORDER BY seq_id) FROM mt_events", as: String.self
    ).split(separator: "\n").map(String.init)
    #expect(stored.count == 5 && stored[1].count > 100_000)
    #expect(programs.lines("lines").map { $0.split(separator: "\t").last.map(String.init) } == stored)
    #expect(programs.lines("lines").map { $0.split(separator: "\t")[0] } == ["1", "2", "3", "4", "5"])
    let bodies = programs.lines("bodies")
    #expect(bodies.count == 5 && zip(bodies, stored).allSatisfy { $0.hasSuffix(",\"data\":\($1)}") })
  }

  @Test func `in Python posts each event to an endpoint, and tells what that refuses`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    // Takes what it is sent, refuses what is bad, and is out of order for the first busy one.
    let server = try programs.program(
      """
      #!/usr/bin/python3
      import http.server, json
      directory = \(String(reflecting: programs.directory))
      left = {"busy": [503], "moved": [301, 301], "other": [303]}
      class Endpoint(http.server.BaseHTTPRequestHandler):
          def do_POST(self):
              body = self.rfile.read(int(self.headers["Content-Length"]))
              open(directory + "/bodies", "ab").write(body + b"\\n")
              event = json.loads(body)
              status = 422 if "bad" in event["data"] else 200
              for word in left:
                  if word in event["data"] and left[word]: status = left[word].pop()
              open(directory + "/posted", "a").write("%s %s %d\\n" % (self.headers["Idempotency-Key"], event["type"], status))
              self.send_response(status)
              if 300 <= status < 400: self.send_header("Location", "/elsewhere")
              self.end_headers()
          def do_GET(self):
              open(directory + "/posted", "a").write("GET\\n")
              self.send_response(200); self.end_headers()
          def log_message(self, *arguments): pass
      server = http.server.HTTPServer(("127.0.0.1", 0), Endpoint)
      open(directory + "/port", "w").write(str(server.server_port) + "\\n")
      server.serve_forever()
      """, name: "server")
    let serving = Task { try await Program.command([server]) }
    defer { serving.cancel() }
    try await eventually("the endpoint listens") { programs.lines("port").count == 1 }
    let settings = try await database.installPlugin(
      [examples.appending(path: "post-to-http").path, "http://127.0.0.1:\(programs.lines("port")[0])/events"])
    try await database.append("order_placed", data: ["{}", #"{"bad": 1}"#, #"{"busy": 1}"#, "{}"])
    try await withDaemon(settings) { daemon in try await daemon.caughtUp() }
    #expect(
      programs.lines("posted") == [
        "1 order_placed 200", "2 order_placed 422", "3 order_placed 503", "3 order_placed 200", "4 order_placed 200",
      ])
    try await database.append(
      "order_paid", data: [#"{"moved": 12345678901234567.89, "n": 1.50}"#, #"{"other": "ü"}"#])
    // The page comes again, as after a crash.
    try await database.script(
      "UPDATE mt_event_progression SET last_seq_id = 3 WHERE name = 'Plug:All'; UPDATE tidemark.position SET last_seq_id = 3"
    )
    let observed = try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      return daemon.observed
    }
    #expect(
      programs.lines("posted").dropFirst(5) == [
        "4 order_placed 200", "5 order_paid 301", "5 order_paid 301", "5 order_paid 200", "6 order_paid 303",
        "6 order_paid 200",
      ])
    let failures = observed.all.compactMap { $0.when(.shardRetrying)?.failure?.message }
    #expect(failures == ["the endpoint answered 301; its URL is now /elsewhere"])
    // As PostgreSQL wrote them, to the last digit.
    try #require(programs.lines("bodies").count == 11)
    #expect(programs.lines("bodies")[6].hasSuffix(#""data":{"n": 1.50, "moved": 12345678901234567.89}}"#))
    #expect(programs.lines("bodies")[9].hasSuffix(#""data":{"other": "ü"}}"#))
    #expect(
      try await database.value(
        "SELECT string_agg(seq_id || ' ' || message, ', ') FROM tidemark.dead_letter", as: String.self)
        == "2 the endpoint answered 422 Unprocessable Entity")
  }

  @Test func `in C counts each event once`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let built = try await Program.command([
      "cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-I",
      Program.package.appending(path: "Sources/CTidemarkPlugin/include").path, "-o", programs.path("libcount-types.so"),
      examples.appending(path: "count-types.c").path,
    ])
    try #require(built.code == 0, "\(built.error)")
    let settings = try await database.install(
      """
      [projections.TypeCount]
      library = "\(programs.path("libcount-types.so"))"
      effects = "database"
      tables  = ["type_count"]
      setup   = "CREATE TABLE type_count (type text PRIMARY KEY, events bigint NOT NULL)"
      """)
    for _ in 1...2 {
      for (type, count) in [("a", 300), ("b", 20), ("ab", 1)] { try await database.append(type: type, count: count) }
      try await withDaemon(settings) { daemon in try await daemon.caughtUp() }
    }
    let counts = try await database.value(
      "SELECT string_agg(type || ' ' || events, ', ' ORDER BY type) FROM type_count", as: String.self)
    #expect(counts == "a 600, ab 2, b 40")
  }
}
