import Foundation
import Rules
import Settings
import Testing

@Suite struct `Problems of a settings file` {
  /// Each `Fixtures/NAME.toml` must have exactly the problems in `Fixtures/NAME.txt`.
  @Test(arguments: [
    "unknown-keys", "wrong-types", "projections", "statements", "missing-database", "syntax", "variables",
    "reserved-names", "rules", "databases", "plugins",
  ])
  func `are reported all at once, each with its place`(name: String) throws {
    let folder = try #require(Bundle.module.resourceURL).appending(path: "Fixtures")
    let text = try String(contentsOf: folder.appending(path: "\(name).toml"), encoding: .utf8)
    let golden = folder.appending(path: "\(name).txt")
    let said = problems(text).map { $0 + "\n" }.joined()
    let expected = (try? String(contentsOf: golden, encoding: .utf8)) ?? ""
    #expect(said == expected)
    if ProcessInfo.processInfo.environment["TIDEMARK_RECORD"] != nil {
      let source = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/\(name).txt")
      try said.write(to: source, atomically: true, encoding: .utf8)
    }
  }

  @Test func `name both places of a projection declared twice`() {
    let said = problems(
      database + "[projections.A]\nsql = \"SELECT 1\"\n",
      ["/etc/projections.d/x.toml": "[projections.A]\nsql = \"SELECT 2\"\n"])
    #expect(
      said == [
        "/etc/projections.d/x.toml:1:14: projections.A: declared twice; the first declaration is at /etc/tidemark.toml:3 (TM107)"
      ])
  }

  @Test(
    arguments: [
      ("trip", "trip", true), ("trip", "TRIP", true), ("trip", "\\\"trip\\\"", true),
      ("a.trip", "A.\\\"trip\\\"", true),
      ("trip", "\\\"Trip\\\"", false), ("a.trip", "b.trip", false), ("\\\"a.trip\\\"", "a.trip", false),
      // Only the database tells.
      ("trip", "public.trip", false),
    ])
  func `name both projections that declare one table`(first: String, second: String, isOne: Bool) {
    let said = problems(
      database
        + """
        [projections.A]
        tables = ["\(first)"]
        sql = "SELECT 1"
        [projections.B]
        tables = ["other", "\(second)"]
        sql = "SELECT 2"

        """)
    #expect(said.count == (isOne ? 1 : 0), "\(said)")
    #expect(said.allSatisfy { $0.contains("the projection A declares the table") && $0.contains("tidemark.toml:3") })
  }

  @Test func `in projections.d are reported with its keys`() {
    let said = problems(
      database, ["/etc/projections.d/x.toml": "[database]\nurl = \"x\"\n", "/etc/projections.d/y.toml": "= 1"])
    #expect(said.count == 2)
    #expect(said.first?.hasPrefix("/etc/projections.d/x.toml:1:2: database: unknown key") == true)
    #expect(said.last?.hasPrefix("/etc/projections.d/y.toml:1:1: not valid TOML") == true)
  }

  @Test func `of a missing file say how to name another`() {
    do {
      _ = try Settings.load(path: "/nowhere/tidemark.toml", environment: [:], files: files([:]))
      Issue.record("it was loaded")
    } catch {
      #expect(
        error.lines == [
          "/nowhere/tidemark.toml: cannot be read: No such file or directory (TM101); Name another file with --config or TIDEMARK_CONFIG."
        ])
    }
  }

  @Test func `of a file that is not UTF-8 are one`() throws {
    let files = SettingsFiles(read: { _ in .success([0x61, 0xFF, 0xFE]) })
    do {
      _ = try Settings.load(path: "x.toml", environment: [:], files: files)
      Issue.record("it was loaded")
    } catch {
      #expect(error.lines == ["x.toml: expected UTF-8 text, found other bytes (TM102)"])
    }
  }

  @Test func `of an empty file are the missing database`() {
    #expect(problems("").map { $0.contains("database.url") } == [true])
  }

  @Test func `of a monstrous file are reported without a crash`() {
    #expect(problems(String(repeating: "a.", count: 100_000) + "b = 1").first?.contains("more than 64 parts") == true)
    #expect(problems(String(repeating: "[", count: 100_000)).count == 1)
    #expect(problems("x = " + String(repeating: "[", count: 100_000)).count == 1)
    #expect(problems("x = " + String(repeating: "{a=", count: 100_000)).count == 1)
    #expect(problems(String(repeating: "# x\n", count: 400_000)).first?.contains("larger than 1024 KiB") == true)
  }

  /// Any file gives either settings or problems, each with a line of the file.
  @Test func `of any text are reported without a crash`() {
    var state = UInt64.random(in: 0...UInt64(UInt32.max))
    let seed = state
    func below(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    let valid = Array(Settings.sampleFull().utf8)
    for round in 0..<3_000 {
      var bytes = valid
      for _ in 0...below(6) {
        let place = below(bytes.count)
        switch below(5) {
        case 0: bytes[place] = UInt8(below(256))
        case 1: bytes.remove(at: place)
        case 2: bytes.insert(Array("\"'[]{}=.\n#,$\\".utf8)[below(13)], at: place)
        case 3: bytes.removeSubrange(place..<min(bytes.count, place + below(80)))
        default:
          bytes.insert(contentsOf: valid[place % valid.count..<min(valid.count, place % valid.count + 40)], at: place)
        }
        if bytes.isEmpty { bytes = [0x61] }
      }
      let content = bytes
      do {
        let files = SettingsFiles(read: { _ in .success(content) })
        _ = try Settings.load(path: "f.toml", environment: [:], files: files)
      } catch {
        #expect(!error.problems.isEmpty, "seed \(seed), round \(round)")
        let lines = content.count { $0 == UInt8(ascii: "\n") } + 2
        for problem in error.problems {
          #expect(problem.source!.line <= lines, "seed \(seed), round \(round): \(problem)")
        }
      }
    }
  }
}

@Suite struct `The description of the keys` {
  @Test func `is the content of the full sample, which loads to the defaults`() throws {
    let settings = try parse(Settings.sampleFull())
    var expected = try parse("[database]\nurl = \"postgresql:///shop?host=/run/postgresql\"\n")
    expected.projections = settings.projections
    #expect(Settings.printConfig(settings).hasPrefix(Settings.printConfig(expected)))
    #expect(settings.projections.map(\.name) == ["Trip"])
  }

  @Test func `is the content of etc/tidemark.full.toml`() throws {
    let file = repository.appending(path: "etc/tidemark.full.toml")
    if ProcessInfo.processInfo.environment["TIDEMARK_RECORD"] != nil {
      try Settings.sampleFull().write(to: file, atomically: true, encoding: .utf8)
    }
    #expect(try String(contentsOf: file, encoding: .utf8) == Settings.sampleFull())
  }

  @Test func `the minimal sample loads`() throws {
    let text = try String(contentsOf: repository.appending(path: "etc/tidemark.toml"), encoding: .utf8)
    #expect(try parse(text).projections.count == 1)
  }

  @Test func `makes print-config a file with the same meaning`() throws {
    let settings = try parse(
      database + """
        password_file = "pw"
        [event_store]
        gap_grace = "1500ms"
        [projections."a.b"]
        tables = ["x", "y\\"z"]
        sql = '''
        SELECT '\\' , "q";
        SELECT 2
        '''
        [projections.E]
        version = 3
        start = 7
        setup = "CREATE TABLE t (a text DEFAULT '''')"
        [projections.E.on]
        "odd type" = "SELECT :data -- it's"
        """, ["/etc/pw": "x"])
    let again = try parse(Settings.printConfig(settings), ["/etc/pw": "x"])
    #expect(Settings.printConfig(again) == Settings.printConfig(settings))
    #expect(again.projections.map(\.name) == settings.projections.map(\.name))
    #expect(again.projections.map(\.start) == settings.projections.map(\.start))
    #expect(again.projections.map(\.takes) == settings.projections.map(\.takes))
    #expect(again.projections.map(\.tables) == settings.projections.map(\.tables))
  }
}

private let repository = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent()
