package import Rules

// A database and its event store.

extension Fact {
  package static let databaseUnreachable = Fact(
    "10a8fdee0eae45238f9dbfac8b8c7886", .warning, "Database unreachable; trying again",
    meaning:
      "The daemon could not open a session, or lost one. It keeps trying until the server answers; no position is lost.",
    action:
      "Check the server, the network, and database.url. If the error names a password or a role, fix that.",
    repeats: .database)
}

extension Observation {
  package static func databaseUnreachable(where url: String, failure: Problem, retryIn delay: Duration) -> Self {
    Self(.databaseUnreachable, failure: failure).with(.url, url).with(.retryIn, delay)
  }
}

extension Fact {
  package static let databaseRefused = Fact(
    "4f6c7d0a4ea84f0b8e9a97c970ea0b68", .error, "The daemon cannot follow a database",
    meaning:
      "One of several databases answers, but its server, schema or event store is not fit. None of its shards runs; those of the other databases are not affected.",
    action: "Follow `error` and `hint`. The daemon retries on its own.",
    repeats: .store)
}

extension Observation {
  package static func databaseRefused(failure: Problem, retryIn delay: Duration) -> Self {
    Self(.databaseRefused, failure: failure).with(.retryIn, delay)
  }
}

extension Fact {
  package static let agentHindered = Fact(
    "a1c4e27f90b34d6c8f5a2e7d10b93f68", .warning, "A part of the daemon cannot do its work; trying again",
    meaning:
      "The database answers, but the agent that the field agent names has failed or waited for this long. The field meanwhile says what is not done; everything else continues.",
    action:
      "Fix what the error names: often the role's CONNECTION LIMIT, max_connections, a server that accepts no writes, or a session that holds a lock on one of Tidemark's tables. The log repeats it after a minute, two, and so on."
  )
}

extension Observation {
  package static func agentHindered(
    _ agent: String, for length: Duration, undone: String, failure: Problem
  ) -> Self {
    Self(.agentHindered, failure: failure).with(.agent, agent).with(.for, length).with(.meanwhile, undone)
  }
}

extension Fact {
  package static let agentWorks = Fact(
    "5e8d0f3b6a7c41d29b04c8f1e2a6d753", .notice, "A part of the daemon works again",
    meaning: "The agent that could not do its work does it again.",
    action: "Nothing.")
}

extension Observation {
  package static func agentWorks(_ agent: String, after length: Duration) -> Self {
    Self(.agentWorks).with(.agent, agent).with(.after, length)
  }
}

extension Fact {
  package static let databaseReady = Fact(
    "987d37fc6b714cd09a1ec02924cfb74c", .notice, "Connected",
    meaning: "The database answered, and its schema is complete.",
    action: "Nothing.",
    ends: [.database, .schema])
}

extension Observation {
  package static func databaseReady(where url: String, serverVersion: Int) -> Self {
    Self(.databaseReady).with(.url, url).with(.server, ServerVersion(number: serverVersion))
  }
}

extension Fact {
  package static let schemaUpdated = Fact(
    "88c3fbda8a924d469ab37d8a11266203", .notice, "Updated the schema tidemark",
    meaning:
      "Tables, views or functions of the schema tidemark were missing or outdated; the daemon created or replaced them.",
    action: "Nothing.")
}

extension Observation {
  package static func schemaUpdated(steps: [String]) -> Self {
    Self(.schemaUpdated).with(.made, steps)
  }
}

extension Fact {
  package static let schemaWaits = Fact(
    "6b1f4c0d92e84f7ba0c53e9d7a4816f2", .warning, "Another session blocks the update of the schema tidemark",
    meaning:
      "A newer program must change the schema tidemark, and another session holds a lock that the change needs. Running nodes continue; this one retries, and makes no other session wait for more than a second.",
    action: "Find out what the session in `by` does, and end its transaction.",
    repeats: .schema)
}

extension Observation {
  package static func schemaWaits(for who: String, retryIn delay: Duration) -> Self {
    Self(.schemaWaits).with(.by, who).with(.retryIn, delay)
  }
}

extension Fact {
  package static let startWaits = Fact(
    "d1a54c7be03f4b8c9e62f07c8a3b5d94", .warning, "Another session has locked a table that the start reads",
    meaning:
      "The daemon reads the event store's tables and its own before it follows a database, and a session holds an exclusive lock on one of them. The start retries.",
    action: "End the transaction of the session that the hint finds.",
    repeats: .schema)
}

extension Observation {
  package static func startWaits(failure: Problem, retryIn delay: Duration) -> Self {
    Self(.startWaits, failure: failure).with(.retryIn, delay)
  }
}

extension Fact {
  package static let serverNotice = Fact(
    "f9df87abae374345a09adaedd8045915", .info, "Notice from the server",
    meaning:
      "PostgreSQL sent a notice or warning to one of the daemon's sessions, for example from RAISE NOTICE in one of your functions.",
    action: "Follow the notice, if it asks for something.", repeats: .notice)
}

extension Observation {
  package static func serverNotice(severity: String, message: String) -> Self {
    Self(.serverNotice).with(.severity, severity).with(.text, message)
  }
}

extension Fact {
  package static let sequenceCached = Fact(
    "090c796e09574086b92175a817b4fa10", .warning,
    "The event store's sequence is cached, so the mark passes gaps by the clock, not by proof",
    meaning: "With CACHE above 1 a session may use a number long after it was drawn, so gaps wait for gap_grace.",
    action: "ALTER SEQUENCE mt_events_sequence CACHE 1.")
}

extension Observation {
  package static func sequenceCached(size: Int64) -> Self {
    Self(.sequenceCached).with(.cache, size)
  }
}

extension Fact {
  package static let storeAtRisk = Fact(
    "0f9fc2d7664e4dda96a928d78a60295f", .warning, "The event store has a weakness",
    meaning:
      "The proof of the high-water mark holds, but the event table or its sequence is declared in a way that can lose events: an unlogged table, for example, or a sequence below the numbers that exist.",
    action: "Follow `hint`.")
}

extension Observation {
  package static func storeAtRisk(failure: Problem) -> Self { Self(.storeAtRisk, failure: failure) }
}

extension Fact {
  package static let pathOpen = Fact(
    "5d0f6a5be0a14c0f9c7b83c3a1b6e2d4", .warning, "Another role may have its code run by statements of projections",
    meaning:
      "PostgreSQL looks up functions and operators along the search_path, and takes the one whose arguments fit best; triggers run as the role that writes. A role that may create in a schema of the path, or owns the table of a read model, can so have its code run with the rights of the daemon's role. Statements of Tidemark's own are not affected.",
    action: "Follow `hint`.")
}

extension Observation {
  package static func pathOpen(failure: Problem) -> Self { Self(.pathOpen, failure: failure) }
}

extension Fact {
  package static let storeChanged = Fact(
    "d7d1a16c87ed49f09d90edd7960e1013", .notice, "The event store changed; looking it up again",
    meaning:
      "The event table, its sequence or the view tidemark.batch was altered, renamed, replaced or dropped. Shards start again once the store is proven to be one that the daemon can follow.",
    action: "Nothing, unless a refusal follows.")
}

extension Observation {
  package static var storeChanged: Self { Self(.storeChanged) }
}
