import Concurrency
import Glibc

/// A hangup means "read the settings again" once the daemon runs, and nothing before.
let signals = Signals(holding: [SIGHUP, SIGTERM, SIGINT])

let tidemarkVersion = "0.1.0"
