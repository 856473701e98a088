import Commands
import Plugins
import Rules
import Settings
import Telemetry

/// The pages that are made from what the program itself knows: its verbs, its keys and its observations.
enum ManualPages {
  static let names = ["tidemark.1", "tidemark.toml.5", "tidemark.observations.7"]

  /// - Parameters:
  ///   - program: of tidemark(1).
  ///   - shared: options that several verbs have, told once.
  static func page(_ name: String, of program: Verb, shared: [any DescribedOption]) -> String? {
    switch name {
    case "tidemark.1": verbs(of: program, shared: shared)
    case "tidemark.toml.5": settings
    case "tidemark.observations.7": observations
    default: nil
    }
  }

  private static func verbs(of program: Verb, shared: [any DescribedOption]) -> String {
    var page = Mdoc(
      title: "tidemark", section: 1, about: "keep read models up to date from an event table in PostgreSQL")
    page.synopsis(of: program)
    page.section("DESCRIPTION")
    page.marked(program.discussion)
    page.verbs(of: program, shared: shared)
    page.section("ENVIRONMENT")
    page.beginList()
    page.variable(["TIDEMARK_CONFIG"], "The settings file, where -c, or --config, is not given.")
    page.variable(["NO_COLOR"], "No colours on a terminal.")
    page.variable(["COLUMNS"], "How wide help is, where it does not go to a terminal; 80 unless set, and 120 at most.")
    page.variable(
      ["PGHOST", "PGPORT", "PGUSER", "PGPASSFILE", "PGSERVICE"],
      "These and others: what libpq takes from its environment.")
    page.endList()
    page.section("FILES")
    page.beginList()
    page.file("/etc/tidemark/tidemark.toml", "The settings.")
    page.file("/etc/tidemark/projections.d/*.toml", "More projections.")
    page.file("/usr/share/bash-completion/completions/tidemark", "Completion for bash.")
    page.file("/usr/share/zsh/vendor-completions/_tidemark", "Completion for zsh.")
    page.file("/usr/share/fish/vendor_completions.d/tidemark.fish", "Completion for fish.")
    page.endList()
    page.section("EXIT STATUS")
    page.beginList()
    for status in ExitStatus.allCases {
      page.status(Int(status.rawValue), status.meaning.prefix(1).uppercased() + status.meaning.dropFirst() + ".")
    }
    page.endList()
    page.examples(of: program)
    page.seeAlso([("tidemark.toml", 5), ("tidemark", 7), ("tidemark-plugin", 7), ("tidemark.observations", 7)])
    return page.text
  }

  private static var settings: String {
    var page = Mdoc(title: "tidemark.toml", section: 5, about: "settings of the tidemark daemon")
    page.section("DESCRIPTION")
    page.lead(
      """
      The daemon and every verb of tidemark(1) read one TOML file, /etc/tidemark/tidemark.toml unless --config or TIDEMARK_CONFIG
      names another, and then, in the order of their names, the files projections.d/*.toml beside it, which hold projections only.
      """)
    page.paragraph(
      """
      In every string, ${NAME} stands for an environment variable; one that is not set is an error. $${NAME} stands for the text
      ${NAME} itself. Other dollars, such as the quotes of SQL, are left alone. Durations are a whole number and a unit: ms, s, m, h, d.
      """)
    page.paragraph(
      "Every problem of all files is told at once, with file, line, key, what was expected and what was found. `tidemark check` looks a file over without starting anything."
    )
    let documents = Settings.documents
    page.section("KEYS")
    list(documents.filter { !$0.path.hasPrefix("projections.") }, &page)
    page.section("PROJECTIONS")
    page.lead(
      "Each table [projections.NAME] declares what turns events into a read model. NAME:All is the name of its shard.")
    list(documents.filter { $0.path.hasPrefix("projections.") }, &page)
    page.section("FILES")
    page.beginList()
    page.item("/etc/tidemark/tidemark.toml", "The settings.")
    page.item("/etc/tidemark/projections.d/*.toml", "More projections.")
    page.item("/usr/share/doc/tidemark/tidemark.full.toml", "A sample with every key.")
    page.endList()
    page.seeAlso([("tidemark", 1), ("tidemark", 7), ("tidemark-plugin", 7), ("tidemark.observations", 7)])
    return page.text
  }

  private static func list(_ documents: [KeyDocument], _ page: inout Mdoc) {
    page.beginList()
    for document in documents {
      page.item(document.path, document.meaning)
      let standard = document.standard.map { " Default: \($0)." } ?? ""
      let reload = document.isReloadable ? " Taken over by a reload." : ""
      page.more("Expected: \(document.form).\(standard)\(reload)")
    }
    page.endList()
  }

  private static var observations: String {
    var page = Mdoc(title: "tidemark.observations", section: 7, about: "what the tidemark daemon writes into the log")
    page.section("DESCRIPTION")
    page.lead(
      """
      Each entry of the daemon's log is one of the following. In the systemd journal an entry carries its message id and its data as
      fields: `journalctl -u tidemark TIDEMARK_SHARD=Trip:All` shows what concerns one shard, `journalctl MESSAGE_ID=...` one kind of
      entry, and `journalctl -u tidemark -p err` what somebody must look at. Bodies of events and passwords are in none of them.
      """)
    page.paragraph(
      """
      The same failure of the same shard is written again after one minute, two, four, and so on up to an hour; `tidemark status`
      shows it all the while.
      """)
    page.section("OBSERVATIONS")
    page.beginList()
    for fact in Fact.all {
      page.item(fact.message, fact.meaning)
      page.more("What to do: \(fact.action)")
      page.more("Level \(fact.level.name), message id \(fact.id).")
    }
    page.endList()
    page.section("CODES")
    page.lead(
      """
      What Tidemark itself objects to has a code, which stays what it is whatever becomes of the words. It stands beside the error in
      the log and in what the verbs say; `sqlstate` in [[on_error]] can name those that a page fails with.
      """)
    codes("Settings", of: Problem.Code.self, &page)
    codes("The event store", of: StoreCode.self, &page)
    codes("Raised in the database, as SQLSTATE", of: RaisedCode.self, &page)
    codes("Rebuilds", of: RebuildProblem.Code.self, &page)
    codes("Plugins", of: PluginProblem.Code.self, &page)
    page.section("FIELDS")
    page.lead(
      "Where they apply: TIDEMARK_SHARD, TIDEMARK_DATABASE (the name of one of several databases), TIDEMARK_SEQUENCE, TIDEMARK_POSITION, TIDEMARK_MARK, TIDEMARK_ERROR, TIDEMARK_SOURCE (file and line of the statement), ERROR_CODE (the SQLSTATE, or a code of Tidemark's own), MESSAGE_ID."
    )
    page.seeAlso([("tidemark", 1), ("tidemark.toml", 5), ("tidemark", 7), ("tidemark-plugin", 7)])
    return page.text
  }

  private static func codes<Code: ProblemCode>(_ title: String, of type: Code.Type, _ page: inout Mdoc) {
    page.subsection(title)
    page.beginList()
    for code in Code.allCases { page.item(code.rawValue, code.meaning) }
    page.endList()
  }
}
