import Foundation
import Glibc

/// The processes that a plugin's child has started, also those that left its process group: they would go on with a plugin that has ended,
/// and with what they hold, until the service does.
///
/// The child's environment has a mark that its descendants inherit, and that the kernel shows in `/proc`. A process that takes the mark out
/// of its environment means to stay; the service ends it.
struct Descendants: Sendable {
  static let variable = "TIDEMARK_PLUGIN_CHILD"

  /// Another one for each child of each daemon.
  let mark = UUID().uuidString

  private var entry: [UInt8] { Array("\(Self.variable)=\(mark)".utf8) }

  /// Kills them, and those that they start meanwhile.
  func kill() {
    // Each round finds what the last one's victims had started before; a fork bomb is left to the limits of the service.
    for _ in 1...5 {
      let living = pids
      if living.isEmpty { return }
      for pid in living { _ = Glibc.kill(pid, SIGKILL) }
      usleep(2_000)
    }
  }

  /// Those that still run. One that has exited and was not waited for shows no environment.
  var pids: [pid_t] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { pid_t($0) }.filter { pid in
      guard pid != getpid(), let environment = FileManager.default.contents(atPath: "/proc/\(pid)/environ") else {
        return false
      }
      return environment.split(separator: 0).contains { $0.elementsEqual(entry) }
    }
  }
}
