import Foundation
import TestSupport
import Testing

@Suite(.gated) struct `The manual pages` {
  private static let folder = Program.package.appending(path: "packaging/man")
  private static func page(_ name: String) throws -> String {
    try String(contentsOf: folder.appending(path: name), encoding: .utf8)
  }

  @Test(arguments: ["tidemark.1", "tidemark.toml.5", "tidemark.observations.7"])
  func `that are generated are what the program says now`(name: String) async throws {
    let made = try await Program.run(["manual", name])
    try record(made.output, as: Self.folder.appending(path: name))
    #expect(try made.output == Self.page(name), "TIDEMARK_RECORD=1 keeps it in packaging/man/\(name)")
  }

  /// An operator who reads TM207 somewhere finds it.
  @Test func `name every code that the sources use`() throws {
    let sources = Program.package.appending(path: "Sources")
    let files = try #require(FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil))
    var used: Set<String> = []
    for case let file as URL in files where ["swift", "sql"].contains(file.pathExtension) {
      let text = try String(contentsOf: file, encoding: .utf8)
      used.formUnion(text.matches(of: /TM[0-9]{3}/).map { String($0.output) })
    }
    // Raised and caught within one function.
    used.remove("TM000")
    #expect(used.count > 30)
    let page = try Self.page("tidemark.observations.7")
    let explained = page.matches(of: #/(?m)^\.It Ic (TM[0-9]{3})$/#).map { String($0.output.1) }
    #expect(Set(explained) == used && explained == explained.sorted())
  }

  @Test func `are clean for mandoc`() async throws {
    let pages = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path)
    #expect(pages.count >= 4)
    for page in pages {
      let checked = try await Program.command(
        ["mandoc", "-Tlint", "-Wwarning", Self.folder.appending(path: page).path])
      #expect(checked.code == 0 && checked.output.isEmpty, "\(checked)")
    }
  }

  /// Every verb and every option that `--help` knows is in tidemark(1).
  @Test func `name every verb and option`() async throws {
    let page = try Self.page("tidemark.1").replacing("\\-", with: "-")
    let help = try await Program.run(["--help"]).output
    let verbs = help.split(separator: "SUBCOMMANDS:")[1].matches(of: #/(?m)^  ([a-z-]+) /#).map { String($0.output.1) }
    #expect(verbs.count >= 8 && verbs.contains("run"))
    for verb in verbs {
      #expect(page.contains(".It Cm \(verb)\n"), "\(verb)")
      let options = try await Program.run([verb, "--help"]).output
      for option in options.matches(of: #/(?m)^  (?:-\w, )?--([a-z-]+)/#).map({ String($0.output.1) })
      where !["help", "version"].contains(option) {
        #expect(page.contains("Fl Fl \(option)"), "\(verb) --\(option)")
      }
    }
  }
}
