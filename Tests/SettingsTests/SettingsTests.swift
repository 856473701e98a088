import CLibpq
import Foundation
import Rules
import Settings
import Testing

@Suite struct `Settings from a file` {
  @Test func `have defaults for everything but the database`() throws {
    let settings = try parse(database)
    #expect(settings.database.url == "postgresql:///shop")
    #expect(settings.database.poolSize == 8)
    #expect(settings.eventStore.gapGrace == .seconds(3))
    #expect(settings.eventStore.append == .rich)
    #expect(settings.projections.isEmpty)
  }

  @Test func `take every key`() throws {
    let settings = try parse(
      """
      mode = "solo"
      stop_timeout = "5s"
      [database]
      url = "host=/run/postgresql dbname=shop"
      pool_size = 3
      connect_timeout = "2s"
      application_name = "x"
      [event_store]
      dialect = "marten"
      schema = "events"
      append = "quick"
      gap_grace = "500ms"
      late_arrival_window = "2h"
      poll_min = "5ms"
      poll_max = "1s"
      accept = ["leaf-defaults", "increment"]
      on_long_hold = { after = "1m", do = "skip" }
      [log]
      level = "debug"
      values = false
      """)
    #expect(!settings.logsValues)
    #expect(settings.stopTimeout == .seconds(5))
    #expect(settings.database.poolSize == 3)
    #expect(settings.eventStore.schema == "events")
    #expect(settings.eventStore.append == .quick)
    #expect(settings.eventStore.gapGrace == .milliseconds(500))
    #expect(settings.eventStore.lateArrivalWindow == .seconds(7200))
    #expect(settings.eventStore.onLongHold == HighWater.LongHold(after: .seconds(60), action: .skip))
    #expect(settings.eventStore.accept == [.increment, .leafDefaults])
    #expect(settings.logLevel == .debug)
  }

  @Test func `of several databases have their shared values in one place`() throws {
    let settings = try parse(
      """
      [database]
      pool_size = 3
      password_file = "common"
      [databases.acme]
      url = "postgresql:///acme"
      [databases.globex]
      url = "postgresql://${HOST}/globex"
      pool_size = 5
      password_file = "own"
      [projections.A]
      sql = "SELECT 1"
      """, environment: ["HOST": "db2"], ["/etc/common": "one", "/etc/own": "two"])
    #expect(settings.databaseNames == ["acme", "globex"])
    let each = settings.perDatabase
    #expect(each.map(\.database.name) == ["acme", "globex"])
    #expect(each.map(\.database.url) == ["postgresql:///acme", "postgresql://db2/globex"])
    #expect(each.map(\.database.poolSize) == [3, 5])
    #expect(each.map(\.database.password?.value) == ["one", "two"])
    #expect(each.allSatisfy { $0.projections.count == 1 && $0.namedDatabases.isEmpty })

    let printed = Settings.printConfig(settings)
    let again = try parse(printed, environment: ["HOST": "db2"], ["/etc/common": "one", "/etc/own": "two"])
    #expect(again.namedDatabases == settings.namedDatabases)
    #expect(again.keysThatNeedRestart(for: settings) == [])
    var changed = settings
    changed.namedDatabases.removeLast()
    #expect(settings.keysThatNeedRestart(for: changed) == ["databases"])
  }

  @Test func `may begin with a byte order mark, in every file`() throws {
    let mark = "\u{FEFF}"
    let main = """
      [database]
      url = "postgresql:///shop"
      password_file = "pw"
      [projections.A]
      sql_file = "a.sql"
      """
    let settings = try Settings.load(
      path: "/etc/tidemark.toml", environment: [:],
      files: files([
        "/etc/tidemark.toml": mark + main, "/etc/pw": mark + "secret\n", "/etc/a.sql": mark + "SELECT 1",
      ]))
    #expect(settings.database.password?.value == "secret")
    guard case .batch(let statements) = settings.projections[0].effect else { throw OtherForm() }
    #expect(statements.map(\.text) == ["SELECT 1"])
  }

  @Test func `find a password that was rotated, and keep the last one where its file is empty`() throws {
    let settings = try parse(database + "\npassword_file = \"pw\"", ["/etc/pw": "old"])
    func now(_ content: String?) -> String? {
      settings.database.readPassword(
        SettingsFiles(read: {
          $0 == "/etc/pw" && content != nil ? .success(Array(content!.utf8)) : .failure(.init("no"))
        }))
    }
    #expect(now("new\n") == "new" && now("") == "old" && now(nil) == "old")
  }

  @Test func `declare projections of both forms with the lines of their statements`() throws {
    let settings = try parse(
      database + """
        [projections.Trip]
        version = 2
        events = ["travel"]
        tables = ["trip"]
        sql = '''
        DELETE FROM x;

        INSERT INTO y SELECT 1
        '''
        [projections.Ledger.on]
        opened = "INSERT INTO a VALUES (:stream_id)"
        """)
    let trip = try #require(settings.projections.first)
    #expect("\(trip.shard)" == "Trip:V2:All")
    #expect(trip.takes == ["travel"])
    guard case .batch(let statements) = trip.effect else { throw OtherForm() }
    #expect(statements.map(\.source.line) == [8, 10])
    #expect(statements.map(\.text) == ["DELETE FROM x", "INSERT INTO y SELECT 1"])
    let ledger = settings.projections[1]
    #expect(ledger.takes == ["opened"])
    guard case .perEvent(let bound) = ledger.effect else { throw OtherForm() }
    #expect(bound["opened"]?.text == "INSERT INTO a VALUES ($1)")
    #expect(bound["opened"]?.statement.source.line == 13)
  }

  @Test func `read sql_file, setup_file and projections.d beside the file`() throws {
    let settings = try parse(
      database + "[projections.A]\nsql_file = \"a.sql\"\nsetup_file = \"/abs/setup.sql\"\n",
      [
        "/etc/a.sql": "-- comment\nSELECT 1", "/abs/setup.sql": "CREATE TABLE a ()",
        "/etc/projections.d/b.toml": "[projections.B]\nsql_file = \"b.sql\"\n", "/etc/projections.d/b.sql": "SELECT 2",
        "/etc/projections.d/ignored.txt": "nonsense",
      ])
    #expect(settings.projections.map(\.name) == ["A", "B"])
    guard case .batch(let statements) = settings.projections[0].effect else { throw OtherForm() }
    #expect(statements == [Statement(text: "SELECT 1", source: SourceLocation(file: "/etc/a.sql", line: 2))])
    #expect(settings.projections[0].setup?.text == "CREATE TABLE a ()")
  }

  @Test(arguments: [
    ("\"beginning\"", StartPosition.beginning), ("\"present\"", .present), ("\"inline-handover\"", .inlineHandover),
    ("1000", .sequence(1000)),
    ("\"2026-01-31\"", .time("2026-01-31")), ("2026-01-31T12:00:00Z", .time("2026-01-31T12:00:00Z")),
  ])
  func `take a start position`(text: String, expected: StartPosition) throws {
    let settings = try parse(database + "[projections.A]\nsql = \"SELECT 1\"\nstart = \(text)\n")
    #expect(settings.projections.first?.start == expected)
  }

  @Test func `replace variables, and leave SQL's dollar signs unchanged`() throws {
    let settings = try parse(
      "[database]\nurl = \"host=${HOST} port=$${PORT}\"\n[projections.A]\nsql = '''SELECT $$x$$, '${'; SELECT $a$ ${} $a$'''\n",
      environment: ["HOST": "db1"])
    #expect(settings.database.url == "host=db1 port=${PORT}")
    guard case .batch(let statements) = settings.projections[0].effect else { throw OtherForm() }
    #expect(statements.map(\.text) == ["SELECT $$x$$, '${'", "SELECT $a$ ${} $a$"])
  }

  @Test(arguments: [
    ("250ms", Duration.milliseconds(250)), ("30s", .seconds(30)), ("5m", .seconds(300)), ("5 min", .seconds(300)),
    ("1h", .seconds(3600)),
    ("7d", .seconds(604_800)), ("0s", .zero),
  ])
  func `parse durations`(text: String, expected: Duration) {
    #expect(Duration(setting: text) == expected)
    #expect(Duration(setting: expected.settingText) == expected)
  }

  @Test(arguments: ["", "5", "s", "-5s", "5 weeks", "99999999999999999999s", "9999999999999h", "1.5s", "５s"])
  func `refuse texts that are not durations`(text: String) {
    #expect(Duration(setting: text) == nil)
  }
}

@Suite struct `Secrets` {
  @Test(arguments: [
    ("postgresql://u:pa@h/db", "postgresql://u:***@h/db"),
    ("postgres://u:p@a:b@h:1/db?sslmode=require", "postgres://u:***@h:1/db?sslmode=require"),
    ("postgresql:///db?password=hush&host=/run", "postgresql:///db?password=***&host=/run"),
    ("postgresql:///db?pass%77ord=hush", "postgresql:///db?pass%77ord=***"),
    ("postgresql://u:a?hush@h/db", "postgresql://***"),
    ("host=h password=hush user=u", "host=h password=*** user=u"),
    ("host=h password = 'hu sh\\' x' user=u", "host=h password = *** user=u"),
    ("PASSWORD='hush", "PASSWORD=***"),
    ("postgresql:///shop?host=/run/postgresql", "postgresql:///shop?host=/run/postgresql"),
    ("", ""),
  ])
  func `in a connection string are replaced`(text: String, expected: String) {
    #expect(redacted(connectionString: text) == expected)
  }

  @Test(arguments: [
    ("Host=127.0.0.1;Username=app;Password=hunter2", "pairs with \";\""),
    ("host=h;user=app;password=hunter2", "pairs with \";\""),
    ("POSTGRESQL://app:hunter2@h/shop", "a URI that begins otherwise"),
    (" postgresql://app:hunter2@h/shop", "a URI that begins otherwise"),
    ("jdbc:postgresql://app:hunter2@h/shop", "a URI that begins otherwise"),
    ("postgresql://app:hun/ter2@h:1/shop", "an \"@\" after a \"/\""),
    ("postgresql://app:hun?ter2@h/shop", "an \"@\" after a \"/\""),
    ("postgresql://app:hun@ter2@h/shop", "more than one \"@\""),
    ("postgresql://app:hun%ter2@h/shop", "an incomplete \"%\""),
    ("postgresql://h:hunter2/shop", "a port that is not a number"),
    ("postgresql://[::1]:hunter2/shop", "a port that is not"),
    ("postgresql://h/shop?user=app&passwort=hunter2", "the unknown keyword \"passwort\""),
    ("postgresql://h/shop?pass%77ort=hunter2", "the unknown keyword \"passwort\""),
    ("postgresql://h/shop?password=hun=ter2", "a parameter without one \"=\""),
    ("host=h passwort=hunter2", "the unknown keyword \"passwort\""),
    ("PASSWORD=hunter2", "the unknown keyword \"PASSWORD\""),
    ("host=h password=two hunter2", "a word without \"=\""), ("host=h password='hunter2", "a quote that is not closed"),
    ("hunter2 more=x", "a word without \"=\""),
  ])
  func `in a connection string that is written wrongly are in no problem`(url: String, words: String) {
    for key in ["url", "lock_url"] {
      let others = key == "url" ? "" : "url = \"\"\n"
      let found = problems("[database]\n\(others)\(key) = \"\(url)\"\n")
      #expect(found.count == 1 && found[0].contains(words), "\(found)")
      #expect(!found.joined().contains("hunter2") && !found.joined().contains("ter2@"), "\(found)")
    }
  }

  @Test(arguments: [
    "", "shop", "postgresql:///shop?host=/run/postgresql",
    "postgres://u:p%40%2F%25x@h1:1,h2:2,[::1]:5432/db?sslmode=require&ssl=true",
    "postgresql://", "host=h port=1 dbname=d password='two \\' words'", "host = h  user= u", "service=shop",
    "postgresql://h/db?options=-c%20geqo%3Doff", "host=/run/postgresql options='-c geqo=off'",
  ])
  func `are taken in every form that libpq understands`(url: String) throws {
    let written = url.replacing("\\", with: "\\\\")
    #expect(try parse("[database]\nurl = \"\(written)\"\n").database.url == url)
  }

  /// Short ones too, where a problem repeats them.
  @Test(arguments: [
    ("stop_timeout = \"${SHORT}\"", "found \"${SHORT}\""), ("mode = \"${SHORT}\"", "found \"${SHORT}\""),
    ("[event_store]\naccept = [\"${SHORT}\"]", "found \"${SHORT}\""),
    ("[projections.A]\nsql_file = \"${SHORT}\"", "${SHORT} cannot be read"),
    ("[projections.A]\nsql = \"SELECT 1\"\nevents = \"${SHORT}\"", "found \"${SHORT}\""),
    ("[projections.A]\nsql = \"${SHORT}; COMMIT\"", "COMMIT is not allowed"),
    ("[projections.A]\nsql = \"SELECT 1\"\nstart = \"${LONG}\"", "${LONG}"),
  ])
  func `of variables are in no problem of the settings`(text: String, words: String) {
    let found = problems(
      text.hasPrefix("[") ? database + text : text + "\n" + database, environment: ["SHORT": "q7", "LONG": "hunter2"])
    #expect(found.count == 1 && found[0].contains(words), "\(found)")
    #expect(!found.joined().contains("q7") && !found.joined().contains("hunter2"), "\(found)")
  }

  @Test func `of variables are in no text about what was loaded`() throws {
    let settings = try parse(
      """
      [database]
      url = "host=${HOST} user=app"
      [projections.A]
      exec = ["/usr/lib/${TOKEN}", "--key=${TOKEN}"]
      """, environment: ["HOST": "db.internal", "TOKEN": "hunter2"])
    let plugin = try #require(settings.projections[0].plugin)
    #expect(
      plugin.program == .exec(["/usr/lib/hunter2", "--key=hunter2"]) && plugin.programName == "/usr/lib/${TOKEN}")
    #expect(settings.database.concealment.concealing("no host db.internal, hunter2") == "no host ${HOST}, hunter2")
    #expect(settings.projections[0].concealment.concealing("db.internal hunter2") == "db.internal ${TOKEN}")
  }

  @Test func `may be in any keyword that the installed libpq knows`() {
    let options = PQconndefaults()
    defer { PQconninfoFree(options) }
    var (option, count) = (options, 0)
    while let keyword = option?.pointee.keyword {
      let name = String(cString: keyword)
      #expect(problems("[database]\nurl = \"\(name)=1\"\n") == [])
      option = option?.successor()
      count += 1
    }
    #expect(count > 30)
  }

  @Test func `are never printed, not even by a problem`() {
    let password = "h\u{75}sh-9271"
    let text = """
      [database]
      url = "postgresql://u:\(password)@h/db"
      pool_size = "\(password.count)"
      [databse]
      x = 1
      """
    for line in problems(text) { #expect(!line.contains(password)) }
    #expect(!problems("[database]\nurl = [\"\(password)\"]").joined().contains(password))
  }

  @Test func `come from a file, first among systemd's credentials`() throws {
    let text = database + "password_file = \"pw\"\n"
    let beside = try parse(text, ["/etc/pw": "one\n"])
    #expect(beside.database.password?.value == "one")
    let credential = try parse(
      text, environment: ["CREDENTIALS_DIRECTORY": "/run/credentials"],
      ["/etc/pw": "one", "/run/credentials/pw": "two\n"])
    #expect(credential.database.password?.value == "two")
    #expect("\(credential)".contains("two") == false)
    #expect(!Settings.printConfig(credential).contains("two"))
    #expect(
      problems(text) == [
        "/etc/tidemark.toml:3:17: database.password_file: /etc/pw cannot be read: No such file or directory (TM101)"
      ])
  }

  @Test func `in a URL are not in print-config`() throws {
    let settings = try parse("[database]\nurl = \"postgresql://u:hush@h/db\"\n")
    #expect(Settings.printConfig(settings).contains("postgresql://u:***@h/db"))
    #expect(!Settings.printConfig(settings).contains("hush"))
  }
}

@Suite struct `A plugin in the settings` {
  @Test func `has paths that start from its file, and defaults`() throws {
    let settings = try parse(
      database + """
        [projections.A]
        exec = ["bin/mailer", "x/y", "x/y"]
        working_directory = "work"
        env = { HOST = "h" }
        [projections.B]
        exec = ["mailer"]
        events = ["a"]
        effects = "database"
        timeout = "5m"
        rebuild_external = true
        [projections.C]
        library = "lib/search.so"
        config = "index=1"
        """)
    let plugins = settings.projections.compactMap(\.plugin)
    try #require(plugins.count == 3)
    #expect(
      plugins[0]
        == PluginDefinition(
          program: .exec(["/etc/bin/mailer", "x/y", "x/y"]), environment: ["HOST": "h"], workingDirectory: "/etc/work"))
    #expect(!plugins[0].runsInRebuild)
    #expect(
      plugins[1]
        == PluginDefinition(
          program: .exec(["mailer"]), effects: .database, timeout: .seconds(300), rebuildsExternal: true))
    #expect(settings.projections[1].takes == ["a"] && plugins[1].runsInRebuild)
    #expect(plugins[2].program == .library(path: "/etc/lib/search.so", config: "index=1"))
    #expect(plugins[2].timeout == .seconds(30))
  }

  @Test func `is a different one when its command or environment changes`() throws {
    func plugin(_ keys: String) throws -> PluginDefinition {
      try #require(try parse(database + "[projections.A]\n\(keys)\n").projections[0].plugin)
    }
    let first = try plugin("exec = [\"a\"]")
    #expect(try first == plugin("exec = [\"a\"]"))
    for keys in ["exec = [\"b\"]", "exec = [\"a\", \"\"]", "exec = [\"a\"]\nenv = { A = \"b\" }", "library = \"a\""] {
      #expect(try first != plugin(keys))
    }
  }
}

@Suite struct `A reload of the settings` {
  /// Whatever the manual calls reloadable, and nothing else.
  @Test func `takes over every reloadable key`() throws {
    let old = try parse(database)
    let new = try parse(
      """
      stop_timeout = "7s"
      [database]
      url = "postgresql:///other"
      [errors]
      skip_apply_errors = false
      skip_serialization_errors = false
      skip_unknown_events = false
      [rebuild_errors]
      skip_apply_errors = true
      skip_serialization_errors = true
      skip_unknown_events = false
      [log]
      level = "debug"
      values = false
      """)
    var taken = old
    taken.takeOver(new)
    var expected = old
    expected.logLevel = new.logLevel
    expected.logsValues = new.logsValues
    expected.errors = new.errors
    expected.rebuildErrors = new.rebuildErrors
    #expect(Settings.printConfig(taken) == Settings.printConfig(expected))
    #expect(
      new.errors != old.errors && new.rebuildErrors != old.rebuildErrors && new.logLevel != old.logLevel
        && new.logsValues != old.logsValues)
    #expect(taken.keysThatNeedRestart(for: new) == old.keysThatNeedRestart(for: new))
  }

  private static let secret = #"""
    [database]
    url = "host=${HOST} password=${WORD}"
    pool_size = 4
    [projections.A]
    exec = ["/bin/mailer", "--password", "${WORD}"]
    env = { SMTP_PASSWORD = "${WORD}", PLAIN = "$${HOME}" }
    events = ["${WORD}-sent", "other"]
    [projections.B]
    library = "/lib/b.so"
    config = "password=${WORD}\n"
    [projections.C]
    tables = ["c"]
    [projections.C.on]
    "a b" = "INSERT INTO c VALUES ('${WORD}')"
    [[on_error]]
    projection = ["A"]
    do = ["stop"]
    [[on_error]]
    projection = ["${WHO}"]
    do = ["stop"]
    """#
  private static let environment = ["HOST": "db1.example", "WORD": "hunter2", "WHO": "B"]

  @Test func `in a variable are printed as the file has them, whatever key they are in`() throws {
    let settings = try parse(Self.secret, environment: Self.environment)
    let printed = Settings.printConfig(settings)
    #expect(!printed.contains("hunter2") && !printed.contains("db1.example"))
    for line in [
      #"exec = ["/bin/mailer", "--password", "${WORD}"]"#,
      #"env = { SMTP_PASSWORD = "${WORD}", PLAIN = "$${HOME}" }"#, #"events = ["${WORD}-sent", "other"]"#,
      #"on = { "a b" = "INSERT INTO c VALUES ('${WORD}')" }"#, #"projection = ["${WHO}"]"#, "password=${WORD}",
      #"url = "host=${HOST} password=***""#,
    ] {
      #expect(printed.contains(line), "\(line)\n\(printed)")
    }
    // What is printed means the same, but for the password.
    let again = try parse(printed, environment: Self.environment)
    #expect(again.projections.map(\.fingerprint) == settings.projections.map(\.fingerprint))
    #expect(again.failureRules == settings.failureRules)
    #expect(Settings.printConfig(again) == printed)
  }

  @Test func `of [database] are printed as written for each database that shares them`() throws {
    let text = """
      [database]
      application_name = "${NAME}"
      [databases.a]
      url = "dbname=a"
      [databases.b]
      url = "dbname=b"
      application_name = "own"
      """
    let printed = Settings.printConfig(try parse(text, environment: ["NAME": "hunter2"]))
    #expect(!printed.contains("hunter2"))
    #expect(printed.components(separatedBy: "application_name = \"${NAME}\"").count == 3)
    #expect(printed.contains("application_name = \"own\""))
  }

  @Test(arguments: [
    "events = [\"${WORD}\", \"${WORD}\"]", "sql_file = \"${WORD}.sql\"", "start = \"${WORD}\"",
    "on_poison = \"${WORD}\"", "sql = \"COMMIT ${WORD}\"", "tables = [\"${WORD} ${WORD}\"]", "events = \"${WORD}\"",
  ])
  func `in a variable are in no problem`(line: String) {
    let sql = line.hasPrefix("sql") ? "" : "sql = \"SELECT 1\"\n"
    let text = "[database]\nurl = \"\"\n[event_store]\naccept = [\"${WORD}\"]\n[projections.A]\n\(sql)\(line)\n"
    let found = problems(text, environment: ["WORD": "hunter2"])
    #expect(!found.isEmpty && !found.joined().contains("hunter2"), "\(found)")
    #expect(found.joined().contains("${WORD}"), "\(found)")
  }
}
