import Foundation
import Postgres
package import Settings
import Testing

/// Programs that tests run as plugins: real child processes, in a directory of their own.
package struct PluginPrograms {
  package let directory: String

  package init() throws {
    directory = FileManager.default.temporaryDirectory.appending(path: "tidemark-plugin-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
  }

  package func path(_ name: String) -> String { "\(directory)/\(name)" }

  /// An executable file with this text.
  package func program(_ text: String, name: String = "plugin") throws -> String {
    // Closed on exec: a child that another test starts just now would keep the file open for writing, and nobody could run it.
    let descriptor = open(path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o755)
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    try file.write(contentsOf: Data(text.utf8))
    try file.close()
    return path(name)
  }

  /// A plugin in Python: greets, then calls `answer(page, events)` for each page and writes what that returns.
  package func python(_ answer: String, before: String = "", name: String = "plugin") throws -> String {
    try program(
      """
      #!/usr/bin/python3
      import json, os, signal, subprocess, sys, time
      directory = \(String(reflecting: directory))
      def say(message):
          sys.stdout.write(json.dumps(message) + "\\n"); sys.stdout.flush()
      def note(name, text):
          with open(directory + "/" + name, "a") as file: file.write(str(text) + "\\n")
      def applied(page, **more): return {"applied": {"ceiling": page["ceiling"], **more}}
      def failed(event, kind="event", message="bad", **more):
          return {"failed": {"seq_id": event["seq_id"], "class": kind, "message": message, **more}}
      \(answer)
      hello = json.loads(sys.stdin.readline())["hello"]
      note("hello", json.dumps(hello))
      \(before)
      say({"ready": {"protocol": 1}})
      for line in sys.stdin:
          page = json.loads(line)["page"]
          events = [json.loads(sys.stdin.readline()) for _ in range(page["count"])]
          message = answer(page, events)
          if message is not None: say(message)
      note("ended", "end of input")
      """, name: name)
  }

  /// The lines of a file that a plugin wrote; none where there is no such file yet.
  package func lines(_ name: String) -> [String] {
    let text = (try? String(contentsOfFile: path(name), encoding: .utf8)) ?? ""
    return text.split(separator: "\n").map(String.init)
  }
}

extension TestDatabase {
  /// Appends events with these data, all of one type.
  package func append(_ type: String = "x", data: [String]) async throws {
    _ = try await connected { session in
      try await session.execute(
        """
        SELECT tidemark.append(gen_random_uuid(), jsonb_agg(jsonb_build_object('type', \(type)::text, 'data', d::jsonb) ORDER BY i))
          FROM unnest(\(data)::text[]) WITH ORDINALITY AS u (d, i)
        """)
    }
  }

  /// Settings with one plugin, installed.
  package func installPlugin(
    _ command: [String], name: String = "Plug", keys: String = "", eventStore: String = "append = \"quick\""
  ) async throws -> Settings {
    let words = command.map { String(reflecting: $0) }.joined(separator: ", ")
    return try await install("[projections.\(name)]\nexec = [\(words)]\n\(keys)\n", eventStore: eventStore)
  }
}

extension PluginPrograms {
  /// A database with events of type `x`, and the projection Plug, whose plugin answers like that.
  package static func prepared(
    _ answer: String, keys: String, events: Int, more: String
  ) async throws -> (TestDatabase, PluginPrograms, Settings, config: String) {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let toml = "[projections.Plug]\nexec = [\"\(try programs.python(answer))\"]\n\(keys)\n\(more)"
    let settings = try await database.install(toml)
    try await database.append(type: "x", count: events)
    return (database, programs, settings, try Program.settings(database.conninfo, toml))
  }

  /// The modes that the plugin's children were greeted with, in order.
  package func modes() throws -> [String] { try hellos().map(\.mode) }

  package func hellos() throws -> [(mode: String, position: Int)] {
    try lines("hello").map { line in
      let hello = try JSONSerialization.jsonObject(with: Data(line.utf8)) as! [String: Any]
      return (hello["mode"] as! String, hello["position"] as! Int)
    }
  }
}

/// The C plugin of the tests, built by the system's compiler as a user's would be.
package func library(_ flags: [String] = [], in programs: PluginPrograms) async throws -> String {
  let path = programs.path("libtest.so")
  let built = try await Program.command(
    ["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-Wall", "-Werror", "-Wno-unused-function", "-Wno-unused-variable"]
      + flags + [
        "-I", Program.package.appending(path: "Sources/CTidemarkPlugin/include").path, "-o", path,
        Program.package.appending(path: "Tests/Support/test_plugin.c").path, "-lpthread",
      ])
  try #require(built.code == 0, "\(built.error)")
  return path
}
