import CSystemd
import Glibc

/// What systemd wants to hear of a service, by sd_notify(3). Where no service manager listens, nothing happens.
package struct ServiceManager: Sendable {
  /// Whether somebody listens.
  package let isPresent: Bool
  /// How often the watchdog wants a sign of life, where it is on for this process.
  package let watchdogInterval: Duration?

  /// Looks at the environment that the service manager set.
  package init() {
    isPresent = getenv("NOTIFY_SOCKET") != nil
    var microseconds: UInt64 = 0
    watchdogInterval =
      sd_watchdog_enabled(0, &microseconds) > 0 ? .microseconds(Int64(clamping: microseconds)) : nil
  }

  package func ready() { notify("READY=1") }
  package func stopping() { notify("STOPPING=1") }
  package func alive() { notify("WATCHDOG=1") }

  /// One line for `systemctl status`.
  package func status(_ line: String) {
    notify("STATUS=" + line.map { $0.isNewline ? " " : $0 })
  }

  /// Between this and the next `ready()` the service counts as reloading.
  package func reloading() {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    notify("RELOADING=1\nMONOTONIC_USEC=\(now.tv_sec * 1_000_000 + now.tv_nsec / 1_000)")
  }

  private func notify(_ state: String) {
    guard isPresent else { return }
    _ = sd_notify(0, state)
  }
}
