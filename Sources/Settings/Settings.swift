package import Rules

/// Everything the operator can set, checked and complete. Built by ``load(path:environment:)``.
///
/// The keys, with their meaning, limits and defaults, are described once, in `SettingsKeys.swift` and `ProjectionKeys.swift`.
package struct Settings: Hashable, Sendable {
  package var mode = NodeMode.solo
  package var stopTimeout = Duration.seconds(30)
  package var monitorsLocks = true
  /// The one database; with `[databases.NAME]`, what those do not say themselves.
  package var database = DatabaseSettings()
  /// `[databases.NAME]`, in the order of the file; empty where there is one database only.
  package var namedDatabases: [DatabaseSettings] = []
  package var eventStore = EventStoreSettings()
  package var logLevel = LogLevel.info
  package var errors = ErrorSettings()
  /// The same while a read model is rebuilt: there no event that fails is passed over unless the operator says so. Events of other types are
  /// passed over all the same: in a store with several projections most of them are not for this one.
  package var rebuildErrors = ErrorSettings(skipApplyErrors: false, skipSerializationErrors: false)
  /// `[[on_error]]`, in the order of the file.
  package var failureRules: [FailureRule] { failureRuleDrafts.map(\.rule) }
  var failureRuleDrafts: [FailureRuleDraft] = []
  /// In the order of the files.
  package var projections: [ProjectionDefinition] = []
  /// The same as the files have them, for `print-config`.
  var declarations: [ProjectionDeclaration] = []

  /// What goes into the log: this and what weighs more.
  package enum LogLevel: String, CaseIterable, Sendable { case debug, info, notice, warning, error }
}

extension Settings {
  /// Takes over what a running daemon can change.
  package mutating func takeOver(_ new: Settings) {
    projections = new.projections
    logLevel = new.logLevel
    errors = new.errors
    rebuildErrors = new.rebuildErrors
    failureRuleDrafts = new.failureRuleDrafts
  }

  /// What is done about failures while shards follow the store.
  package var failurePolicy: FailurePolicy {
    FailurePolicy(
      rules: failureRules, skipApplyErrors: errors.skipApplyErrors,
      skipSerializationErrors: errors.skipSerializationErrors, skipUnknownEvents: errors.skipUnknownEvents)
  }
}

extension Settings {
  /// The same while a read model is rebuilt.
  package var rebuildPolicy: FailurePolicy {
    FailurePolicy(
      rules: failureRules, skipApplyErrors: rebuildErrors.skipApplyErrors,
      skipSerializationErrors: rebuildErrors.skipSerializationErrors, skipUnknownEvents: rebuildErrors.skipUnknownEvents
    )
  }
}

package struct ErrorSettings: Hashable, Sendable {
  package var skipApplyErrors = true
  package var skipSerializationErrors = true
  package var skipUnknownEvents = true
}

/// `[projections.NAME]` as it stands in a file.
struct ProjectionDeclaration: Hashable, Sendable {
  var name: String
  var draft = ProjectionDraft()
  var file: String
  var place: TOMLPlace
}

extension Settings {
  /// These settings for each database on its own.
  package var perDatabase: [Settings] {
    guard !namedDatabases.isEmpty else { return [self] }
    return namedDatabases.map { database in
      var settings = self
      settings.database = database
      settings.namedDatabases = []
      return settings
    }
  }

  /// The names of `[databases.NAME]`.
  package var databaseNames: [String] { namedDatabases.compactMap(\.name) }
}

package struct DatabaseSettings: Hashable, Sendable {
  /// Of `[databases.NAME]`; nil for `[database]`.
  package var name: String?
  var givenURL: String?
  /// A libpq connection string. May hold a password: show it through `redacted(connectionString:)` only.
  package var url: String {
    get { givenURL ?? "" }
    set { givenURL = newValue }
  }
  /// For the locks of leadership, where `url` goes through a pooler.
  package var lockURL: String?
  package var passwordFile: String?
  /// What the password file holds.
  package var password: Secret?
  package var poolSize = 8
  package var workMemory = "32MB"
  package var connectTimeout = Duration.seconds(10)
  package var applicationName = "tidemark"
}

package struct EventStoreSettings: Hashable, Sendable {
  package var dialect = Dialect.marten
  package var schema = "public"
  package var append = AppendMode.rich
  package var gapGrace = Duration.seconds(3)
  package var lateArrivalWindow = Duration.seconds(3600)
  package var pollMin = Duration.milliseconds(10)
  package var pollMax = Duration.milliseconds(250)
  package var onLongHold = HighWater.LongHold()

  package enum Dialect: String, CaseIterable, Sendable { case marten }
}
