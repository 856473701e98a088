/// A stable code for a problem, for searching, for rules and for scripts; the words may change. Either one of Tidemark's own, by layer,
/// or the server's SQLSTATE.
package enum Code: Hashable, Sendable {
  case settings(SettingsCode)
  case store(StoreCode)
  case raised(RaisedCode)
  case rebuild(RebuildCode)
  case plugin(PluginCode)
  /// PostgreSQL's five characters, or those that one of the operator's functions raises.
  case sqlState(String)

  /// - Parameter sqlState: of an error from the server, which one of our functions may have raised.
  package init(sqlState: String) {
    self = RaisedCode(rawValue: sqlState).map(Code.raised) ?? .sqlState(sqlState)
  }

  /// The five characters.
  package var text: String {
    switch self {
    case .settings(let code): code.rawValue
    case .store(let code): code.rawValue
    case .raised(let code): code.rawValue
    case .rebuild(let code): code.rawValue
    case .plugin(let code): code.rawValue
    case .sqlState(let code): code
    }
  }

  /// `SQLSTATE 22012`, or `TM501`, which is not PostgreSQL's.
  package var words: String { Self.words(text) }

  /// - Parameter text: of a code that is stored as text, as in dead letters.
  package static func words(_ text: String) -> String { text.hasPrefix("TM") ? text : "SQLSTATE \(text)" }

  /// All of Tidemark's own codes by layer, for the manual: tidemark.observations(7) lists them.
  package static let groups = [
    Group("Settings", SettingsCode.self), Group("The event store", StoreCode.self),
    Group("Raised in the database, as SQLSTATE", RaisedCode.self), Group("Rebuilds", RebuildCode.self),
    Group("Plugins", PluginCode.self),
  ]

  package struct Group: Sendable {
    package let title: String
    package let codes: [(text: String, meaning: String)]

    fileprivate init<Layer: ProblemCode>(_ title: String, _ layer: Layer.Type) {
      self.title = title
      codes = layer.allCases.map { ($0.rawValue, $0.meaning) }
    }
  }
}

/// The codes of one layer.
package protocol ProblemCode: RawRepresentable<String>, CaseIterable, Hashable, Sendable {
  /// A sentence for the manual.
  var meaning: String { get }
}

/// Problems with the settings.
package enum SettingsCode: String, ProblemCode {
  case unreadable = "TM101"
  case syntax = "TM102"
  case unknownKey = "TM103"
  case value = "TM104"
  case missingKey = "TM105"
  case unsetVariable = "TM106"
  case conflict = "TM107"
  case statement = "TM108"

  package var meaning: String {
    switch self {
    case .unreadable: "A settings file, or a file that it refers to, cannot be read."
    case .syntax: "A settings file is not valid TOML."
    case .unknownKey: "The key does not exist."
    case .value: "A value has the wrong type, or is out of range."
    case .missingKey: "A required key is missing."
    case .unsetVariable: "${NAME} refers to an environment variable that is not set."
    case .conflict: "Two keys exclude each other, or something is declared twice."
    case .statement: "The text of a statement cannot be used."
    }
  }
}

/// Why the daemon cannot follow an event store, or cannot start one of its shards.
package enum StoreCode: String, ProblemCode {
  case noStore = "TM201"
  case unfitStore = "TM202"
  case noPrivilege = "TM203"
  case schemaBehind = "TM204"
  case schemaAhead = "TM205"
  case standby = "TM206"
  case sequenceReset = "TM207"
  case oldServer = "TM208"
  case otherStore = "TM209"
  case replaced = "TM210"
  case otherNode = "TM211"
  case pooled = "TM212"
  case notAtRest = "TM213"
  case schemaBusy = "TM214"
  case mismatch = "TM216"
  case untrusted = "TM217"
  case moved = "TM218"
  case unproven = "TM220"

  package var meaning: String {
    switch self {
    case .noStore: "The schema has no event table."
    case .unfitStore: "A table exists, but its columns or keys do not allow Tidemark to follow it exactly."
    case .noPrivilege: "The daemon's role lacks a privilege."
    case .schemaBehind: "Tidemark's own schema is missing or older than this program."
    case .schemaAhead: "A newer program made Tidemark's own schema, and this one is too old to run beside it."
    case .standby: "The server is a standby, which does not show the locks of the primary."
    case .sequenceReset:
      "The sequence is below a mark that was already proven: it was reset, or the database was restored."
    case .oldServer: "The server is older than the oldest supported release."
    case .otherStore: "Tidemark's schema in this database serves another event store."
    case .replaced: "The event table or its sequence was recreated while the daemon followed it."
    case .otherNode: "Another node follows this store, and this one is not set up to share it."
    case .pooled: "A connection goes through a pooler that runs each statement in a different session."
    case .unproven: "The proof of the high-water mark does not hold for the event table as it is declared."
    case .notAtRest: "A shard cannot take over from the application while events are still being appended."
    case .mismatch:
      "A shard's position and its tables do not seem to belong together: a name changed, or a table or a position is not the one it was."
    case .moved:
      "A shard's position is not where Tidemark left it: another program, or a person, wrote or deleted it."
    case .untrusted:
      "An object with one of Tidemark's names, or a part of the event store, belongs to a role that nothing speaks for."
    case .schemaBusy: "Tidemark's own schema could not be changed because another session held a lock for too long."
    }
  }
}

/// The SQLSTATEs that Tidemark's own functions in the database raise.
package enum RaisedCode: String, ProblemCode {
  case positionMoved = "TM301"
  case otherVersion = "TM302"
  case unknownShard = "TM303"
  case strayStatement = "TM304"
  case pageChanged = "TM305"
  case unknownPart = "TM306"
  case rowsOfOthers = "TM307"
  case viewElsewhere = "TM308"
  case rowsMissing = "TM310"
  case compacted = "TM311"

  package var meaning: String {
    switch self {
    case .positionMoved:
      "A position is not where the page begins, because another process moved it. The page was rolled back."
    case .otherVersion: "tidemark.append: the stream is at another version. Read it again and decide again."
    case .unknownShard: "tidemark.wait_for: no shard of this name has a position."
    case .strayStatement:
      "A statement of a rebuild reads or writes other tables than the new ones. The page was rolled back."
    case .viewElsewhere:
      "The view tidemark.batch is missing or shows another table than the event table. The page was rolled back; the daemon looks the store up again."
    case .pageChanged:
      "The events of a page changed while a plugin worked on them: one arrived late, or dead letters were replayed. The daemon reads the page again."
    case .unknownPart:
      "A stream or a tenant to rebuild has no events, or its identifier is invalid; the command reports TM334."
    case .compacted:
      "A page has a row that stands for events which the store compacted before the shard had applied them."
    case .rowsMissing:
      "The copy at the end of a rebuild left other rows than the rebuild made. Nothing was changed."
    case .rowsOfOthers:
      "A rebuild of some streams or tenants made rows that belong to others; the command reports TM327."
    }
  }
}

/// Why a rebuild cannot start or continue.
package enum RebuildCode: String, ProblemCode {
  case noTables = "TM321"
  case notRedirected = "TM322"
  case wrongWay = "TM323"
  case nothingApplied = "TM324"
  case underWay = "TM325"
  case otherRequest = "TM326"
  case noKey = "TM327"
  case pageFailed = "TM328"
  case tablesChanged = "TM329"
  case noPrivilege = "TM330"
  case otherDefinition = "TM331"
  case aborted = "TM332"
  case plugin = "TM333"
  case unknownPart = "TM334"
  case collision = "TM335"
  case fewerRows = "TM336"
  case notEmptied = "TM337"
  case noSpace = "TM338"
  case otherLeader = "TM339"

  package var meaning: String {
    switch self {
    case .noTables:
      "The projection does not declare its tables, or one of them does not exist or is not a table."
    case .notRedirected: "A statement reads or writes tables that it does not find by the search path."
    case .wrongWay: "This way of exchange is not possible."
    case .nothingApplied:
      "The shard has no position, because it never applied an event, or its position is lower than the one requested."
    case .underWay: "Another node or command works on the rebuild."
    case .otherRequest: "The unfinished rebuild was started with other options."
    case .noKey:
      "A rebuild of some streams or tenants, or with several workers, needs a key that says which rows are whose, and the projection declares none."
    case .pageFailed: "A page failed, and the failure policy of rebuilds says stop."
    case .tablesChanged: "The tables changed during the rebuild."
    case .noPrivilege: "The role lacks the privilege to create the new tables."
    case .otherDefinition: "The node runs another definition than the one in the command's settings file."
    case .aborted: "An operator ended the rebuild."
    case .plugin: "The plugin cannot be rebuilt, or not in the requested way."
    case .unknownPart: "A stream or a tenant has no events, or its identifier is invalid."
    case .fewerRows:
      "The rebuild would leave fewer rows than there are, or needs events that the store compacted or removed. Nothing was changed."
    case .notEmptied:
      "A rebuild in place cannot empty exactly the tables that it fills again, or would empty others. Nothing was changed."
    case .otherLeader: "Another program leads the shard, or moves its position. Nothing was changed."
    case .collision: "A new row has the key of an old row that stays."
    case .noSpace:
      "The server's disk has no room for the new tables. They were removed, so that the live shards have what is left."
    }
  }
}

/// Failures of a plugin.
package enum PluginCode: String, ProblemCode {
  case notStarted = "TM501"
  case ended = "TM502"
  case closedOutput = "TM503"
  case silent = "TM504"
  case garbage = "TM505"
  case lineTooLong = "TM506"
  case wrongAnswer = "TM507"
  case refused = "TM508"
  case badLibrary = "TM509"
  case badStatement = "TM510"

  package var meaning: String {
    switch self {
    case .notStarted: "A plugin cannot be run: it is missing, not executable, or its directory is missing."
    case .ended: "A plugin exited unexpectedly. The hint shows its last lines on standard error."
    case .closedOutput: "A plugin closed its standard output, so it can no longer answer."
    case .silent: "A plugin did not answer in time."
    case .garbage: "A plugin wrote a line that is not a message of the protocol."
    case .lineTooLong: "A line from a plugin, or an event for it, is longer than the protocol allows."
    case .wrongAnswer:
      "A plugin answered for another page, or before it was given one, or a library returned an unknown value."
    case .refused: "A plugin refuses to run, or speaks another version of the protocol."
    case .badLibrary: "A library cannot be loaded, or was built for another version of the interface."
    case .badStatement: "A statement of a plugin's answer is not allowed in a page."
    }
  }
}
