/* The interface of a Tidemark plugin that is a shared object: `library` in tidemark.toml(5).
 *
 * The library exports one function, tidemark_plugin_main, which returns a table of functions. For each shard the daemon opens the
 * plugin once, hands it one page of events after another, and closes it. All calls for one shard come from one thread, one at a
 * time. Calls for different shards come from different threads and may run in parallel, including tidemark_plugin_main and open.
 * Everything passed to the plugin is valid until the call returns, and must not be changed.
 *
 * The plugin runs in the daemon's process: if it crashes, the daemon crashes. Positions stay correct, and systemd restarts the
 * daemon. See tidemark-plugin(7).
 */
#ifndef TIDEMARK_PLUGIN_H
#define TIDEMARK_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this interface. The daemon refuses a plugin built for another version. */
#define TIDEMARK_PLUGIN_ABI 1

/* UTF-8, not zero-terminated. If `bytes` is NULL, the text is an SQL NULL, or absent. */
typedef struct tidemark_text {
    const char *bytes;
    size_t length;
} tidemark_text;

typedef struct tidemark_event {
    /* The event's number in the whole store; it identifies an event that is delivered again. */
    int64_t seq_id;
    /* The event's number in its stream, from 1. */
    int64_t version;
    /* Microseconds since 1970, UTC. INT64_MAX and INT64_MIN are PostgreSQL's infinities; a time beyond the year 294246 is
     * INT64_MAX - 1. */
    int64_t timestamp_us;
    tidemark_text id;
    tidemark_text stream_id;
    tidemark_text type;
    tidemark_text tenant_id;
    tidemark_text causation_id;
    tidemark_text correlation_id;
    /* JSON, as PostgreSQL writes it. */
    tidemark_text headers;
    tidemark_text data;
} tidemark_event;

typedef struct tidemark_page {
    /* The position before the page, and the position after it. A page may hold fewer events than numbers. */
    int64_t floor;
    int64_t ceiling;
    size_t count;
    const tidemark_event *events;
} tidemark_page;

/* The class of a failure, which decides how the daemon handles it: see [[on_error]] in tidemark.toml(5). */
typedef enum tidemark_class {
    TIDEMARK_CLASS_EVENT = 0,
    TIDEMARK_CLASS_SERIALIZATION = 1,
    TIDEMARK_CLASS_UNKNOWN = 2,
    TIDEMARK_CLASS_TRANSIENT = 3,
    TIDEMARK_CLASS_DEFINITION = 4
} tidemark_class;

typedef enum tidemark_level {
    TIDEMARK_LEVEL_DEBUG = 0,
    TIDEMARK_LEVEL_INFO = 1,
    TIDEMARK_LEVEL_NOTICE = 2,
    TIDEMARK_LEVEL_WARNING = 3,
    TIDEMARK_LEVEL_ERROR = 4
} tidemark_level;

/* Functions of the daemon that a plugin may call. Pass `context` unchanged; arguments are copied at once. Each call of the plugin
 * gets its own host, which stays valid: `log` may be called at any time and from any thread, the others only during that call; they
 * are ignored afterwards. */
typedef struct tidemark_host {
    void *context;
    void (*log)(void *context, tidemark_level level, tidemark_text message);
    /* With effects = "database": adds one statement to the answer, in the order of the calls. `values` are for $1, $2 and so on; a
     * value whose `bytes` is NULL is an SQL NULL. */
    void (*sql)(void *context, tidemark_text text, const tidemark_text *values, size_t count);
    /* Reports the event that failed, and why; then return TIDEMARK_FAILED. In open, which has no event, pass 0 as seq_id. */
    void (*failed)(void *context, int64_t seq_id, tidemark_class what, tidemark_text message);
} tidemark_host;

typedef struct tidemark_opening {
    /* The setting `config`. */
    tidemark_text config;
    /* The shard's name, like Search:All. */
    tidemark_text shard;
    /* The database's name in the settings; "main" if there is only one. */
    tidemark_text database;
    /* "continuous" or "rebuild". */
    tidemark_text mode;
    /* The last sequence applied; the first page begins after it. */
    int64_t position;
} tidemark_opening;

enum {
    /* From apply: the whole page is applied. */
    TIDEMARK_APPLIED = 1,
    /* From apply: one event failed, as reported with `failed`; all events before it are applied. From open: the plugin refuses to run. */
    TIDEMARK_FAILED = 2,
    /* From open: the plugin is ready. */
    TIDEMARK_READY = 3
};

typedef struct tidemark_plugin {
    /* TIDEMARK_PLUGIN_ABI. */
    uint32_t abi;
    /* Returns TIDEMARK_READY and sets *state, which is passed to the other functions, or returns TIDEMARK_FAILED. */
    int (*open)(const tidemark_opening *opening, const tidemark_host *host, void **state);
    /* Returns TIDEMARK_APPLIED or TIDEMARK_FAILED; any other value is a failure of the plugin, and the page is handed over again. */
    int (*apply)(void *state, const tidemark_page *page, const tidemark_host *host);
    void (*close)(void *state);
} tidemark_plugin;

/* Defined by the plugin. The table it returns must stay valid as long as the process runs. */
const tidemark_plugin *tidemark_plugin_main(void);

#ifdef __cplusplus
}
#endif

#endif
