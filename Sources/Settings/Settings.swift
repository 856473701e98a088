package import Rules

/// Everything the operator can set, checked and complete. Built by ``load(path:environment:)``.
///
/// `SettingsKeys.swift` and `ProjectionKeys.swift` describe the keys, with their meaning, limits and defaults.
package struct Settings: Hashable, Sendable {
  package var mode = NodeMode.solo
  package var stopTimeout = Duration.seconds(30)
  package var monitorsLocks = true
  /// The only database; with `[databases.NAME]`, the values they share.
  package var database = DatabaseSettings()
  /// `[databases.NAME]`, in the order of the file; empty if there is only one database.
  package var namedDatabases: [DatabaseSettings] = []
  package var eventStore = EventStoreSettings()
  package var logLevel = LogLevel.info
  /// Whether entries of the log may repeat values of events.
  package var logsValues = true
  package var errors = ErrorSettings()
  /// The error settings during a rebuild, which skips no failing event unless the operator allows it. Events of unknown
  /// types are skipped by default here too: in a store with several projections most events are not for this one.
  package var rebuildErrors = ErrorSettings(skipApplyErrors: false, skipSerializationErrors: false)
  /// `[[on_error]]`, in the order of the file.
  package var failureRules: [FailureRule] { failureRuleDrafts.map(\.rule) }
  var failureRuleDrafts: [FailureRuleDraft] = []
  /// In the order of the files.
  package var projections: [ProjectionDefinition] = []
  /// The projections as written in the files, for `print-config`.
  var declarations: [ProjectionDeclaration] = []
  /// The values with `${NAME}` as written in the files, for `print-config`.
  var written = Written()
  /// The files that these settings came from, and those they name, without plugins.
  package var files: [NamedFile] = []

  /// The lowest level that is logged.
  package enum LogLevel: String, CaseIterable, Sendable { case debug, info, notice, warning, error }
}

extension Settings {
  /// Takes over the values that a running daemon can change.
  package mutating func takeOver(_ new: Settings) {
    for key in Settings.keys where key.isReloadable { key.take(new, &self) }
    projections = new.projections
    failureRuleDrafts = new.failureRuleDrafts
  }

  /// How failures are handled while shards follow the store.
  package var failurePolicy: FailurePolicy {
    FailurePolicy(
      rules: failureRules, skipApplyErrors: errors.skipApplyErrors,
      skipSerializationErrors: errors.skipSerializationErrors, skipUnknownEvents: errors.skipUnknownEvents)
  }
}

extension Settings {
  /// How failures are handled during a rebuild.
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

/// `[projections.NAME]` as written in a file.
struct ProjectionDeclaration: Hashable, Sendable {
  var name: String
  var draft = ProjectionDraft()
  var file: String
  var place: TOMLPlace
}

extension Settings {
  /// One copy of these settings for each database.
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
  /// The name in `[databases.NAME]`; nil for `[database]`.
  package var name: String?
  var givenURL: String?
  /// A libpq connection string. It may contain a password: show it only through `redacted(connectionString:)`.
  package var url: String {
    get { givenURL ?? "" }
    set { givenURL = newValue }
  }
  /// The connection for the leadership locks, if `url` goes through a pooler.
  package var lockURL: String?
  package var passwordFile: String?
  /// The content of the password file when the settings were read.
  package var password: Secret?
  /// Where the password file was found: beside the settings, or among systemd's credentials.
  var passwordPath: String?
  /// What variables in these keys stand for.
  package var concealment = Concealment()
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
  package var onReset = Era.OnReset.wait
  package var accept: Set<Preflight.Acceptance> = []

  package enum Dialect: String, CaseIterable, Sendable { case marten }

  /// Whether a schema holds objects of Tidemark's own, and so no event store.
  package static func isOurs(schema: String) -> Bool {
    ["tidemark", "tidemark_internal", "tidemark_page"].contains(schema) || schema.hasPrefix("tidemark_rebuild_")
  }
}
