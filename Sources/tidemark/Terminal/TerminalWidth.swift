@preconcurrency import Glibc

/// Columns of the terminal on standard output; where it is none, what COLUMNS says, and else 80.
func terminalWidth() -> Int {
  var size = winsize()
  if ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 { return Int(size.ws_col) }
  if let columns = environment["COLUMNS"].flatMap({ Int($0) }), columns > 0 { return columns }
  return 80
}
