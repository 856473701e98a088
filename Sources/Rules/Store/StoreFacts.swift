/// The catalog's answers about an event table and its sequence: every fact that the proof of the mark rests on.
///
/// Names are as PostgreSQL writes them for a reader, qualified where that tells more. ``Preflight`` judges the facts.
package struct StoreFacts: Sendable, Hashable {
  /// An ordinary table, a partitioned one, or a relation that holds no rows of its own.
  package enum Kind: String, Sendable, Hashable {
    case table = "r"
    case partitioned = "p"
    case view = "v"
    case materializedView = "m"
    case foreignTable = "f"

    package var words: String {
      switch self {
      case .table: "a table"
      case .partitioned: "a partitioned table"
      case .view: "a view"
      case .materializedView: "a materialized view"
      case .foreignTable: "a foreign table"
      }
    }
  }

  /// Where the rows of a relation are kept.
  package enum Persistence: String, Sendable, Hashable {
    case logged = "p"
    case unlogged = "u"
    case temporary = "t"
  }

  /// The sequence that writers draw numbers from.
  package struct Sequence: Sendable, Hashable {
    package var name: String
    package var increment: Int64 = 1
    /// Numbers that a session takes at once.
    package var cache: Int64 = 1
    package var cycles = false
    package var persistence = Persistence.logged

    package init(name: String) { self.name = name }
  }

  /// A partition that holds rows.
  package struct Leaf: Sendable, Hashable {
    package var name: String
    /// The default of its order column, as PostgreSQL writes it; nil where there is none.
    package var numberDefault: String?
    package var persistence = Persistence.logged
    package var isForeign = false

    package init(name: String, numberDefault: String? = nil) {
      self.name = name
      self.numberDefault = numberDefault
    }
  }

  /// The event table.
  package var table: String
  package var kind = Kind.table
  package var persistence = Persistence.logged
  /// The column of numbers.
  package var numberColumn = "seq_id"
  /// `bigint`, `integer`, …
  package var numberType = "bigint"
  /// The column's default, as PostgreSQL writes it. Nil where writers draw numbers themselves, as Marten does.
  package var numberDefault: String?
  package var sequence: Sequence
  package var leaves: [Leaf] = []
  /// Row security filters the rows that this role reads, or those that the owner of `tidemark.batch` reads.
  package var rowSecurity: RowSecurity?
  /// Enabled `BEFORE INSERT` triggers of table and leaves: each may change a number.
  package var insertTriggers: [String] = []
  /// Rules that rewrite an `INSERT`.
  package var insertRules: [String] = []
  /// Subscriptions that fill the table or one of its leaves.
  package var subscriptions: [String] = []
  /// An extension or server whose sequences and locks are not in one place.
  package var foreignEngine: String?
  /// The highest number that is visible, and the last that the sequence handed out.
  package var highestVisible: Int64 = 0
  package var lowestVisible: Int64 = 1
  package var handedOut: Int64 = 0
  /// Visible numbers that the sequence cannot have handed out by its steps, at most three, newest first.
  package var numbersBetweenSteps: [Int64] = []
  /// Types of events whose payload is in Marten's binary column, among the newest events; at most five.
  package var binaryTypes: [String] = []

  package enum RowSecurity: Sendable, Hashable {
    case reader(role: String)
    case viewOwner(role: String)
  }

  package init(table: String, sequence: Sequence) {
    self.table = table
    self.sequence = sequence
  }
}
