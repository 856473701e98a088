import Commands

/// For packagers: prints a generated manual page.
enum Manual {
  /// - Parameter program: the program that tidemark(1) describes.
  static func verb(of program: @escaping @Sendable () -> Verb) -> Verb {
    Verb("manual", about: "Print a generated manual page.", arguments: [page], isHidden: true) { line in
      let name = line[page]
      let shared = SettingsOption.options + [OutputOption.json]
      guard let text = ManualPages.page(name, of: program(), shared: shared) else {
        throw CommandFailure(
          .usage, "there is no generated page \"\(name)\"",
          hint: "There are: \(ManualPages.names.joined(separator: ", "))")
      }
      printResult(text, terminator: "")
    }
  }

  private static let page: Argument<String> = .one(
    .text("PAGE", completion: .words(ManualPages.names)), "One of \(ManualPages.names.joined(separator: ", ")).")
}
