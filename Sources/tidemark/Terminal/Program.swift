import Books
import Concurrency
import Glibc

/// SIGHUP makes a running daemon read the settings again; before it runs, the signal waits.
let signals = Signals(holding: [SIGHUP, SIGTERM, SIGINT])

let tidemarkVersion = programVersion
