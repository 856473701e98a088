/// Every kind of observation: its stable message id, how much it weighs, and what an operator should know of it.
///
/// The log, `tidemark.observations(7)` and the tests are all made from this table. An id never changes, whatever becomes of the words.
package enum ObservationKind: String, CaseIterable, Sendable {
  case started
  case ready
  case stopping
  case stopped
  case stopTimedOut
  case reloaded
  case reloadRefused
  case restartNeeded
  case databaseUnreachable
  case databaseRefused
  case databaseReady
  case schemaUpdated
  case serverNotice
  case sequenceCached
  case markRestored
  case markMoved
  case markHeld
  case markReleased
  case markRefused
  case markFailed
  case gapsPassed
  case gapsUnwatched
  case lateArrival
  case nodesChanged
  case leadershipTaken
  case leadershipGiven
  case leadershipBlocked
  case leadershipLost
  case leadershipWaived
  case otherNode
  case shardStarted
  case shardCaughtUp
  case pageApplied
  case pageSlow
  case shardRetrying
  case shardPaused
  case shardResumed
  case shardHalted
  case deadLetter
  case deadLettersRemoved
  case definitionChanged
  case shardStopped
  case shardWaiting
  case shardRefused
  case shardEnded
  case rebuildStarted
  case rebuildHindered
  case rebuildRetrying
  case rebuildCompared
  case rebuildExchanged
  case rebuildFailed
  case rebuildAborted
  case pluginStarted
  case pluginSaid
  case pluginLinesDropped
  case pluginLost
  case pluginEnded

  package struct Entry: Sendable {
    /// For `journalctl MESSAGE_ID=…`.
    package var id: String
    /// *debug* is every page; *notice* a state that changed; *warning* degraded but moving; *error* means that an operator must act.
    package var level: LogLevel
    /// A constant sentence; data goes into fields.
    package var message: String
    package var meaning: String
    package var action: String

    init(_ id: String, _ level: LogLevel, _ message: String, meaning: String, action: String) {
      self.id = id
      self.level = level
      self.message = message
      self.meaning = meaning
      self.action = action
    }
  }

  package var entry: Entry {
    switch self {
    case .started:
      Entry(
        "9318c3e2d6e141b59e565fb9303e3bf5", .notice, "Tidemark started",
        meaning: "The daemon has read its settings and begins.",
        action: "Nothing.")
    case .ready:
      Entry(
        "eb9b6f5d705740d0919a767bbe81485f", .notice, "Ready",
        meaning: "The database answered, its schema is right, and every agent runs.",
        action: "Nothing.")
    case .stopping:
      Entry(
        "8ecc5d27b9f740ee8c5de8cff057a382", .notice, "Stopping: shards finish the page they are in",
        meaning: "The daemon was told to stop, and takes no further page.",
        action: "Nothing. A second SIGTERM ends it at once; the page under way is then rolled back.")
    case .stopped:
      Entry(
        "5f51e5bc8d0146b588292756254dd3af", .notice, "Stopped",
        meaning: "The daemon has ended; positions and read models are where the last pages left them.",
        action: "Nothing.")
    case .stopTimedOut:
      Entry(
        "548d282576224a68a180e976d85044eb", .warning, "Stopped after stop_timeout: the page under way was rolled back",
        meaning:
          "Pages took longer than stop_timeout. They were rolled back, and will be applied after the next start.",
        action:
          "Nothing is lost. Raise stop_timeout, and TimeoutStopSec= of the unit with it, or make the projection's statements quicker."
      )
    case .reloaded:
      Entry(
        "f68dcc30a78943f0bcf4cd7b1a1d21f9", .notice, "Settings reloaded",
        meaning:
          "The settings were read again. Fields say which shards were added, removed and changed; all others were not touched.",
        action: "Nothing.")
    case .reloadRefused:
      Entry(
        "a671cc66f6bc46fc8e0de5be067bc7f3", .error, "Settings not reloaded: they have problems; nothing was changed",
        meaning:
          "At least one file has a problem. One such entry for each problem; the daemon goes on with the settings it has.",
        action: "Mend the file, look at it with `tidemark check`, and reload again.")
    case .restartNeeded:
      Entry(
        "fcf9e33be2bf4f6184601e96a02ea08e", .warning, "A changed setting needs a restart",
        meaning: "The key has another value in the file now, but is only read when the daemon starts.",
        action: "Restart the service when it suits you.")
    case .databaseUnreachable:
      Entry(
        "10a8fdee0eae45238f9dbfac8b8c7886", .warning, "Cannot reach the database; waiting for it",
        meaning:
          "No session could be opened, or one was lost. The daemon tries again for as long as it takes; no position is lost.",
        action:
          "Look at the server, the network, and database.url. If the error names a password or a role, mend those.")
    case .databaseRefused:
      Entry(
        "4f6c7d0a4ea84f0b8e9a97c970ea0b68", .error, "A database cannot be followed",
        meaning:
          "One of several databases answers, but not as it has to. No shard of it runs; those of the others are not touched.",
        action: "What `error` and `hint` say. It is looked at again by itself.")
    case .databaseReady:
      Entry(
        "987d37fc6b714cd09a1ec02924cfb74c", .notice, "Connected",
        meaning: "The database answered, and its schema is right.",
        action: "Nothing.")
    case .schemaUpdated:
      Entry(
        "88c3fbda8a924d469ab37d8a11266203", .notice, "Updated the schema tidemark",
        meaning:
          "Tables, views or functions of the schema tidemark were missing or of an older version, and were made.",
        action: "Nothing.")
    case .serverNotice:
      Entry(
        "f9df87abae374345a09adaedd8045915", .info, "The server says",
        meaning:
          "A notice or warning that PostgreSQL sent to one of the daemon's sessions, such as RAISE NOTICE in a function of yours.",
        action: "Whatever the notice suggests.")
    case .sequenceCached:
      Entry(
        "090c796e09574086b92175a817b4fa10", .warning,
        "The sequence of the event store is cached, so gaps are passed by the clock, not by proof",
        meaning: "With CACHE above 1 a session may use a number long after it was drawn, so gaps wait for gap_grace.",
        action: "ALTER SEQUENCE mt_events_sequence CACHE 1.")
    case .markRestored:
      Entry(
        "21cca06762374227bde7a615fed0f596", .info, "High-water mark restored",
        meaning: "The daemon goes on from the mark that an earlier run proved.",
        action: "Nothing.")
    case .markMoved:
      Entry(
        "72ec41251a464c7f9963648b811d0895", .debug, "High-water mark moved",
        meaning: "Everything up to the mark is settled.",
        action: "Nothing.")
    case .markHeld:
      Entry(
        "ca1ad7d5596c4aef93e441b7ea3aa907", .warning, "High-water mark held",
        meaning:
          "A transaction that may still insert an event has kept the mark at one number for long. Fields say who holds it. Events above it wait, as they must.",
        action:
          "Find out what that session does; end it with pg_terminate_backend(pid), or, for a prepared transaction, COMMIT PREPARED or ROLLBACK PREPARED. See on_long_hold in tidemark.toml(5)."
      )
    case .markReleased:
      Entry(
        "9a9a1471f88e4dfc832867663ab4d128", .notice, "High-water mark released",
        meaning: "What held the mark is over.",
        action: "Nothing.")
    case .markRefused:
      Entry(
        "77d36c948c2e47a28227927af0940dd1", .error, "Shards do not run: the high-water mark cannot be trusted",
        meaning:
          "The sequence stands below a mark that was already proven, the server is a standby, or the event store is not the one it was a moment ago. The error says which.",
        action:
          "TM207: the sequence was reset or the database restored; see RECOVERY in tidemark(7). TM206: connect to the primary. TM210: nothing, the store is looked up again. Others: what the hint says."
      )
    case .markFailed:
      Entry(
        "4d06ff1f7c5e4b0fa2f2f6f3b4b0a6c1", .error, "The high-water mark cannot be read; trying again",
        meaning:
          "The database answers, but a statement of the high-water agent fails. No shard takes new events until it works again.",
        action:
          "Read error and sqlstate. Where a table of the schema tidemark is missing, run `tidemark init`; where a privilege is, `tidemark check`."
      )
    case .gapsPassed:
      Entry(
        "2a5dc0d2471f4e9bb0089abdfac52a6c", .info, "Stepped over numbers that no event has",
        meaning:
          "No event has these numbers, and there is no proof that none will come. Reason grace: nobody has held them for gap_grace. Reason long hold: somebody does, for longer than on_long_hold allows. They are in tidemark.gap and are watched for late_arrival_window.",
        action:
          "Grace: nothing; where every writer appends in quick mode, append = \"quick\" ends such entries. Long hold: held_by in tidemark.gap says who it is; should that transaction commit after all, its events become dead letters."
      )
    case .gapsUnwatched:
      Entry(
        "7be1f6a07a0b4c55a3f6bfb3ac2ab1d9", .error, "Passed gaps cannot be watched for late arrivals; trying again",
        meaning:
          "The statement that looks for events in tidemark.gap fails. Shards go on; what arrives late is found when it works again.",
        action:
          "Read error and sqlstate. `tidemark check` tells missing privileges, `tidemark init` makes what is missing.")
    case .lateArrival:
      Entry(
        "f6caa95ba7d3435ea035f9942de6782e", .error,
        "An event arrived after its number had been stepped over; it is kept as a dead letter",
        meaning:
          "A writer took longer than gap_grace between reserving a number and inserting its event. Shards that had passed it have a dead letter in tidemark.dead_letter.",
        action:
          "Decide whether the event matters to the read models named; raise gap_grace above what your writers take.")
    case .nodesChanged:
      Entry(
        "0d0a4a7d3b5f4c0d8f3d5c9e7b1a2f64", .notice, "The nodes of this store have changed",
        meaning: "A node has come or gone; the shards are spread over those that are named.",
        action: "Nothing, if it was meant. A node that is missing was stopped, or its session to the database ended.")
    case .leadershipTaken:
      Entry(
        "3a9c1a5e2f7b4e6c9d8b0f1e6a5c4d73", .notice, "This node leads the shard now",
        meaning: "It holds the shard's lock, and goes on at its position. The field cause says why it came here.",
        action: "Nothing, if its cause was meant.")
    case .leadershipGiven:
      Entry(
        "6e2b8f9d4c1a4d3e8a7c5b9f0e1d2c84", .notice, "This node has let the shard go",
        meaning:
          "The field cause says why it goes. Its page was finished first, or cancelled where the lock was lost.",
        action: "Nothing, if its cause was meant.")
    case .leadershipBlocked:
      Entry(
        "91d7e5c3b2a84f6f8e0d1c2b3a495867", .warning, "The shard's lock is held by somebody else; trying again",
        meaning:
          "Another session holds the lock of a shard that this node should lead: another node for a moment, or a Marten host that runs the same shard.",
        action:
          "Nothing, if it passes. A host that runs the shard too should be told not to, or the projection be renamed here."
      )
    case .leadershipLost:
      Entry(
        "b4f0a2c6d8e04a1b9c3d5e7f8091a2b5", .error,
        "The session that holds the locks is gone; its shards were ended here",
        meaning:
          "Without the locks other nodes may lead the shards. Pages under way were cancelled; positions move by compare-and-swap, so nothing is applied twice.",
        action:
          "Nothing, if the database was restarted. Otherwise look at the network between this node and the database.")
    case .leadershipWaived:
      Entry(
        "7d1c90c4b0c84b2a8e6bb3a1f3b5c9d2", .error, "This node leaves its shards to others: it has no high-water mark",
        meaning:
          "Its lock session works, but the one that proves the mark has not for this long, so its shards cannot go on here. It offers to run them again once it has a mark.",
        action:
          "Entries before this one say what fails. Where lock_url and url go different ways, look at what lies on the way of url."
      )
    case .otherNode:
      Entry(
        "2f0f6d1f5b0b4c0e9d7c44d1a8e35b17", .error, "Another node follows this store beside this one",
        meaning:
          "With mode = \"solo\" this node was alone when it started. Its session was lost for a while, and another node has begun meanwhile. Both run the same shards; positions move by compare-and-swap, so nothing is applied twice.",
        action: "Stop one of them, or set mode = \"hotcold\" on both.")
    case .shardStarted:
      Entry(
        "c3cf5005745646239e42d8517fbe7317", .notice, "Shard started",
        meaning: "The shard goes on from this position.",
        action: "Nothing.")
    case .shardCaughtUp:
      Entry(
        "3bca45da101f4ec28ba5f75f5abb393a", .info, "Shard caught up",
        meaning: "The shard has reached the high-water mark after having been far behind.",
        action: "Nothing.")
    case .pageApplied:
      Entry(
        "75d4560d439c453095edb0a10bbf0140", .debug, "Page applied",
        meaning: "Events floor+1 to ceiling were applied and the position moved, in one transaction.",
        action: "Nothing.")
    case .pageSlow:
      Entry(
        "c2f6a1f0b86c4c1c9b7d1a1d0d9c5e27", .warning, "A page takes long",
        meaning:
          "The statements of a page have been running, or waiting for a lock or a free session, for this long. The shard stands meanwhile; others go on.",
        action:
          "SELECT pid, wait_event_type, query, pg_blocking_pids(pid) FROM pg_stat_activity WHERE application_name = 'tidemark' shows what it waits for. End the session that blocks it, or make the statement quicker."
      )
    case .shardRetrying:
      Entry(
        "484b4a75b9374369966cf0f3d8524adc", .warning, "Page failed; trying again",
        meaning:
          "A failure that often passes by itself: a deadlock, a timeout, a lost session. The page was rolled back.",
        action: "Nothing, unless it goes on. Then the error says what to look at.")
    case .shardPaused:
      Entry(
        "481ee743d9724454b0c9d1256821bff4", .error, "Shard paused: its page fails",
        meaning:
          "An event or a statement fails. The page was rolled back, other shards go on; this one tries again after retry_in.",
        action:
          "Read error, source and sequence. Mend the statement and reload, or mend the data. `tidemark check` finds statements that cannot work."
      )
    case .shardResumed:
      Entry(
        "772cdab1d7314572bab2353aabe13c29", .notice, "Shard goes on",
        meaning: "A page was applied after failures.",
        action: "Nothing.")
    case .shardHalted:
      Entry(
        "be8a1f14f62c4bd6a1a0a7b8c3b7a9d5", .notice, "Shard waits, as it was told to",
        meaning:
          "An operator, a rule with \"pause all\" or \"stop all\", or a rebuild wants the shard to wait; the field by says who. It applies nothing meanwhile.",
        action:
          "`tidemark resume` or `tidemark start` lets it go on. For a rebuild: nothing, it goes on when that has ended."
      )
    case .deadLetter:
      Entry(
        "5b0cfb0a2f3344d7a4ad8a0f0a6d4b11", .error, "An event failed and became a dead letter; the shard goes on",
        meaning:
          "A statement or a plugin fails on this event and on none of the others around it. It is kept in tidemark.dead_letter with its error.",
        action:
          "`tidemark dead-letters show` says what failed. Mend the statement or the data, then `tidemark dead-letters replay`, or `discard` what does not matter. The same failure of a shard is told again after a minute, two, and so on; `list` has them all."
      )
    case .deadLettersRemoved:
      Entry(
        "79dad8d40b364e50ba61a8eb6731df84", .warning, "Dead letters above the shard's position were removed",
        meaning:
          "Somebody set the position back, or took it away. Events above it are applied again, and one that still fails becomes a dead letter again.",
        action: "Nothing, if that was meant. Otherwise look who writes to mt_event_progression.")
    case .definitionChanged:
      Entry(
        "d8fb6b1d3f6d4a5c8c7f0f4a2e9b6c33", .warning,
        "The projection's statements have changed since its position was reached",
        meaning:
          "Events up to the position were applied with other statements, and are not applied again by themselves.",
        action:
          "If the read model has to follow, `tidemark rebuild` it, or raise `version` to build a new one beside it.")
    case .shardStopped:
      Entry(
        "9b5b7d45605445efb2c876f107e40521", .error, "Shard stopped",
        meaning:
          "A statement can work for no event, a plugin refuses to run, or whatever fails is not to be tried again or passed over. Where the error says that the position was moved: a second daemon, or a host that runs a shard of the same name, works on this one too. The page was rolled back and the position stays; other shards go on.",
        action:
          "Read error and source. Mend the statement or the plugin and reload, or mend what the error names and say `tidemark start NAME`. Where the position was moved, end whoever else moves it first."
      )
    case .shardWaiting:
      Entry(
        "5cc9fff179ee44349b29f12d2bbc5e3b", .notice, "Shard waits to begin",
        meaning:
          "Somebody holds the row of the position: the last page of a node that has just died, for a moment.",
        action:
          "Nothing, unless it never begins: then some transaction stays open. pg_blocking_pids(pid) in pg_stat_activity shows which."
      )
    case .shardRefused:
      Entry(
        "e32d72bc781d427ebbbb86c08aaae3df", .error, "Shard does not start: the store is not at rest",
        meaning:
          "start = \"inline-handover\" begins where the application ended that kept the read model itself, and something is still being appended (TM213). The error says by whom.",
        action:
          "Stop the application, and whatever else appends, or end the transaction that the error names; after retry_in the shard is tried again by itself. `tidemark check` asks the same."
      )
    case .shardEnded:
      Entry(
        "6863b117c2f548bf997faea2e6993ebb", .info, "Shard ended",
        meaning:
          "The shard's agent finished its page and ended, because the daemon stops or the projection was removed or changed.",
        action: "Nothing.")
    case .rebuildStarted:
      Entry(
        "ad21a94b69b543c9949e94d1535d770f", .notice, "Rebuild started",
        meaning:
          "The shard's events are replayed into new tables beside the old ones, of which readers and the live shard notice nothing; in place, into the old tables, which are emptied first; or into a plugin with effects outside. For the last two the live shard waits. With resumed, a replay that was interrupted goes on.",
        action: "Nothing; `tidemark rebuild` of the same shard shows how far it is, with --abort it ends it.")
    case .rebuildHindered:
      Entry(
        "c7a704e72d784baa9f12824c7ec7b61e", .notice, "The exchange of a rebuilt read model was put off",
        meaning:
          "Readers held the old tables, or a transaction has a snapshot from before the new ones were full. The live shard goes on, and the exchange is tried again.",
        action:
          "Nothing. After 20 times the rows are copied instead of the tables swapped, unless the command said --by swap; then end the reader that stands in the way."
      )
    case .rebuildRetrying:
      Entry(
        "03e8c63733b14124a5d428f8c62cbbbe", .warning, "A page of the rebuild failed and will be tried again",
        meaning:
          "The failure is likely to be over soon: a lock, a server that restarts, a plugin that does not answer. With new tables the old read model serves meanwhile, and its shard goes on.",
        action:
          "Nothing, unless it does not end: then the error says what is in the way. `tidemark rebuild` with --abort ends the rebuild."
      )
    case .rebuildCompared:
      Entry(
        "91b5509f460c45fda1f2ff76b5f15e29", .notice, "A rebuilt read model was compared with the old one",
        meaning: "Nothing was exchanged. The new tables wait in a schema of their own.",
        action: "`tidemark rebuild` exchanges them, with --abort it removes them.")
    case .rebuildExchanged:
      Entry(
        "8438ff359875439fb16e4d6f6f2fd4cb", .notice, "The rebuilt read model took the old one's place",
        meaning:
          "In one commit, by a swap of the tables or by a copy of the rows that differ; the reason says why that way. By replay: a plugin with effects outside was handed every event again, and nothing was exchanged. The live shard goes on from the same position.",
        action: "Nothing.")
    case .rebuildFailed:
      Entry(
        "eab19339c3054d87974969d77e79995e", .error, "Rebuild stopped",
        meaning:
          "What was done is kept for another try. With new tables the old read model is untouched; in place it is filled up to the shard's position. The live shard goes on from there either way.",
        action:
          "Mend what the error names, then say `tidemark rebuild` again: it goes on where it was. With --abort it is removed."
      )
    case .rebuildAborted:
      Entry(
        "3f3ca2c8e61e42ccb88d07ec765dc544", .notice, "Rebuild ended by an operator",
        meaning:
          "With --abort. The new tables were removed, and the old read model is untouched; in place, the shard goes on filling it from its position.",
        action: "Nothing.")
    case .pluginStarted:
      Entry(
        "90e1fa61903146e1aac2e57998178197", .info, "Plugin started",
        meaning: "The program of the shard runs, and has been asked whether it is ready.",
        action: "Nothing.")
    case .pluginSaid:
      Entry(
        "c1f7f90f8e2b4c97a53aa5ff5dd97f31", .info, "The plugin says",
        meaning:
          "A line of its standard error, which weighs info, or an entry that it asked for, which weighs what it says.",
        action: "Whatever the text suggests; its author knows.")
    case .pluginLinesDropped:
      Entry(
        "b0c3694751f3449ebf5cd7630e4ff700", .warning, "Lines of the plugin were left out of the log",
        meaning: "It wrote more than 100 lines in five seconds. Count says how many are not in the log.",
        action: "Have the plugin say less.")
    case .pluginLost:
      Entry(
        "8ffdc7ebd0b04c59b8bf7288e68ecbbb", .warning, "The plugin is gone, though nobody asked it to go",
        meaning:
          "It ended or was killed. It is started again for the next page; a page it had not answered for is handed over again.",
        action:
          "Read error and its last words; `tidemark plugin try` runs it over a few events without moving a position.")
    case .pluginEnded:
      Entry(
        "08c3aef3e49e4ab5af1c7181737d7a92", .info, "Plugin ended",
        meaning:
          "It was asked to end: its shard ended, or it did something that the protocol does not allow, as an entry before this one says.",
        action: "Nothing.")
    }
  }
}
