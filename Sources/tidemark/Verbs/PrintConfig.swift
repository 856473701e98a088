import ArgumentParser
import Settings

struct PrintConfig: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "print-config",
    abstract: "Print the settings as the daemon would use them, defaults included.",
    discussion: "The output is a settings file itself. Secrets are shown as ***.")

  @OptionGroup var settings: SettingsOption

  @Flag(help: "Print the commented sample file with every key instead; needs no settings file.")
  var sample = false

  func run() throws {
    print(sample ? Settings.sampleFull() : Settings.printConfig(try settings.load()), terminator: "")
  }
}
