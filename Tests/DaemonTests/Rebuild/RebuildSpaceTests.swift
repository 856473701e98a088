import Foundation
import Postgres
import Processes
import Sandbox
import TestSupport
import Testing

/// A read model on a disk of its own, which has no room for a second one.
@Suite(.gated, .enabled(if: getuid() == 0, "mounting a small disk takes root")) struct `A rebuild on a full disk` {
  private static let projection = #"""
    [projections.Wide]
    events = ["x"]
    tables = ["wide"]
    setup = "CREATE TABLE wide (seq bigint PRIMARY KEY, pad text NOT NULL) TABLESPACE small"
    sql = "INSERT INTO wide SELECT seq_id, repeat(md5(seq_id::text), 45) FROM batch"
    """#

  /// Over TCP nobody knows how large the server's disk is, so the rebuild finds out.
  @Test(arguments: [true, false])
  func `is refused or ends, and leaves the live shard what there is`(isLocal: Bool) async throws {
    let cluster = try await PrivateCluster.start(settings: ["fsync": "off"], listensOnTCP: !isLocal)
    let disk = cluster.directory + "-small"
    func command(_ words: String) async throws -> Int {
      try await Program.command(words.split(separator: " ").map(String.init)).code
    }
    try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
    guard try await command("mount -t tmpfs -o size=9m none \(disk)") == 0 else {
      // A container that may not mount.
      await cluster.remove()
      return
    }
    do {
      try await rebuild(on: cluster, disk, isLocal: isLocal)
    } catch {
      Issue.record(error)
    }
    await cluster.remove()
    #expect(try await command("umount \(disk)") == 0)
    rmdir(disk)
  }

  private func rebuild(on cluster: PrivateCluster, _ disk: String, isLocal: Bool) async throws {
    var owner = stat()
    stat(cluster.directory + "/data", &owner)
    mkdir(disk + "/tables", 0o700)
    chown(disk + "/tables", owner.st_uid, owner.st_gid)
    chmod(cluster.directory, 0o755)
    let database = try await TestDatabase.make(on: cluster)
    try await database.script("CREATE TABLESPACE small LOCATION '\(disk)/tables'")
    let config = try Program.settings(database.conninfo, Self.projection)
    #expect(try await Program.run(["init", "-c", config]).code == 0)
    try await database.append(type: "x", count: 3_600)
    let daemon = try await DaemonProcess.start(config)
    let first = try await Program.run(["wait", "--timeout", "120s", "-c", config])
    #expect(first.code == 0, "\(first)")

    let outcome = try await Program.run(["rebuild", "Wide", "-c", config])
    #expect(outcome.code == 1 && outcome.error.contains("TM338"), "\(outcome)")
    #expect(outcome.error.contains(isLocal ? "tablespace small has" : "disk full"), "\(outcome)")
    #expect(try await database.leftovers() == 0)

    // More than was left before the new tables went.
    for _ in 0..<5 { try await database.append(type: "x", count: 100) }
    let second = try await Program.run(["wait", "--timeout", "120s", "-c", config])
    #expect(second.code == 0, "\(second)")
    #expect(try await database.value("SELECT count(*) FROM wide", as: Int.self) == 4_100)
    #expect(try await daemon.stop().code == 0)
  }
}
