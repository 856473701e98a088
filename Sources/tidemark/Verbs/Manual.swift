import ArgumentParser

/// For whoever packages Tidemark: prints a generated manual page.
struct Manual: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "manual", abstract: "Print a generated manual page.", shouldDisplay: false)

  @Argument(help: "One of \(ManualPages.names.joined(separator: ", ")).")
  var page: String

  func run() throws {
    guard let text = ManualPages.page(page) else {
      throw CommandFailure(
        .usage, "there is no generated page \"\(page)\"",
        hint: "There are: \(ManualPages.names.joined(separator: ", "))")
    }
    print(text, terminator: "")
  }
}
