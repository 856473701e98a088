import Foundation
import TestSupport
import Testing

@Suite(.gated) struct `A file that others may read or write` {
  private func mode(_ mode: Int, _ path: String) throws {
    try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
  }

  /// A folder of its own, with settings that name a file of statements and a plugin; and their paths.
  private func folder() throws -> (settings: String, statements: String, plugin: String) {
    let folder = FileManager.default.temporaryDirectory.appending(path: "doors-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(
      atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o755])
    let paths = (settings: "\(folder)/t.toml", statements: "\(folder)/a.sql", plugin: "\(folder)/p")
    try """
    [database]
    url = "host=/run/none user=u password=geheim"
    [projections.A]
    sql_file = "a.sql"
    [projections.B]
    exec = ["./p"]

    """.write(toFile: paths.settings, atomically: false, encoding: .utf8)
    try "SELECT 1\n".write(toFile: paths.statements, atomically: false, encoding: .utf8)
    try "#!/bin/sh\n".write(toFile: paths.plugin, atomically: false, encoding: .utf8)
    try mode(0o600, paths.settings)
    try mode(0o644, paths.statements)
    try mode(0o755, paths.plugin)
    return paths
  }

  private func check(_ path: String) async throws -> [String] {
    let outcome = try await Program.run(["check", "--offline", "-c", path])
    #expect(outcome.code == 0, "\(outcome)")
    return outcome.output.split(separator: "\n").map(String.init)
  }

  @Test func `is named by check, and the command that it prints helps`() async throws {
    let paths = try folder()
    let clean = try await check(paths.settings)
    #expect(clean == ["ok: 2 projections; not checked against the database"])
    for (path, worse, file) in [
      (paths.settings, 0o644, "holds a password, and every user may read it"),
      (paths.settings, 0o602, "the settings file"), (paths.statements, 0o646, "the file of statements"),
      (paths.plugin, 0o757, "the plugin"),
      (URL(filePath: paths.plugin).deletingLastPathComponent().path, 0o757, "the folder"),
    ] {
      try mode(worse, path)
      let told = try await check(paths.settings)
      #expect(told.count == 3 && told[0].hasPrefix("warning: ") && told[0].contains(file), "\(told)")
      #expect(told[0].contains(path), "\(told)")
      let command = try #require(told[1].split(separator: "Run: ").last?.split(separator: ". The").first)
      _ = try await Program.command(["/bin/sh", "-c", String(command)])
      #expect(try await check(paths.settings) == clean, "\(command)")
    }
    try FileManager.default.removeItem(at: URL(filePath: paths.plugin).deletingLastPathComponent())
  }

  @Test(.enabled(if: geteuid() == 0)) func `counts by its owner too, where Tidemark runs as root`() async throws {
    let paths = try folder()
    try FileManager.default.setAttributes([.ownerAccountID: 65_534], ofItemAtPath: paths.plugin)
    let told = try await check(paths.settings)
    #expect(told.first?.contains("by its owner nobody, and decides what runs as root") == true, "\(told)")
    #expect(told.contains("    hint: Run: chown root \(paths.plugin)"), "\(told)")
    try FileManager.default.removeItem(at: URL(filePath: paths.plugin).deletingLastPathComponent())
  }

  @Test func `is named in the log of the start, and of a reload`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install("")
    let config = try Program.settings(database.conninfo, "")
    try mode(0o646, config)
    let daemon = try await DaemonProcess.start(config)
    try await database.append(type: "x", count: 1)
    let added = try Program.settings(database.conninfo, "[projections.A]\nsql = \"SELECT seq_id FROM batch\"\n")
    try Data(contentsOf: URL(filePath: added)).write(to: URL(filePath: config))
    try mode(0o666, config)
    try await daemon.holdsSignals()
    try await eventually("the reload") {
      daemon.send(SIGHUP)
      return try await database.position("A:All") == 1
    }
    let log = try await daemon.stop().error.split(separator: "\n").filter { $0.contains("Others may read or write") }
    #expect(log.count >= 2 && log.allSatisfy { $0.contains("chmod o-w \(config)") }, "\(log)")
  }
}
