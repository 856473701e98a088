import Rules
import Settings
import Testing

/// Users and groups of the tables below.
private let root = FileFacts.Account(0, "root")
private let service = FileFacts.Account(900, "tidemark")
private let ann = FileFacts.Account(1000, "ann")

@Suite struct `Files that others may read or write` {
  struct Case: Sendable, CustomTestStringConvertible {
    var what: String
    var user: UInt32 = 0
    var kind = NamedFile.Kind.settings
    var holdsPassword = false
    var mode: UInt32
    var owner = root
    var group = root
    var folder: (mode: UInt32, owner: FileFacts.Account, group: FileFacts.Account) = (0o755, root, root)
    /// The commands of the hints, in order; a text of the message where there is no command.
    var told: [String]

    var testDescription: String { what }
  }

  static let cases = [
    Case(what: "root's own", holdsPassword: true, mode: 0o600, told: []),
    Case(what: "no password in it", mode: 0o644, told: []),
    Case(what: "read by all", holdsPassword: true, mode: 0o644, told: ["chmod o-r /d/f"]),
    Case(what: "read by the service's group", holdsPassword: true, mode: 0o640, group: service, told: []),
    Case(what: "read by another group", holdsPassword: true, mode: 0o640, group: ann, told: ["chmod g-r /d/f"]),
    Case(
      what: "read by another group and all", kind: .password, holdsPassword: true, mode: 0o444, group: ann,
      told: ["chmod go-r /d/f"]),
    Case(
      what: "read by all, in a folder that is closed to all", holdsPassword: true, mode: 0o644,
      folder: (0o750, root, service), told: []),
    Case(
      what: "read by a group, in a folder that only another may enter", holdsPassword: true, mode: 0o640, group: ann,
      folder: (0o750, root, service), told: []),
    Case(
      what: "read by a group, in a folder of that group", holdsPassword: true, mode: 0o640, group: ann,
      folder: (0o750, root, ann), told: ["chmod g-r /d/f"]),
    Case(
      what: "read by all, as another user", user: 900, holdsPassword: true, mode: 0o644, owner: service, group: service,
      told: ["chmod o-r /d/f"]),

    Case(what: "written by all", kind: .statements, mode: 0o666, told: ["chmod o-w /d/f"]),
    Case(what: "written by root's group", kind: .program, mode: 0o775, told: []),
    Case(what: "written by a group", kind: .program, mode: 0o775, group: ann, told: ["chmod g-w /d/f"]),
    Case(what: "written by its owner", kind: .library, mode: 0o644, owner: ann, told: ["chown root /d/f"]),
    Case(
      what: "written by owner, group and all", mode: 0o666, owner: ann, group: ann,
      told: ["chown root /d/f && chmod g-w /d/f && chmod o-w /d/f"]),
    Case(
      what: "written by all, in a folder that is closed", mode: 0o666, folder: (0o700, root, root), told: []),
    Case(what: "a group's and an owner's, as another user", user: 900, mode: 0o664, owner: ann, group: ann, told: []),
    Case(what: "written by all, as another user", user: 900, mode: 0o666, owner: service, told: ["chmod o-w /d/f"]),

    Case(what: "in a folder of all", kind: .program, mode: 0o755, folder: (0o777, root, root), told: ["chmod o-w /d"]),
    Case(
      what: "in a folder of a group", kind: .password, mode: 0o600, folder: (0o770, root, ann), told: ["chmod g-w /d"]),
    Case(
      what: "in a folder of another user", kind: .statements, mode: 0o644, folder: (0o755, ann, root),
      told: []),
    Case(what: "in a sticky folder", kind: .program, mode: 0o755, folder: (0o1777, root, root), told: []),
    Case(
      what: "settings in a sticky folder, where projections.d could appear", mode: 0o644,
      folder: (0o1777, root, root), told: ["projections.d"]),
  ]

  @Test(arguments: cases) func `are named with the command that helps`(of item: Case) {
    let trust = FileTrust(user: item.user, groups: [900])
    let facts = FileFacts(path: "/d/f", mode: item.mode, owner: item.owner, group: item.group)
    let top = FileFacts(path: "/", mode: 0o755, owner: root, group: root)
    let folder = FileFacts(path: "/d", mode: item.folder.mode, owner: item.folder.owner, group: item.folder.group)
    let file = NamedFile("/d/f", item.kind, holdsPassword: item.holdsPassword)
    let problems = trust.objections(to: file, facts, in: [top, folder])
    #expect(problems.count == item.told.count, "\(problems)")
    for (problem, told) in zip(problems, item.told) {
      let hint = problem.hint ?? ""
      #expect(hint.hasPrefix("Run: \(told)") || problem.message.contains(told), "\(problem.message) \(hint)")
      #expect(problem.message.contains("/d"))
    }
  }

  @Test func `have a command that a shell reads as it is meant`() {
    let facts = FileFacts(path: "/d/it's here", mode: 0o666, owner: root, group: root)
    let told = FileTrust(user: 0, groups: []).objections(to: NamedFile(facts.path, .statements), facts, in: [])
    #expect(told.map(\.hint) == [#"Run: chmod o-w '/d/it'\''s here'"#])
  }

  @Test func `are all that the settings come from, and hold a password where it is written in them`() throws {
    let contents = [
      "/etc/t/tidemark.toml": """
      [databases.a]
      url = "host=/run password=geheim"
      [databases.b]
      url = "host=/run password='${SECRET}'"
      password_file = "word"
      """,
      "/etc/t/word": "geheim",
      "/etc/t/projections.d/trip.toml": "[projections.Trip]\nsql_file = \"trip.sql\"\ntables = [\"t\"]\n",
      "/etc/t/projections.d/trip.sql": "SELECT 1",
    ]
    let settings = try Settings.load(
      path: "/etc/t/tidemark.toml", environment: ["SECRET": "secret"], files: files(contents))
    #expect(
      settings.files == [
        NamedFile("/etc/t/tidemark.toml", .settings, holdsPassword: true),
        NamedFile("/etc/t/word", .password, holdsPassword: true),
        NamedFile("/etc/t/projections.d", .folderOfProjections),
        NamedFile("/etc/t/projections.d/trip.toml", .projections),
        NamedFile("/etc/t/projections.d/trip.sql", .statements),
      ])
  }

  @Test(arguments: [
    ("postgresql:///shop", false), ("postgresql://u:pw@h/shop", true), ("postgresql://u:${PW}@h/shop", false),
    ("postgresql://u:x${PW}@h/shop", true), ("host=h password=pw", true), ("host=h password='${PW}' port=1", false),
    ("${URL}", false), ("host=h password=${PW}", false), ("postgresql://h/shop?password=pw", true),
  ])
  func `hold a password only if it is not a variable's`(_ text: String, _ expected: Bool) throws {
    let settings = try Settings.load(
      path: "/t.toml", environment: ["PW": "secret", "URL": "host=/run"],
      files: files(["/t.toml": "[database]\nurl = \"\(text)\"\n"]))
    #expect(settings.files.first?.holdsPassword == expected)
  }
}
