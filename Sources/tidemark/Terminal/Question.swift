@preconcurrency import Glibc

/// Asks the operator at the terminal, on standard error, since standard output may be redirected; nil at the end of
/// input.
func answer(to question: String) -> String? {
  fputs(question, stderr)
  let line = readLine()
  // The next output begins on a new line.
  if line == nil { fputs("\n", stderr) }
  return line
}
