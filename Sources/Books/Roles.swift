// PRIVILEGES in tidemark(7), `tidemark init --roles` and the GRANTs that a start names (TM203) say the same, since all are made from this.

/// Who uses a database that Tidemark follows. Each needs its own grants and no others; none is a superuser.
package enum Role: String, Sendable, Hashable, CaseIterable {
  /// Follows the store and applies events.
  case daemon
  /// Appends with `tidemark.append` and waits with `tidemark.wait_for`.
  case application
  /// Looks with `status`, `list`, `wait` and `dead-letters list`; the bodies of events stay unseen.
  case viewer
  /// Looks; pauses, stops and starts shards; shows and discards dead letters.
  case `operator`
  /// Looks, and asks the daemon for rebuilds.
  case rebuild
  /// Looks, and forgets shards.
  case forget

  /// The heading in tidemark(7).
  package var title: String {
    switch self {
    case .daemon: "The daemon"
    case .application: "An application"
    case .viewer: "A viewer"
    case .operator: "An operator"
    case .rebuild: "An operator who rebuilds"
    case .forget: "An operator who forgets shards"
    }
  }

  /// The group role that `tidemark init --roles` makes.
  package var groupRole: String { "tidemark_\(rawValue)" }

  /// What the role needs, in the order of the manual.
  package var grants: [Grant] {
    let looks = [
      Grant(["USAGE"], .schema(.store)), Grant(["USAGE"], .schema(.tidemark)),
      Grant(["SELECT"], columns: ["seq_id"], .tables(.store, ["mt_events"])),
      Grant(["SELECT"], .sequence(.store, "mt_events_sequence")),
      Grant(["SELECT"], .tables(.store, ["mt_event_progression"])),
      Grant(["SELECT"], .tables(.tidemark, ["high_water", "gap", "dead_letter"])),
      Grant(["SELECT"], .tables(.tidemark, ["shard", "node", "rebuild", "rebuild_worker"])),
      Grant(["SELECT"], .tables(.tidemark, ["skipped"])),
    ]
    let all = ["SELECT", "INSERT", "UPDATE", "DELETE"]
    switch self {
    case .daemon:
      return [
        Grant(["USAGE"], .schema(.store)), Grant(["USAGE"], .schema(.tidemark)),
        Grant(["SELECT"], .tables(.store, ["mt_events"])),
        Grant(["SELECT"], .sequence(.store, "mt_events_sequence")),
        Grant(["SELECT", "INSERT", "UPDATE"], .tables(.store, ["mt_event_progression"])),
        Grant(["SELECT"], .tables(.tidemark, ["installation", "schema_number", "batch"])),
        Grant(all, .tables(.tidemark, ["high_water", "gap", "dead_letter", "former_letter"])),
        Grant(all, .tables(.tidemark, ["shard", "node"])),
        Grant(all, .tables(.tidemark, ["position", "filled_table", "skipped"])),
        Grant(all, .tables(.tidemark, ["rebuild", "rebuild_worker"])),
      ]
    case .application:
      return [
        Grant(["USAGE"], .schema(.store)), Grant(["USAGE"], .schema(.tidemark)),
        Grant(["EXECUTE"], .functions(.tidemark, ["append", "wait_for"])),
        Grant(["SELECT", "INSERT", "UPDATE"], .tables(.store, ["mt_streams"])),
        Grant(["INSERT"], .tables(.store, ["mt_events"])),
        Grant(["USAGE", "SELECT"], .sequence(.store, "mt_events_sequence")),
        Grant(["SELECT"], .tables(.store, ["mt_event_progression"])),
      ]
    case .viewer: return looks
    case .operator:
      return looks + [
        Grant(["INSERT", "UPDATE"], .tables(.tidemark, ["shard"])),
        Grant(["SELECT"], .tables(.store, ["mt_events"])),
        Grant(["DELETE"], .tables(.tidemark, ["dead_letter"])),
        // To wait for the page of the shard.
        Grant(["UPDATE"], columns: ["last_updated"], .tables(.store, ["mt_event_progression"])),
      ]
    case .rebuild:
      return looks + [
        Grant(["INSERT", "UPDATE", "DELETE"], .tables(.tidemark, ["rebuild"])),
        Grant(["SELECT"], .tables(.tidemark, ["installation", "schema_number", "filled_table"])),
        Grant(["SELECT"], .tables(.store, ["mt_events"])),
      ]
    case .forget:
      return looks + [
        Grant(["DELETE"], .tables(.store, ["mt_event_progression"])),
        Grant(["DELETE"], .tables(.tidemark, ["shard", "dead_letter", "rebuild", "skipped"])),
        Grant(["SELECT", "DELETE"], .tables(.tidemark, ["position", "filled_table"])),
      ]
    }
  }
}

/// Privileges on objects of one kind in one schema.
package struct Grant: Sendable, Hashable {
  package var privileges: [String]
  /// Nil for all columns.
  package var columns: [String]?
  package var object: Object

  package enum Object: Sendable, Hashable {
    case schema(Home)
    case tables(Home, [String])
    case sequence(Home, String)
    case functions(Home, [String])
  }

  package enum Home: Sendable, Hashable {
    case store, tidemark

    func schema(store: String) -> String { self == .store ? store : "tidemark" }
  }

  init(_ privileges: [String], columns: [String]? = nil, _ object: Object) {
    self.privileges = privileges
    self.columns = columns
    self.object = object
  }

  package static let tablesOfMartens = ["mt_doc_deadletterevent", "mt_event_projection_floors", "mt_high_water_skips"]

  /// What the daemon needs on the tables that Marten's own tools read, where the store has them.
  package static func intoMartens(_ tables: [String]) -> [Grant] {
    tables.map { table in
      let privileges =
        switch table {
        case "mt_doc_deadletterevent": ["SELECT", "INSERT", "DELETE"]
        case "mt_event_projection_floors": ["SELECT"]
        default: ["INSERT"]
        }
      return Grant(privileges, .tables(.store, [table]))
    }
  }

  /// The statement, without a semicolon.
  ///
  /// - Parameters:
  ///   - store: the schema of the event store, quoted where it must be.
  ///   - role: quoted where it must be.
  package func statement(store: String, to role: String) -> String {
    func list(_ home: Home, _ names: [String]) -> String {
      names.map { "\(home.schema(store: store)).\($0)" }.joined(separator: ", ")
    }
    let on =
      switch object {
      case .schema(let home): "SCHEMA " + home.schema(store: store)
      case .tables(let home, let names): list(home, names)
      case .sequence(let home, let name): "SEQUENCE " + list(home, [name])
      case .functions(let home, let names): "FUNCTION " + list(home, names)
      }
    let of = columns.map { " (" + $0.joined(separator: ", ") + ")" } ?? ""
    return "GRANT \(privileges.joined(separator: ", "))\(of) ON \(on) TO \(role)"
  }
}
