import Commands
import Rules
import Settings

/// Finds the shards that an operator names: `Trip:All`, or `Trip`, the projection's name.
struct ShardArguments {
  static let value: Value<String> = .text("SHARD", completion: .names([.shards, .projections]))
  /// For verbs that also run without names.
  static let any: Argument<[String]> = .any(value, "Shards like Trip:All, or projections like Trip.")

  let settings: Settings

  func definitions(_ names: [String]) throws -> [ProjectionDefinition] {
    try names.map { wanted in
      guard let found = settings.projections.first(where: { "\($0.shard)" == wanted || $0.name == wanted }) else {
        throw CommandFailure(
          .usage, "there is no shard \"\(wanted)\" in the settings",
          hint: "There are: \(settings.projections.map { "\($0.shard)" }.joined(separator: ", "))")
      }
      return found
    }
  }

  func names(_ names: [String]) throws -> [String] { try definitions(names).map { "\($0.shard)" } }
}
