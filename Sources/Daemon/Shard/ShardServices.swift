import Concurrency

/// All that a node does for a shard it leads: following the store, and rebuilding when asked.
struct ShardServices: Service {
  var services: [any Service]

  func run() async throws { try await runTogether(services) }
}
