@preconcurrency import Glibc

/// Asks the operator at the terminal, on standard error, since standard output may be led elsewhere; nil at the end of input.
func answer(to question: String) -> String? {
  fputs(question, stderr)
  let line = readLine()
  // What is said next begins a line of its own.
  if line == nil { fputs("\n", stderr) }
  return line
}
