import Commands

/// For whoever packages Tidemark: prints a generated manual page.
struct Manual {
  static let verb = Verb(
    "manual", about: "Print a generated manual page.", arguments: [page], isHidden: true
  ) { try Manual(line: $0).run() }

  static let page: Argument<String> = .one(
    .text("PAGE", completion: .words(ManualPages.names)), "One of \(ManualPages.names.joined(separator: ", ")).")

  let line: ParsedLine

  func run() throws {
    let page = line[Self.page]
    guard let text = ManualPages.page(page) else {
      throw CommandFailure(
        .usage, "there is no generated page \"\(page)\"",
        hint: "There are: \(ManualPages.names.joined(separator: ", "))")
    }
    print(text, terminator: "")
  }
}
