import Foundation
import Postgres

/// The machine and server on which the figures were measured.
enum Machine {
  /// Server settings that affect the figures.
  private static let settings = [
    "server_version", "fsync", "synchronous_commit", "shared_buffers", "work_mem", "max_wal_size", "autovacuum", "jit",
    "max_parallel_workers_per_gather",
  ]

  static func describe(_ session: Session) async throws -> [String: String] {
    var facts = [
      "processor": lines("/proc/cpuinfo").first { $0.hasPrefix("model name") }?.afterColon ?? "unknown",
      "cores": "\(ProcessInfo.processInfo.activeProcessorCount)",
      "memory": lines("/proc/meminfo").first { $0.hasPrefix("MemTotal") }?.afterColon ?? "unknown",
      "kernel": lines("/proc/sys/kernel/osrelease").first ?? "unknown",
      "build": isOptimized ? "release" : "debug",
    ]
    for setting in settings {
      facts[setting] = try await session.execute("SELECT current_setting(\(setting))").rows[0].get(0, as: String.self)
    }
    return facts
  }

  private static var isOptimized: Bool {
    var isDebug = false
    assert(
      {
        isDebug = true; return true
      }())
    return !isDebug
  }

  private static func lines(_ path: String) -> [String] {
    (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: "\n").map(String.init) ?? []
  }
}

extension String {
  fileprivate var afterColon: String {
    split(separator: ":", maxSplits: 1).last?.trimmingCharacters(in: .whitespaces) ?? ""
  }
}
