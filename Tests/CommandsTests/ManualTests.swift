import Commands
import Testing

@Suite struct `The manual of a program` {
  private static var page: String {
    var page = Mdoc(title: "shop", section: 1, about: "sell things")
    page.synopsis(of: Sample.program)
    page.section("DESCRIPTION")
    page.marked(Sample.program.discussion)
    page.verbs(of: Sample.program, shared: [Sample.file])
    page.examples(of: Sample.program)
    return page.text
  }

  @Test func `has a line in the synopsis for each verb that can be run`() {
    #expect(
      Self.page.contains(
        """
        .Nm
        .Cm sell
        .Op Fl c Ar file
        .Op Fl Fl price Ar number
        .Op Fl Fl number Ar number
        .Op Fl f | Fl i
        .Op Fl Fl tag Ar tag ...
        .Op Fl Fl way Ar way
        .Op Ar goods ...
        .Nm
        .Cm count
        .Ar place
        .Nm
        .Cm stock list
        .Nm
        .Cm stock fill
        .Nm
        .Cm help

        """), "\(Self.page)")
    #expect(!Self.page.contains("secret") && !Self.page.contains("older"))
  }

  @Test func `marks options, text to type and other pages`() {
    #expect(
      Self.page.contains(
        """
        .It Cm sell
        Sell goods,
        .Fl Fl fast
        if need be.
        .Pp
        Goods once sold are gone.
        See
        .Ql shop count ,
        .Fl Fl file
        and
        .Xr goods 5 .
        .Bd -literal -offset indent
        shop sell Tea    # as it stands
        .Ed
        .Pp
        Nothing comes back.

        """), "\(Self.page)")
  }

  @Test func `describes options of several verbs once`() {
    let parts = Self.page.split(separator: ".Ss Options of several verbs\n")
    #expect(!parts[0].contains(".It Fl c , Fl Fl file Ar file"))
    #expect(parts[1].contains(".It Fl c , Fl Fl file Ar file\nThe price list.\nSHOP names another.\n"))
  }
}
