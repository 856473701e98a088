import Commands
import Rules
import Settings
import Telemetry

/// The manual pages that are generated from the program's own descriptions of its verbs, keys and observations.
enum ManualPages {
  static let names = ["tidemark.1", "tidemark.toml.5", "tidemark.observations.7"]

  /// - Parameters:
  ///   - program: the program that tidemark(1) describes.
  ///   - shared: options of several verbs, described once.
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
    page.variable(["TIDEMARK_CONFIG"], "The settings file, unless -c or --config is given.")
    page.variable(["NO_COLOR"], "If set, disables colours on a terminal.")
    page.variable(["COLUMNS"], "The width of help that does not go to a terminal; 80 if unset, at most 120.")
    page.variable(
      ["PGHOST", "PGPORT", "PGUSER", "PGPASSFILE", "PGSERVICE"],
      "These and all other environment variables of libpq apply.")
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
      names another, and then, in the order of their names, the files projections.d/*.toml in the same directory, which may only contain
      projections.
      """)
    page.paragraph(
      """
      In every string, ${NAME} stands for an environment variable; an unset variable is an error. $${NAME} stands for the text
      ${NAME} itself. Other dollar signs, such as SQL's dollar quotes, are left unchanged. A duration is a whole number and a unit: ms, s, m,
      h, d.
      """)
    page.paragraph(
      "The program reports all problems of all files at once, each with file, line, key, the expected value and the value found. `tidemark check` checks the settings without starting the daemon."
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
      let reload = document.isReloadable ? " A reload applies a new value." : ""
      page.more("Expected: \(document.form).\(standard)\(reload)")
    }
    page.endList()
  }

  private static var observations: String {
    var page = Mdoc(title: "tidemark.observations", section: 7, about: "log messages and codes of the tidemark daemon")
    page.section("DESCRIPTION")
    page.lead(
      """
      Each entry of the daemon's log is one of the following. In the systemd journal an entry carries its message id and its data as
      fields: `journalctl -u tidemark TIDEMARK_SHARD=Trip:All` shows the entries of one shard, `journalctl MESSAGE_ID=...` those of one
      kind, and `journalctl -u tidemark -p err` those that need an operator. No entry contains the body of an event or a password.
      """)
    page.paragraph(
      """
      If the same failure of the same shard persists, it is logged again after one minute, two, four, and so on up to an hour;
      `tidemark status` shows it all the time.
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
      Every problem that Tidemark itself reports has a code, which does not change when its wording does. The log and the verbs show it
      with the error; `sqlstate` in [[on_error]] can name the codes with which a page fails.
      """)
    for group in Code.groups {
      page.subsection(group.title)
      page.beginList()
      for code in group.codes { page.item(code.text, code.meaning) }
      page.endList()
    }
    page.section("FIELDS")
    page.lead(
      "Present where they apply: TIDEMARK_SHARD, TIDEMARK_DATABASE (the name of one of several databases), TIDEMARK_SEQUENCE, TIDEMARK_POSITION, TIDEMARK_MARK, TIDEMARK_ERROR, TIDEMARK_SOURCE (file and line of the statement), ERROR_CODE (the SQLSTATE, or a code of Tidemark's own), MESSAGE_ID."
    )
    page.seeAlso([("tidemark", 1), ("tidemark.toml", 5), ("tidemark", 7), ("tidemark-plugin", 7)])
    return page.text
  }
}
