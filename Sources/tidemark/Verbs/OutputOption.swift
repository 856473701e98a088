import Commands

/// The output format of a verb.
enum OutputOption {
  static let json: Option<Bool> = .flag("json", "Print JSON, for scripts.")
}
