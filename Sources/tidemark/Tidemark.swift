import ArgumentParser

@main
struct Tidemark: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Keeps read models up to date from an event table.")
}
