import Commands

/// How a verb prints what it found.
enum OutputOption {
  static let json: Option<Bool> = .flag("json", "Print JSON, for scripts.")
}
