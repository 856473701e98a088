import Rules
package import Settings

/// How many file descriptors a daemon with these settings may need at once: a limit below is said at the start, and not found out when
/// every session is in use.
package enum DescriptorNeed {
  /// Two for each session: its socket, and what wakes its thread.
  private static let perSession = 2
  /// For the mark, Tidemark's own tables, requests, locks and a look at the store, and two rebuilds with a few workers.
  private static let sessionsBeside = 24
  /// Three pipes, its process, and what they wait with.
  private static let perPlugin = 6
  /// Standard streams, signals, epoll, files that are read.
  private static let process = 32

  package static func of(_ settings: Settings) -> Int {
    let databases = settings.perDatabase
    let sessions = databases.reduce(0) { $0 + $1.database.poolSize + sessionsBeside }
    let plugins = settings.projections.count { $0.plugin != nil } * max(1, databases.count)
    return process + sessions * perSession + plugins * perPlugin
  }
}
