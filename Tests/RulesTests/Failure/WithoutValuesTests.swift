import Rules
import Testing

@Suite struct `A problem without the values of events` {
  @Test(arguments: [
    (Problem("invalid input syntax for type integer: \"secret\"", code: .sqlState("22P02")), Problem.leftOut),
    (Problem("duplicate key", code: .sqlState("23505"), detail: "Key (mail)=(secret)"), Problem.leftOut),
    (Problem("no customer secret", code: .sqlState("P0001"), hint: "secret"), Problem.leftOut),
    (Problem("no customer secret", sequence: 7), Problem.leftOut),
    (Problem(.plugin(.garbage), "the plugin wrote: secret", hint: "secret"), "the plugin failed: TM505"),
    (
      Problem("deadlock detected", code: .sqlState("40P01"), detail: "Process 7 waits", hint: "See"),
      "deadlock detected"
    ),
    (Problem("column n does not exist", code: .sqlState("42703")), "column n does not exist"),
    (Problem(.store(.noStore), "there is no event store", hint: "init"), "there is no event store"),
  ])
  func `keeps what cannot repeat one`(problem: Problem, message: String) {
    let plain = problem.withoutValues
    #expect(plain.message == message && plain.code == problem.code && plain.sequence == problem.sequence)
    #expect(!"\(plain) \(plain.detail ?? "") \(plain.hint ?? "")".contains("secret"))
    if message == problem.message { #expect(plain == problem) }
  }
}
