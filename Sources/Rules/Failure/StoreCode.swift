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
    case .notAtRest: "A shard is to take over from the application, and events are still being appended."
    case .schemaBusy: "Tidemark's own schema could not be changed: another session held a lock for too long."
    }
  }
}
