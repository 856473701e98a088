import Foundation
import Postgres
import Sandbox
import TestSupport
import Testing

/// Between one node and the server the network takes everything and passes nothing on, and nobody is told.
@Suite(.gated) struct `A node that is cut off from the server` {
  @Test func `is followed by the others, writes nothing, and joins again`() async throws {
    let cluster = try await PrivateCluster.start(settings: ["fsync": "off"], listensOnTCP: true)
    let proxy = try Proxy(to: cluster.port)
    defer { proxy.end() }
    try await Fleet.with(on: cluster) { fleet in
      let through = fleet.database.conninfo.replacing("port=\(cluster.port)", with: "port=\(proxy.port)")
      try await fleet.writing {
        let far = try await fleet.start(try fleet.config(conninfo: through))
        let near = try await fleet.start()
        try await fleet.balanced(among: 2)
        for _ in 1...2 {
          proxy.cut()
          try await fleet.ledAlone(by: near, within: .seconds(9))
          proxy.heal()
          try await fleet.balanced(among: 2)
        }
        #expect(kill(far.pid, 0) == 0)
      }
      try await fleet.isRight()
    }
    await cluster.remove()
  }

  /// On a wire of its own, for longer than either side waits.
  @Test(.enabled(if: Network.isPossible, "a network namespace takes root, ip and tc"))
  func `is given up by the server within seconds, and notices it itself`() async throws {
    try await Network.with { network in
      let cluster = try await PrivateCluster.start(
        settings: ["fsync": "off", "listen_addresses": "127.0.0.1,\(network.address)"], listensOnTCP: true)
      let rules = "\(cluster.directory)/data/pg_hba.conf"
      let text = try String(contentsOfFile: rules, encoding: .utf8) + "\nhost all all samenet trust\n"
      try FileHandle(forWritingTo: URL(filePath: rules)).write(contentsOf: Data(text.utf8))
      let log = try Program.file("")
      try await Fleet.with(on: cluster) { fleet in
        try await fleet.database.script("SELECT pg_reload_conf()")
        let through = fleet.database.conninfo.replacing("host=127.0.0.1", with: "host=\(network.address)")
        try await fleet.writing {
          let cut = try await fleet.start(
            try fleet.config(conninfo: through), prefix: network.prefix + ["sh", "-c", "exec \"$@\" 2>> \(log)", "sh"])
          let near = try await fleet.start()
          try await fleet.balanced(among: 2)
          try await network.cut()
          try await fleet.ledAlone(by: near, within: .seconds(9))
          // One that was cut off before its first statement has no bounds yet; it holds nothing either.
          let far = "client_addr <<= '\(network.address)/30' AND application_name = 'tidemark' AND query <> ''"
          do {
            try await eventually(within: .seconds(12), "the server keeps no session of it") {
              try await fleet.database.value(
                SQL(text: "SELECT count(*) FROM pg_stat_activity WHERE \(far) AND datname = current_database()"),
                as: Int.self) == 0
            }
          } catch {
            let left = try await fleet.database.value(
              SQL(text: "SELECT string_agg(a::text, E'\\n') FROM pg_stat_activity AS a WHERE \(far)"), as: String?.self)
            Issue.record("\(left ?? "none now")")
            throw error
          }
          try await eventually(within: .seconds(30), "the node has noticed too") {
            try String(contentsOfFile: log, encoding: .utf8).contains("Lost the session that holds the locks")
          }
          try await network.heal()
          try await fleet.balanced(among: 2)
          #expect(kill(cut.pid, 0) == 0)
        }
        try await fleet.isRight()
      }
      await cluster.remove()
    }
  }
}
