/// A code that names a problem for good, whatever becomes of the words: for searching, for rules and for scripts. One of Tidemark's own,
/// by layer, or what the server said.
package enum Code: Hashable, Sendable {
  case settings(SettingsCode)
  case store(StoreCode)
  case raised(RaisedCode)
  case rebuild(RebuildCode)
  case plugin(PluginCode)
  /// PostgreSQL's five characters, or those of a function of the operator's.
  case sqlState(String)

  /// - Parameter sqlState: of an error of the server's, which may be raised by a function of ours.
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

  /// `SQLSTATE 22012`, or `TM501`, which is nothing of PostgreSQL's.
  package var words: String { Self.words(text) }

  /// - Parameter text: of a code that was kept as text, as dead letters are.
  package static func words(_ text: String) -> String { text.hasPrefix("TM") ? text : "SQLSTATE \(text)" }

  /// Every code of Tidemark's own by layer, for the manual: tidemark.observations(7) lists them.
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

/// What is wrong with the settings.
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
    case .unreadable: "A settings file, or a file that it names, cannot be read."
    case .syntax: "A settings file is not valid TOML."
    case .unknownKey: "There is no such key."
    case .value: "A value has the wrong type, or is out of range."
    case .missingKey: "A required key is missing."
    case .unsetVariable: "${NAME} names an environment variable that is not set."
    case .conflict: "Two keys exclude each other, or the same thing is declared twice."
    case .statement: "The text of a statement cannot be used."
    }
  }
}

/// Why an event store cannot be followed, or one of its shards cannot start.
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
  case unproven = "TM220"

  package var meaning: String {
    switch self {
    case .noStore: "The schema holds no event table."
    case .unfitStore: "A table is there but not in a shape that can be followed exactly."
    case .noPrivilege: "The role lacks a privilege."
    case .schemaBehind: "Tidemark's own schema is missing or older than this program."
    case .schemaAhead: "Tidemark's own schema was made by a newer program, which this one may not run beside."
    case .standby: "The server is a standby: the locks of the primary cannot be seen there."
    case .sequenceReset: "The sequence is below a mark that was already proven: it was reset, or the database restored."
    case .oldServer: "The server is older than the oldest supported release."
    case .otherStore: "Tidemark's schema in this database serves another event store."
    case .replaced: "The event table or its sequence was made anew while the daemon followed it."
    case .otherNode: "Another node follows this store, and this one is not meant to share."
    case .pooled: "A connection goes through a pooler that gives each statement another session."
    case .unproven: "The proof of the high-water mark does not hold for the event table as it is declared."
    case .notAtRest: "A shard is to take over from the application, and events are still being appended."
    case .schemaBusy: "Tidemark's own schema could not be changed: another session held a lock for too long."
    }
  }
}

/// What Tidemark's own functions in the database raise, as SQLSTATE.
package enum RaisedCode: String, ProblemCode {
  case positionMoved = "TM301"
  case otherVersion = "TM302"
  case unknownShard = "TM303"
  case strayStatement = "TM304"
  case pageChanged = "TM305"
  case unknownPart = "TM306"
  case rowsOfOthers = "TM307"
  case viewElsewhere = "TM308"

  package var meaning: String {
    switch self {
    case .positionMoved: "A position is not where the page begins: somebody else moves it. The page was rolled back."
    case .otherVersion: "tidemark.append: the stream is at another version. Read it again, decide again."
    case .unknownShard: "tidemark.wait_for: there is no shard of this name with a position."
    case .strayStatement: "A statement of a rebuild writes or reads past the new tables. The page was rolled back."
    case .viewElsewhere:
      "The view tidemark.batch is missing or shows another table than the event table. The page was rolled back; the daemon looks the store up again."
    case .pageChanged:
      "The events of a page have changed while a plugin had them: one arrived late, or dead letters were replayed. The page is read again."
    case .unknownPart:
      "A stream or a tenant that is to be rebuilt has no events, or cannot be one; the command says TM334."
    case .rowsOfOthers:
      "A rebuild of some streams or tenants has made rows that are not theirs; the command says TM327."
    }
  }
}

/// Why a rebuild cannot be done, or cannot go on.
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

  package var meaning: String {
    switch self {
    case .noTables:
      "The projection does not say which tables it fills, or one of them is not there, or is no table."
    case .notRedirected: "A statement writes or reads past the search path."
    case .wrongWay: "This way of exchange is not possible."
    case .nothingApplied: "The shard has no position, as nothing was ever applied, or none so high."
    case .underWay: "Somebody else works on it."
    case .otherRequest: "What is half made was begun for something else."
    case .noKey:
      "Only some streams or tenants, or several workers, of a projection that does not say how to tell rows apart."
    case .pageFailed: "A page failed, and the policy of rebuilds says stop."
    case .tablesChanged: "The tables were changed meanwhile."
    case .noPrivilege: "The role may not make the new tables."
    case .otherDefinition: "The node runs another definition than the command's settings file has."
    case .aborted: "An operator ended it."
    case .plugin: "A plugin that is not rebuilt, or not in the way that was asked for."
    case .unknownPart: "A stream or a tenant that has no events, or cannot be one."
    case .collision: "A new row has the key of an old one that stays."
    }
  }
}

/// Why a plugin did not do its part.
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
    case .closedOutput: "A plugin closed its standard output, so no answer can come."
    case .silent: "A plugin did not answer in time."
    case .garbage: "A plugin wrote a line that is not a message of the protocol."
    case .lineTooLong: "A line of a plugin, or an event for one, is longer than the protocol allows."
    case .wrongAnswer:
      "A plugin answered for another page, or before it was handed one, or a library returned an unknown value."
    case .refused: "A plugin refuses to run, or speaks another version of the protocol."
    case .badLibrary: "A library cannot be loaded, or was built for another version of the interface."
    case .badStatement: "A statement of a plugin's answer is not allowed in a page."
    }
  }
}
