import Foundation
import TestSupport
import Testing

/// The rules of the parser are tested with the module `Commands`; this is the program's own table, by its exit statuses.
@Suite(.gated) struct `The command line` {
  private static func settings() throws -> String {
    try Program.file(
      """
      [database]
      url = "host=/nowhere"
      [projections.Trip]
      tables = ["trip"]
      sql = "SELECT 1 FROM batch"

      """)
  }

  /// 3: it got as far as the database.
  @Test(arguments: [
    ("wait -c FILE Trip", 3), ("wait -c=FILE Trip", 3), ("wait --config=FILE Trip", 3),
    ("wait Trip:All --config FILE", 3),
    ("wait -c /nowhere -c FILE Trip", 3), ("wait -c FILE -- Trip", 3), ("wait -c FILE Trip --timeout 1s", 3),
    ("wait -c FILE -- --all", 2), ("wait -c FILE --all", 2), ("wait -cFILE", 2), ("wait -c FILE --timeout soon", 2),
    ("wait -c FILE --timeout", 2), ("wait -c FILE --timeout 5s --timeout=0ms", 3), ("wait -c FILE -5", 2),
    ("wait -- --help", 2), ("wait -x --help", 0), ("wait --version", 0),
    ("dead-letters list -c FILE --limit=-5", 3), ("dead-letters list -c FILE --limit -5", 2),
    ("dead-letters list -c FILE --sequence 1 --sequence=-2 --class x", 3), ("dead-letters -c FILE list", 2),
    ("dead-letters replay -yc FILE", 3), ("dead-letters replay -y -y -c FILE", 3), ("dead-letters lst", 2),
    ("plugin try -c FILE cat -n", 2), ("plugin try -c FILE cat -- -n", 3), ("plugin try -c FILE --from=-1 cat", 2),
    ("plugin try -c FILE --limit 0 cat", 2), ("plugin try -c FILE", 2),
    ("rebuild -c FILE --to=-5 Trip", 2), ("rebuild -c FILE --by fast Trip", 2), ("rebuild -c FILE --by=copy Trip", 3),
    ("rebuild -c FILE --json=1 Trip", 2), ("rebuild -c FILE --all Trip", 2), ("rebuild -c FILE -i", 2),
    ("pause -c FILE Trip --for 0s", 2), ("pause -c FILE Trip --for 10m", 3), ("run -c FILE --database x", 2),
    ("demo --seconds 0", 2), ("list --offline -c FILE", 0), ("list --offline -c FILE extra", 2), ("forget -c FILE", 2),
    ("init --stream-identity UUID -c FILE", 2), ("", 0), ("help", 0), ("help wait", 0), ("help nothing", 2),
    ("plugin", 0), ("-c FILE list", 2), ("chekc", 2), ("manual nothing", 2),
  ]) func `ends with the status it always had`(line: String, status: Int) async throws {
    let file = try Self.settings()
    let words = line.split(separator: " ").map { String($0.replacing("FILE", with: file)) }
    let outcome = try await Program.run(words)
    #expect(outcome.code == status, "\(outcome)")
    // What is wrong is said on standard error alone.
    #expect(outcome.output.isEmpty == (status != 0) && outcome.error.isEmpty == (status == 0), "\(outcome)")
  }

  @Test func `tells every problem at once, and where help is`() async throws {
    let outcome = try await Program.run(["rebuild", "Trip", "--yse", "--workers", "65", "--by", "hand", "--to"])
    #expect(outcome.code == 2 && outcome.output.isEmpty)
    #expect(
      outcome.error == """
        tidemark: unknown option "--yse"; did you mean "--yes"?
        tidemark: --workers: expected a whole number from 1 to 64, found "65"
        tidemark: --by: expected auto, swap or copy, found "hand"
        tidemark: --to: expected SEQUENCE
        See 'tidemark help rebuild'.

        """)
  }
}
