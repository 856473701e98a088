import Rules

extension Settings {
  /// Every key outside the projections, in the order of the sample file.
  static let keys: [Key<Settings>] = general + DatabaseSettings.keys.map(\.inSettings) + store

  private static let general: [Key<Settings>] = [
    .choice(
      "mode", \.mode,
      """
      How nodes share the work. With "solo" this node runs every shard, and no other node may follow the same store. With "hotcold"
      all nodes in this mode share the shards of the store; each shard runs on one node, and the others take over when a node
      fails. See SEVERAL NODES in tidemark(7).
      """),
    .boolean(
      "monitor_locks", \.monitorsLocks,
      """
      With "hotcold": watch the session that holds the leadership locks between two rounds of the election, so that the node notices
      its end at once. Otherwise the node notices it in the next round, a tenth of a second later.
      """),
    .duration(
      "stop_timeout", \.stopTimeout, .seconds(1)...(.seconds(3600)),
      "How long a stop may take. Shards finish their page; a page that takes longer is rolled back, and nothing is lost."
    ),

  ]

  private static let store: [Key<Settings>] = [
    .choice("event_store.dialect", \.eventStore.dialect, "The table layout of the event store."),
    Key(
      path: "event_store.schema", form: "the name of a schema",
      meaning:
        "The schema of the event store, as PostgreSQL spells it: without quotes, and in lower case unless it was created with quotes.",
      decode: { toml, root throws(Mismatch) in
        guard case .string(let schema) = toml.content, !schema.isEmpty else { throw Mismatch() }
        // One schema would then be two: that of the events, and that of Tidemark's own tables.
        guard !EventStoreSettings.isOurs(schema: schema) else {
          throw Mismatch(
            expected: "the schema of the event store", found: "\"\(schema)\", which is for Tidemark's own objects",
            hint: "name the schema that has, or is to have, the table mt_events; \"public\" for example")
        }
        root.eventStore.schema = schema
      },
      show: { TOMLText.string($0.eventStore.schema) }, take: { $1.eventStore.schema = $0.eventStore.schema }),
    .choice(
      "event_store.append", \.eventStore.append,
      """
      How applications append. "rich", Marten's default, reserves sequence numbers in one transaction and inserts the events in
      another; "quick" does both in one, as tidemark.append does. Set "quick" only if every writer appends that way: the daemon then
      settles each gap by proof, at once, and does not need gap_grace.
      """),
    .duration(
      "event_store.gap_grace", \.eventStore.gapGrace, .milliseconds(100)...(.seconds(3600)),
      """
      With append = "rich": the longest time a writer takes from reserving a number to the first statement on the event table in the
      transaction that inserts its event. The daemon skips a missing number that no transaction holds only after this time.
      """),
    .duration(
      "event_store.late_arrival_window", \.eventStore.lateArrivalWindow, .seconds(1)...(.seconds(7 * 86_400)),
      """
      How long the daemon checks a skipped gap every few seconds for an event that arrives late; such an event becomes a dead letter.
      After that it checks the gap every ten minutes, for a week.
      """
    ),
    .duration(
      "event_store.poll_min", \.eventStore.pollMin, .milliseconds(1)...(.seconds(60)),
      "The shortest time between two polls of the event sequence, used while events arrive."),
    .duration(
      "event_store.poll_max", \.eventStore.pollMax, .milliseconds(1)...(.seconds(60)),
      "The longest time between two polls of the event sequence, used while no events arrive."),
    .choices(
      "event_store.accept", \.eventStore.accept,
      """
      What the preflight found and an operator knows to be harmless. "increment": every number is drawn from the sequence, though it
      has an INCREMENT above 1. "insert-triggers": BEFORE INSERT triggers and rules keep the number that was drawn. "leaf-defaults": no
      writer inserts directly into a partition that draws its numbers elsewhere.
      """),
    .choice(
      "event_store.on_reset", \.eventStore.onReset,
      """
      What becomes of a shard whose tables have rows when the numbers of the event store have begun anew. "wait" leaves the decision to an
      operator. "rebuild" replaces the rows by those of the events that are there now; this is for test systems, where a host deletes all
      event data again and again.
      """),
    .duration(
      "event_store.on_long_hold.after", \.eventStore.onLongHold.after, .seconds(1)...(.seconds(7 * 86_400)),
      "How long a transaction may hold the high-water mark at one number before the daemon does what `do` says."),
    .choice(
      "event_store.on_long_hold.do", \.eventStore.onLongHold.action,
      """
      "wait" keeps waiting, and logs which transaction holds the mark. "skip" skips the numbers that the transaction may still use: if it
      commits after all, its events become dead letters.
      """),
    .boolean(
      "errors.skip_apply_errors", \.errors.skipApplyErrors,
      "An event on which a projection's statement fails becomes a dead letter, and the shard continues; if false, the shard stops there.",
      reloadable: true),
    .boolean(
      "errors.skip_serialization_errors", \.errors.skipSerializationErrors,
      "The same for an event whose data does not have the form that a statement expects: SQLSTATEs that begin with 22.",
      reloadable: true),
    .boolean(
      "errors.skip_unknown_events", \.errors.skipUnknownEvents,
      "With `on`: events of a type without a statement are skipped; if false, the shard stops at the first one.",
      reloadable: true),
    .boolean(
      "rebuild_errors.skip_apply_errors", \.rebuildErrors.skipApplyErrors,
      "Like skip_apply_errors in [errors], but during a rebuild.", reloadable: true),
    .boolean(
      "rebuild_errors.skip_serialization_errors", \.rebuildErrors.skipSerializationErrors,
      "Like skip_serialization_errors in [errors], but during a rebuild.",
      reloadable: true),
    .boolean(
      "rebuild_errors.skip_unknown_events", \.rebuildErrors.skipUnknownEvents,
      "Like skip_unknown_events in [errors], but during a rebuild.", reloadable: true),

    .choice("log.level", \.logLevel, "The lowest level that is logged.", reloadable: true),
    .boolean(
      "log.values", \.logsValues,
      """
      Whether the log may repeat values of events: errors of the server quote a value that they refuse, cut to 300 characters, and plugins
      say what they like. If false, such a text is left out, with its code, its place and its event left in; `tidemark dead-letters show`
      has it, and `tidemark status` the reason of a shard that waits.
      """, reloadable: true),
  ]
}
