/// Every setting of the server, and what becomes of a session of ours when a role, a database or the server has a value of its own for it.
///
/// `ALTER ROLE … SET` reaches every session of the daemon, and nothing shows it there: a limit ends pages, a setting for an old application
/// gives a literal another meaning. So the program knows each name, and a test walks through `pg_settings` of each server that it runs on
/// and fails on a name that is new.
///
/// Source: the chapter "Server Configuration" of PostgreSQL's manual, versions 13 to 18.
package enum ServerSettings {
  package enum Treatment: Sendable, Hashable {
    /// Every session begins with this value, and has it again after `RESET ALL`.
    case pinned(String)
    /// Each kind of session sets it for its own work.
    case set
    /// It ends, stops or bends what a session does. What it does, and what the daemon does about it, in words; `check` says them where
    /// the value is not the one that PostgreSQL ships.
    case left(String)
    /// What a statement of the operator's means, as for any program of the role; no statement of ours depends on it.
    case meaning
    /// How a statement is planned and what it may use; never its result.
    case cost
    /// What is written to the server's log, or shown of it.
    case log
    /// Another part of the server, or the server as a whole: files, ports, replication, cleaning up.
    case server
  }

  /// Nil if the setting is not known. A name with a dot is of an extension, and none of ours.
  package static func treatment(of name: String) -> Treatment? { name.contains(".") ? .server : all[name.lowercased()] }

  /// The values that sessions begin with, beside their `search_path`.
  package static let pinned: [(name: String, value: String)] =
    SignsOfLife.settings + [
      // A backslash in a literal is a character.
      ("standard_conforming_strings", "on"),
      // NULL in an array is no text.
      ("array_nulls", "on"),
      // An error ends a statement, and not the session with its locks.
      ("exit_on_error", "off"),
      // Names come back as they are compared.
      ("quote_all_identifiers", "off"),
      // A session that has nothing to do for a while stays.
      ("idle_session_timeout", "0"),
      // A query that a policy would filter fails instead of missing rows.
      ("row_security", "off"),
      // Single statements wait for rows too, and must then see the change they waited for.
      ("default_transaction_isolation", "read committed"),
    ]

  /// Sets these, and the path, for a session that has others.
  package static let pin =
    ([SearchPath.pin] + pinned.map { "SET \($0.name) = '\($0.value)'" } + ["SELECT \(allowsViews)"]).joined(
      separator: "; ")

  /// Takes back what may forbid views, `batch` among them; only late releases have the setting.
  static let allowsViews = """
    CASE WHEN pg_catalog.current_setting('restrict_nonsystem_relation_kind', true) OPERATOR(pg_catalog.<>) ''
         THEN pg_catalog.set_config('restrict_nonsystem_relation_kind', '', false) END
    """

  private static let all: [String: Treatment] = {
    var all: [String: Treatment] = ["search_path": .set, "restrict_nonsystem_relation_kind": .pinned("")]
    for (name, value) in pinned { all[name] = .pinned(value) }
    for (name, words) in left { all[name] = .left(words) }
    for (treatment, names) in [
      (Treatment.set, set), (.meaning, meaning), (.cost, cost), (.log, log), (.server, server),
    ] {
      for name in names.split(whereSeparator: \.isWhitespace) { all[name.lowercased()] = treatment }
    }
    return all
  }()

  /// The names that `check` asks the server about.
  package static var namesLeft: [String] { left.map(\.name) }

  private static let left: [(name: String, words: String)] = [
    ("statement_timeout", "ends a statement of a page that takes longer; the daemon tries fewer events, down to one"),
    ("transaction_timeout", "ends the session of a page that takes longer; the daemon tries fewer events, down to one"),
    ("lock_timeout", "ends a page that waits longer for a lock; the daemon tries it again"),
    ("temp_file_limit", "ends a statement that sorts more than fits; the daemon tries fewer events, down to one"),
    (
      "default_transaction_read_only",
      "no session may write: no event is applied until it is off, and then the daemon continues by itself"
    ),
    ("default_transaction_deferrable", "a serializable read waits; no session of the daemon begins one"),
    (
      "session_replication_role",
      "with replica, triggers and foreign keys of read models do not work while pages are applied; set it back to origin for the role"
    ),
    (
      "synchronous_commit",
      "with off, a crash of the server takes the last pages back, position and rows together, and the daemon applies them again"
    ),
    (
      "zero_damaged_pages",
      "the server takes damaged blocks for empty ones: events vanish without an error. Turn it off and restore the table"
    ),
    (
      "ignore_checksum_failure",
      "the server reads blocks that it knows to be damaged. Turn it off and restore the table"
    ),
    ("ignore_system_indexes", "the server is slow, as after damage to its catalogs; it is meant for repairs alone"),
    (
      "fsync",
      "with off, a crash of the machine may leave any state of the database, and no promise of the daemon outlasts it"
    ),
    (
      "full_page_writes",
      "with off, a crash of the machine may leave any state of the database, and no promise of the daemon outlasts it"
    ),
    ("gin_fuzzy_search_limit", "an index of the kind GIN finds only some of the rows; statements of projections too"),
    ("transform_null_equals", "= NULL means IS NULL in the statements of projections"),
    (
      "old_snapshot_threshold", "ends a statement that reads longer (snapshot too old); the daemon tries the page again"
    ),
    ("track_activities", "with off, the daemon cannot say what the session that stands in its way is doing"),
  ]

  private static let set = """
    application_name client_connection_check_interval client_encoding idle_in_transaction_session_timeout jit
    transaction_deferrable transaction_isolation transaction_read_only work_mem
    """

  private static let meaning = """
    DateStyle IntervalStyle TimeZone bytea_output default_table_access_method default_tablespace default_text_search_config
    default_toast_compression default_with_oids dynamic_library_path extension_control_path extension_destdir extra_float_digits
    icu_validation_level lc_collate lc_ctype lc_monetary lc_numeric lc_time lo_compat_privileges local_preload_libraries
    operator_precedence_warning session_preload_libraries shared_preload_libraries temp_tablespaces timezone_abbreviations xmlbinary
    xmloption backslash_quote check_function_bodies createrole_self_grant event_triggers
    """

  private static let cost = """
    backend_flush_after commit_delay commit_siblings constraint_exclusion cpu_index_tuple_cost cpu_operator_cost cpu_tuple_cost
    cursor_tuple_fraction deadlock_timeout debug_discard_caches debug_parallel_query default_statistics_target
    effective_cache_size effective_io_concurrency enable_async_append enable_bitmapscan enable_distinct_reordering enable_gathermerge
    enable_group_by_reordering enable_hashagg enable_hashjoin enable_incremental_sort enable_indexonlyscan enable_indexscan
    enable_material enable_memoize enable_mergejoin enable_nestloop enable_parallel_append enable_parallel_hash
    enable_partition_pruning enable_partitionwise_aggregate enable_partitionwise_join enable_presorted_aggregate
    enable_self_join_elimination enable_seqscan enable_sort enable_tidscan file_copy_method force_parallel_mode from_collapse_limit
    geqo geqo_effort geqo_generations geqo_pool_size geqo_seed geqo_selection_bias geqo_threshold gin_pending_list_limit
    hash_mem_multiplier io_combine_limit io_max_combine_limit io_max_concurrency io_method io_workers jit_above_cost
    jit_debugging_support jit_dump_bitcode jit_expressions jit_inline_above_cost jit_optimize_above_cost jit_profiling_support
    jit_provider jit_tuple_deforming join_collapse_limit logical_decoding_work_mem maintenance_io_concurrency maintenance_work_mem
    max_parallel_maintenance_workers max_parallel_workers max_parallel_workers_per_gather max_stack_depth
    min_parallel_index_scan_size min_parallel_table_scan_size parallel_leader_participation parallel_setup_cost
    parallel_tuple_cost plan_cache_mode random_page_cost recursive_worktable_factor seq_page_cost stats_fetch_consistency
    synchronize_seqscans temp_buffers wal_compression wal_init_zero wal_recycle wal_skip_threshold
    """

  private static let log = """
    backtrace_functions client_min_messages cluster_name compute_query_id debug_assertions debug_pretty_print debug_print_parse
    debug_print_plan debug_print_rewritten debug_logical_replication_streaming escape_string_warning event_source lc_messages
    log_autoanalyze_min_duration log_autovacuum_min_duration
    log_checkpoints log_connections log_destination log_directory log_disconnections log_duration log_error_verbosity
    log_executor_stats log_file_mode log_filename log_hostname log_line_prefix log_lock_failures log_lock_waits
    log_min_duration_sample log_min_duration_statement log_min_error_statement log_min_messages log_parameter_max_length
    log_parameter_max_length_on_error log_parser_stats log_planner_stats log_recovery_conflict_waits log_replication_commands
    log_rotation_age log_rotation_size log_startup_progress_interval log_statement log_statement_sample_rate log_statement_stats
    log_temp_files log_timezone log_transaction_sample_rate log_truncate_on_rotation logging_collector md5_password_warnings
    syslog_facility syslog_ident syslog_sequence_numbers syslog_split_messages trace_connection_negotiation trace_lock_oidmin
    trace_lock_table trace_locks trace_lwlocks trace_notify trace_recovery_messages trace_sort trace_syncscan trace_userlocks
    track_activity_query_size track_commit_timestamp track_cost_delay_timing track_counts track_functions track_io_timing
    track_wal_io_timing update_process_title
    """

  private static let server = """
    allow_alter_system allow_in_place_tablespaces allow_system_table_mods archive_cleanup_command archive_command archive_library
    archive_mode archive_timeout authentication_timeout autovacuum autovacuum_analyze_scale_factor autovacuum_analyze_threshold
    autovacuum_freeze_max_age autovacuum_max_workers autovacuum_multixact_freeze_max_age autovacuum_naptime
    autovacuum_vacuum_cost_delay autovacuum_vacuum_cost_limit autovacuum_vacuum_insert_scale_factor
    autovacuum_vacuum_insert_threshold autovacuum_vacuum_max_threshold autovacuum_vacuum_scale_factor autovacuum_vacuum_threshold
    autovacuum_work_mem autovacuum_worker_slots bgwriter_delay bgwriter_flush_after bgwriter_lru_maxpages bgwriter_lru_multiplier
    block_size bonjour bonjour_name checkpoint_completion_target checkpoint_flush_after checkpoint_timeout checkpoint_warning
    commit_timestamp_buffers config_file data_checksums data_directory data_directory_mode data_sync_retry db_user_namespace
    debug_io_direct debug_logical_replication_streaming dynamic_shared_memory_type external_pid_file
    file_extend_method gss_accept_delegation hba_file hot_standby hot_standby_feedback huge_page_size huge_pages huge_pages_status
    ident_file idle_replication_slot_timeout ignore_invalid_pages in_hot_standby integer_datetimes krb_caseins_users
    krb_server_keyfile listen_addresses max_active_replication_origins max_connections max_files_per_process max_function_args
    max_identifier_length max_index_keys max_locks_per_transaction max_logical_replication_workers max_notify_queue_pages
    max_parallel_apply_workers_per_subscription max_pred_locks_per_page max_pred_locks_per_relation max_pred_locks_per_transaction
    max_prepared_transactions max_replication_slots max_slot_wal_keep_size max_standby_archive_delay max_standby_streaming_delay
    max_sync_workers_per_subscription max_wal_senders max_wal_size max_worker_processes min_dynamic_shared_memory min_wal_size
    multixact_member_buffers multixact_offset_buffers notify_buffers num_os_semaphores oauth_validator_libraries
    output_plugin_libraries
    password_encryption port post_auth_delay pre_auth_delay primary_conninfo primary_slot_name promote_trigger_file
    recovery_end_command recovery_init_sync_method recovery_min_apply_delay recovery_prefetch recovery_target
    recovery_target_action recovery_target_inclusive recovery_target_lsn recovery_target_name recovery_target_time
    recovery_target_timeline recovery_target_xid remove_temp_files_after_crash reserved_connections restart_after_crash
    restore_command scram_iterations segment_size send_abort_for_crash send_abort_for_kill serializable_buffers server_encoding
    server_version server_version_num shared_buffers shared_memory_size shared_memory_size_in_huge_pages shared_memory_type
    ssl ssl_ca_file ssl_cert_file ssl_ciphers ssl_crl_dir ssl_crl_file ssl_dh_params_file ssl_ecdh_curve ssl_groups ssl_key_file
    ssl_library ssl_max_protocol_version ssl_min_protocol_version ssl_passphrase_command
    ssl_passphrase_command_supports_reload ssl_prefer_server_ciphers ssl_renegotiation_limit ssl_tls13_ciphers subtransaction_buffers
    summarize_wal superuser_reserved_connections sync_replication_slots synchronized_standby_slots synchronous_standby_names
    transaction_buffers unix_socket_directories unix_socket_group unix_socket_permissions vacuum_buffer_usage_limit
    vacuum_cleanup_index_scale_factor vacuum_cost_delay vacuum_cost_limit vacuum_cost_page_dirty vacuum_cost_page_hit
    vacuum_cost_page_miss vacuum_defer_cleanup_age vacuum_failsafe_age vacuum_freeze_min_age vacuum_freeze_table_age
    vacuum_max_eager_freeze_failure_rate vacuum_multixact_failsafe_age vacuum_multixact_freeze_min_age
    vacuum_multixact_freeze_table_age vacuum_truncate wal_block_size wal_buffers wal_consistency_checking wal_decode_buffer_size
    wal_debug wal_keep_size wal_level wal_log_hints wal_receiver_create_temp_slot wal_receiver_status_interval wal_receiver_timeout
    wal_retrieve_retry_interval wal_segment_size wal_sender_timeout wal_summary_keep_time wal_sync_method wal_writer_delay
    wal_writer_flush_after
    """
}
