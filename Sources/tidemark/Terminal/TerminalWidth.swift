@preconcurrency import Glibc

/// The columns of the terminal on standard output; if it is not a terminal, the value of COLUMNS, or else 80.
func terminalWidth() -> Int {
  var size = winsize()
  if ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 { return Int(size.ws_col) }
  if let columns = environment["COLUMNS"].flatMap({ Int($0) }), columns > 0 { return columns }
  return 80
}
