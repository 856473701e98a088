import Concurrency

/// The services of a shard that this node leads: one follows the store, one rebuilds on request.
struct ShardServices: Service {
  var services: [any Service]

  func run() async throws { try await runTogether(services) }
}
