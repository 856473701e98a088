import Daemon
import Foundation
import Postgres
import Sandbox
import TestSupport
import Testing

/// The unit in a real systemd, as an operator meets it from Monday to Sunday.
@Suite(.gated, .enabled(if: SystemdBox.isPossible, "booting a systemd takes root")) struct `The service` {
  private static let binary = Program.path.replacing(Program.package.path, with: "/src")

  @Test func `passes systemd's own checks`() async throws {
    try await SystemdBox.with(binds: [Program.package.path: "/src"]) { box in
      _ = try await box.text("TIDEMARK_BINARY=\(Self.binary) /src/packaging/install")
      let verified = try await box.run("systemd-analyze verify tidemark.service")
      #expect(verified.code == 0 && verified.output.isEmpty && verified.error.isEmpty, "\(verified)")
      let secure = try await box.run("systemd-analyze security --offline=true --threshold=12 tidemark.service")
      #expect(secure.code == 0, "\(secure.output.suffix(200))")
      for page in ["1 tidemark", "7 tidemark", "5 tidemark.toml", "7 tidemark.observations"] {
        #expect(try await box.run("man -w \(page)").code == 0)
      }
    }
  }

  @Test func `lives through a week`() async throws {
    let cluster = try await PrivateCluster.start()
    let database = try await TestDatabase.make(on: cluster)
    // Only the directory of the socket is opened to others; the data stays closed.
    chmod(cluster.directory, 0o755)
    try await SystemdBox.with(binds: [Program.package.path: "/src", cluster.directory: "/run/database"]) { box in
      let week = Week(box: box, cluster: cluster, database: database)
      try await week.monday()
      try await week.tuesday()
      try await week.wednesday()
      try await week.thursday()
      try await week.friday()
      try await week.saturday()
      try await week.sunday()
    }
  }

  private struct Week {
    let box: SystemdBox
    let cluster: PrivateCluster
    let database: TestDatabase

    func status() async throws -> String { try await box.text("systemctl show -P StatusText tidemark") }

    func journal(_ filter: String) async throws -> String {
      try await box.text("journalctl --sync; journalctl -u tidemark -o cat --no-pager \(filter)")
    }

    func caughtUp(_ shards: String = "") async throws {
      _ = try await box.text("tidemark wait --timeout 60s \(shards)")
    }

    /// Every read model is what a recount of the events says.
    func isRight() async throws {
      try await caughtUp("Trip Day Ledger")
      #expect(try await database.recount() == ["trip": 0, "day": 0, "account": 0])
    }

    /// Install, settings, first start.
    func monday() async throws {
      _ = try await box.text("TIDEMARK_BINARY=\(binary) /src/packaging/install")
      try await box.write(
        """
        [database]
        url = "host=/run/database user=postgres dbname=\(database.name)"
        password_file = "database-password"
        [event_store]
        append = "quick"
        \(SampleProjections.toml)
        """, to: "/etc/tidemark/tidemark.toml")
      // The password is not asked for by this server; that it is found, and never shown, is what counts here.
      try await box.write("open-sesame", to: "/etc/tidemark/database-password")
      try await box.write(
        """
        [Service]
        LoadCredential=database-password:/etc/tidemark/database-password
        WatchdogSec=3s
        RestartSec=100ms
        """, to: "/etc/systemd/system/tidemark.service.d/override.conf")
      _ = try await box.text("systemctl daemon-reload")
      let early = try await box.run("systemctl start tidemark")
      #expect(early.code != 0, "without an event store the start fails")
      #expect(try await journal("-p err").contains("tidemark init"), "and says what to do")
      _ = try await box.text("systemctl stop tidemark")
      _ = try await box.text("tidemark init")
      _ = try await box.text("systemctl start tidemark")
      #expect(try await box.text("systemctl is-active tidemark") == "active\n")
      #expect(try await journal("").contains("Ready"), "it was ready when the start returned")
    }

    /// Events flow; what the status and the journal say of them.
    func tuesday() async throws {
      _ = try await database.write(writers: 2, transactions: 50)
      try await isRight()
      try await eventually("the status line follows") {
        try await status().hasPrefix("following with 3 of 3 shards · mark ")
      }
      let shown = try await box.text("systemctl status --no-pager tidemark")
      #expect(shown.contains("Status: \"following with 3 of 3 shards"), "\(shown)")
      #expect(shown.contains("Tidemark: keeps read models up to date") && shown.contains("active (running)"))
      let trip = try await journal("TIDEMARK_SHARD=Trip:All")
      #expect(trip.contains("Shard started position=0 shard=Trip:All"), "\(trip)")
      #expect(!trip.contains("Day:All"))
      let ready = try await journal("MESSAGE_ID=eb9b6f5d705740d0919a767bbe81485f")
      #expect(ready == "Ready\n")
    }

    /// A new projection in a file of its own.
    func wednesday() async throws {
      try await box.write(
        """
        [projections.Count]
        tables = ["tally"]
        setup = "CREATE TABLE tally (events bigint)"
        sql = "INSERT INTO tally SELECT count(*) FROM batch"
        """, to: "/etc/tidemark/projections.d/count.toml")
      _ = try await box.text("tidemark init")
      _ = try await box.text("systemctl reload tidemark")
      try await caughtUp()
      #expect(try await journal("").contains("Settings reloaded added=Count:All changed=none removed=none"))
      #expect(try await !journal("").contains("Shard ended"), "no other shard was disturbed")
      let counted = try await database.value(
        "SELECT (SELECT sum(events)::bigint FROM tally) - (SELECT count(*) FROM mt_events)", as: Int.self)
      #expect(counted == 0)
      try await eventually("the status line knows it") {
        try await status().hasPrefix("following with 4 of 4 shards")
      }
    }

    /// A file with two mistakes.
    func thursday() async throws {
      try await box.write(
        "[projections.Count]\nsqll = \"x\"\nevents = 5\n", to: "/etc/tidemark/projections.d/count.toml")
      #expect(try await box.run("systemctl reload tidemark").code != 0)
      #expect(try await journal("-p err").contains("projections.Count.sqll: unknown key"))
      // Who sends the signal past systemctl is told in the journal.
      _ = try await box.text("systemctl kill --kill-who=main -s HUP tidemark")
      try await eventually("the journal has every problem") {
        let problems = try await journal("-p err MESSAGE_ID=a671cc66f6bc46fc8e0de5be067bc7f3")
        return problems.contains("count.toml:2:1: projections.Count.sqll: unknown key")
          && problems.contains("count.toml:3:")
      }
      #expect(try await box.text("systemctl is-active tidemark") == "active\n")
      _ = try await database.write(writers: 2, transactions: 20, seed: 4)
      try await eventually("all others go on") {
        try await database.recount() == ["trip": 0, "day": 0, "account": 0]
      }
      _ = try await box.text("rm /etc/tidemark/projections.d/count.toml")
      _ = try await box.text("systemctl reload tidemark")
      try await eventually("it is gone") { try await status().hasPrefix("following with 3 of 3 shards") }
    }

    /// The database goes, in a crash, and comes back.
    func friday() async throws {
      let process = try await box.text("systemctl show -P MainPID tidemark")
      await cluster.stop(.immediate)
      try await eventually("the status line says so") { try await status().hasPrefix("waiting for the database") }
      #expect(try await box.text("systemctl is-active tidemark") == "active\n")
      try await cluster.startServer()
      _ = try await database.write(writers: 2, transactions: 20, seed: 5)
      try await isRight()
      #expect(try await box.text("systemctl show -P MainPID tidemark") == process)
      #expect(try await journal("-p warning").contains("Database unreachable; trying again"))
    }

    /// The daemon is frozen, in the middle of work.
    func saturday() async throws {
      let process = try await box.text("systemctl show -P MainPID tidemark")
      let writing = Task { try await database.write(writers: 2, transactions: 200, seed: 6) }
      _ = try await box.text("kill -STOP $(systemctl show -P MainPID tidemark)")
      try await eventually("the watchdog has it started again") {
        let now = try await box.run("systemctl show -P MainPID tidemark")
        let state = try await box.run("systemctl is-active tidemark")
        return now.output != process && state.output == "active\n"
      }
      _ = try await writing.value
      try await isRight()
      #expect(try await box.text("systemctl show -P NRestarts tidemark") != "0\n")
      let journal = try await box.text("journalctl -u tidemark --no-pager")
      #expect(journal.contains("Watchdog timeout"))
      #expect(!journal.contains("open-sesame"))
      // EPERM is the sandbox's. EACCES would be a machine on which systemd itself may not raise LimitNICE=.
      #expect(!journal.contains("errno=1\n"), "the sandbox denies nothing that is needed: \(journal)")
    }

    /// Stop, and a boot.
    func sunday() async throws {
      _ = try await box.text("systemctl stop tidemark")
      let result = try await box.text("systemctl show -P Result -P ExecMainStatus -P ActiveState tidemark")
      #expect(Set(result.split(separator: "\n")) == ["success", "0", "inactive"])
      #expect(try await journal("-n 5").contains("Stopped"))
      _ = try await database.write(writers: 2, transactions: 20, seed: 7)
      _ = try await box.text("systemctl enable tidemark")
      try await box.reboot()
      #expect(
        try await box.text("systemctl is-active --wait tidemark; systemctl is-active tidemark").hasSuffix("active\n"))
      try await isRight()
      _ = try await box.text("systemctl stop tidemark")
    }
  }
}
