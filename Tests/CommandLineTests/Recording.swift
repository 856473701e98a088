import Foundation

/// Keeps what the program printed as the golden file, where `TIDEMARK_RECORD` is set.
func record(_ text: String, as file: URL) throws {
  guard ProcessInfo.processInfo.environment["TIDEMARK_RECORD"] != nil else { return }
  try text.write(to: file, atomically: true, encoding: .utf8)
}
