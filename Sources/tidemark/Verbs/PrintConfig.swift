import Commands
import Settings

struct PrintConfig {
  static let verb = Verb(
    "print-config", about: "Print the settings as the daemon would use them, defaults included.",
    discussion: "The output is itself a settings file. Secrets are shown as ***.",
    options: SettingsOption.options + [sample]
  ) { try PrintConfig(line: $0).run() }

  static let sample: Option<Bool> = .flag(
    "sample", "Print the commented sample file with every key instead; this needs no settings file.")

  let line: ParsedLine

  func run() throws {
    let text = line[Self.sample] ? Settings.sampleFull() : Settings.printConfig(try SettingsOption(line).load())
    printResult(text, terminator: "")
  }
}
