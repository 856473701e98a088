import Foundation
import Processes
import TestSupport
import Testing

/// The scripts in the shells they are for: each is loaded by a shell without any settings of its own, and asked for the end of a line.
@Suite(.gated) struct `In a shell` {
  enum Shell: String, CaseIterable { case bash, zsh, fish }

  private static let settings = """
    [database]
    url = "host=/nowhere"
    [projections.Trip]
    tables = ["trip"]
    sql = "SELECT 1 FROM batch"
    [projections.Mail]
    version = 2
    exec = ["/usr/lib/shop/mailer", "--quiet"]

    """
  private static let several = """
    [databases.north]
    url = "host=/nowhere dbname=north"
    [databases.south]
    url = "host=/nowhere dbname=south"
    [projections.Day]
    tables = ["day"]
    sql = "SELECT 1 FROM batch"

    """

  /// A folder with settings files, and with the program under its own name.
  private struct Folder {
    let path = FileManager.default.temporaryDirectory.appending(path: "tidemark-shell-\(UUID().uuidString)").path

    init() throws {
      let files = FileManager.default
      try files.createDirectory(atPath: path + "/bin", withIntermediateDirectories: true)
      try files.createSymbolicLink(atPath: path + "/bin/tidemark", withDestinationPath: Program.path)
      for (name, text) in [
        ("one.toml", `In a shell`.settings), ("several.toml", `In a shell`.several), ("wrong.toml", "[databse]\n"),
      ] { try text.write(toFile: "\(path)/\(name)", atomically: true, encoding: .utf8) }
    }

    func remove() throws { try FileManager.default.removeItem(atPath: path) }

    var environment: [String: String] {
      let search = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
      return [
        "PATH": "\(path)/bin:\(search)", "TIDEMARK_CONFIG": "\(path)/one.toml", "HOME": path, "LC_ALL": "C.UTF-8",
      ]
    }

    /// What the shell offers at the end of a line, sorted, as whole words.
    func offered(_ line: String, _ shell: Shell) async throws -> [String] {
      let script = Program.package.appending(path: "Tests/CommandLineTests/Shells/complete.\(shell.rawValue)")
        .path
      let command =
        switch shell {
        case .bash: ["bash", "--norc", "--noprofile", script, line]
        case .zsh: ["zsh", "-f", script, line]
        case .fish: ["fish", "--no-config", script, line]
        }
      let outcome = try await Program.command(["env", "-C", path] + command, environment: environment)
      #expect(outcome.code == 0 && outcome.error.isEmpty, "\(outcome)")
      return outcome.output.split(separator: "\n").map(String.init).sorted()
    }
  }

  @Test(arguments: Shell.allCases) func `the verbs, options, values and names that fit are offered`(
    shell: Shell
  ) async throws {
    let folder = try Folder()
    for (line, words) in [
      ("tidemark wa", ["wait"]),
      ("tidemark dead-letters re", ["replay"]),
      ("tidemark plugin ", ["try"]),
      ("tidemark help dead-letters s", ["show"]),
      ("tidemark completions ", ["bash", "fish", "zsh"]),
      ("tidemark rebuild --in", ["--in-place", "--interactive"]),
      ("tidemark rebuild --by ", ["auto", "copy", "swap"]),
      ("tidemark rebuild --by=s", ["--by=swap"]),
      ("tidemark rebuild --by s", ["swap"]),
      // Names with colons, from the settings file.
      ("tidemark wait T", ["Trip", "Trip:All"]),
      ("tidemark wait Trip:", ["Trip:All"]),
      ("tidemark wait Mail:V2:A", ["Mail:V2:All"]),
      ("tidemark wait Trip:All M", ["Mail", "Mail:V2:All"]),
      ("tidemark wait --timeout 5s -- Trip:A", ["Trip:All"]),
      ("tidemark dead-letters list --shard Mail:", ["Mail:V2:All"]),
      ("tidemark dead-letters list --shard=Mail:V", ["--shard=Mail:V2:All"]),
      ("tidemark plugin try /usr/lib/shop/", ["/usr/lib/shop/mailer"]),
      // The file that the line names is asked.
      ("tidemark wait -c several.toml D", ["Day", "Day:All"]),
      ("tidemark wait --config=several.toml ", ["Day", "Day:All"]),
      ("tidemark wait --config=~/several.toml Day:", ["Day:All"]),
      ("tidemark wait --config several.toml --database ", ["north", "south"]),
      ("tidemark status --database=", []),
      ("tidemark status -c several.toml --database=s", ["--database=south"]),
      // Nothing can be said of these.
      ("tidemark wait -c wrong.toml ", []),
      ("tidemark wait -c nowhere.toml ", []),
      ("tidemark nonsense ", []),
      ("tidemark rebuild --workers ", []),
      ("tidemark forget ", []),
      // Files.
      ("tidemark wait -c sev", ["several.toml"]),
      ("tidemark wait --config o", ["one.toml"]),
      ("tidemark wait --config=o", ["--config=one.toml"]),
      ("tidemark wait --config=./se", ["--config=./several.toml"]),
    ] {
      #expect(try await folder.offered(line, shell) == words, "\(line)")
    }
    try folder.remove()
  }

  /// As it is typed: what stands on the line after the tab key.
  @Test func `of bash, a name with a colon is typed to its end`() async throws {
    let folder = try Folder()
    let start = "cd \(folder.path); PATH=\(folder.path)/bin:$PATH TIDEMARK_CONFIG=\(folder.path)/one.toml"
    let terminal = try await TerminalSession([
      "/bin/sh", "-c", "stty cols 250; \(start) exec bash --norc --noprofile -i",
    ])
    terminal.type("PS1='' PS2=''; source <(tidemark completions bash); echo rea''dy\n")
    try await terminal.says("ready")
    for (typed, line) in [
      ("echo; tidemark wait Trip:\t", "tidemark wait Trip:All "),
      ("tidemark wait \"Trip:\t", "tidemark wait \"Trip:All\" "),
      ("tidemark rebuild --by=sw\t", "tidemark rebuild --by=swap "),
      ("tidemark status --config=sev\t", "tidemark status --config=several.toml "),
      ("tidemark status -c \(folder.path)/sev\t", "tidemark status -c \(folder.path)/several.toml "),
      // A bell, and nothing else.
      ("tidemark wait -c wrong.toml Tr\tip", "tidemark wait -c wrong.toml Tr\u{7}ip"),
    ] {
      // The mark shows where the line ends.
      terminal.type(typed + "|")
      try await terminal.says(line + "|")
      // Away with the line.
      terminal.type("\u{15}")
    }
    terminal.type("exit\n")
    #expect(try await terminal.end() == .exited(0))
    try folder.remove()
  }
}
