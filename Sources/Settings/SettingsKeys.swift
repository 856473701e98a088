import Rules

extension Settings {
  /// Every key outside of the projections, in the order of the sample file.
  static let keys: [Key<Settings>] = general + DatabaseSettings.keys.map(\.inSettings) + store

  private static let general: [Key<Settings>] = [
    .choice(
      "mode", \.mode,
      """
      How nodes share the work. With "solo" this one runs every shard, and no other may run beside it. With "hotcold" all nodes
      with this mode share the shards of the store, each shard on one of them, and take over from one that fails. See SEVERAL
      NODES in tidemark(7).
      """),
    .boolean(
      "monitor_locks", \.monitorsLocks,
      """
      With "hotcold": watch the session that holds the locks of leadership between two turns, so that its end is noticed at once.
      Otherwise it is noticed at the next turn, a tenth of a second later.
      """),
    .duration(
      "stop_timeout", \.stopTimeout, .seconds(1)...(.seconds(3600)),
      "Longest a stop may take: shards finish the page they are in. After it the page is cancelled and rolled back; nothing is lost."
    ),

  ]

  private static let store: [Key<Settings>] = [
    .choice("event_store.dialect", \.eventStore.dialect, "How the event store lays out its tables."),
    .string(
      "event_store.schema", \.eventStore.schema, "the name of a schema",
      "The schema of the event store, as PostgreSQL spells it: without quotes, and in lower case unless it was made otherwise."
    ),
    .choice(
      "event_store.append", \.eventStore.append,
      """
      How applications append. "rich", Marten's default, reserves sequence numbers in one transaction and inserts the events in
      another; "quick" does both in one, as does tidemark.append. Say "quick" only when every writer does: then each gap is
      settled by proof, at once, and gap_grace is not needed.
      """),
    .duration(
      "event_store.gap_grace", \.eventStore.gapGrace, .milliseconds(100)...(.seconds(3600)),
      """
      With append = "rich": the longest time between the reservation of a number and the first statement on the event table of the
      transaction that inserts its event. A missing number that nobody holds is passed only after this time.
      """),
    .duration(
      "event_store.late_arrival_window", \.eventStore.lateArrivalWindow, .seconds(1)...(.seconds(7 * 86_400)),
      """
      How long a passed gap is looked at every few seconds for an event that comes up in it after all, which becomes a dead letter.
      After that it is looked at every ten minutes, for a week.
      """
    ),
    .duration(
      "event_store.poll_min", \.eventStore.pollMin, .milliseconds(1)...(.seconds(60)),
      "Shortest time between two looks at the event sequence: while events arrive."),
    .duration(
      "event_store.poll_max", \.eventStore.pollMax, .milliseconds(1)...(.seconds(60)),
      "Longest time between two looks at the event sequence: while nothing happens."),
    .duration(
      "event_store.on_long_hold.after", \.eventStore.onLongHold.after, .seconds(1)...(.seconds(7 * 86_400)),
      "When a transaction has kept the high-water mark at one number for this long, `do` says what happens."),
    .choice(
      "event_store.on_long_hold.do", \.eventStore.onLongHold.action,
      """
      "wait" keeps waiting, and says who holds the mark. "skip" passes the numbers that transaction may still use: should it commit
      after all, its events become dead letters.
      """),

    .boolean(
      "errors.skip_apply_errors", \.errors.skipApplyErrors,
      "An event on which a projection's statement fails becomes a dead letter, and the shard goes on; otherwise the shard stops there.",
      reloadable: true),
    .boolean(
      "errors.skip_serialization_errors", \.errors.skipSerializationErrors,
      "The same for an event whose data does not have the form that a statement expects: SQLSTATEs that begin with 22.",
      reloadable: true),
    .boolean(
      "errors.skip_unknown_events", \.errors.skipUnknownEvents,
      "With `on`: events of a type without a statement are passed over; otherwise the shard stops at the first of them.",
      reloadable: true),
    .boolean(
      "rebuild_errors.skip_apply_errors", \.rebuildErrors.skipApplyErrors,
      "The same three while a read model is rebuilt.", reloadable: true),
    .boolean(
      "rebuild_errors.skip_serialization_errors", \.rebuildErrors.skipSerializationErrors, "See above.",
      reloadable: true),
    .boolean(
      "rebuild_errors.skip_unknown_events", \.rebuildErrors.skipUnknownEvents, "See above.", reloadable: true),

    .choice("log.level", \.logLevel, "The least weighty entries that are logged.", reloadable: true),
  ]
}
