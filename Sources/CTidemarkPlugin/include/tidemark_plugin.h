/* What a plugin of Tidemark is built against when it is a shared object: `library` in tidemark.toml(5).
 *
 * The library exports one function, tidemark_plugin_main, which returns a table of functions. For each shard the daemon opens the
 * plugin once, hands it one page of events after the other, and closes it; all calls for one shard come from one thread, one at a
 * time. Those for different shards come from different threads at once: tidemark_plugin_main and open too may run in parallel.
 * Whatever is handed over is valid until the call returns, and must not be changed.
 *
 * It all happens in the daemon's process: a crash here is a crash of the daemon. Positions stay right, and systemd starts it again.
 * See tidemark-plugin(7).
 */
#ifndef TIDEMARK_PLUGIN_H
#define TIDEMARK_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of what follows. The daemon refuses a plugin that was built for another. */
#define TIDEMARK_PLUGIN_ABI 1

/* UTF-8 that does not end in a zero. Without bytes it is SQL's NULL, or nothing. */
typedef struct tidemark_text {
    const char *bytes;
    size_t length;
} tidemark_text;

typedef struct tidemark_event {
    /* Its number in the whole store: what tells a repetition. */
    int64_t seq_id;
    /* Its number in its stream, from 1. */
    int64_t version;
    /* Microseconds since 1970, UTC. INT64_MAX and INT64_MIN stand for PostgreSQL's infinities; a time beyond the year 294246 is
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
    /* The position before the page, and the position after it. There may be fewer events than numbers. */
    int64_t floor;
    int64_t ceiling;
    size_t count;
    const tidemark_event *events;
} tidemark_page;

/* What an event failed of, and so what is done about it: see [[on_error]] in tidemark.toml(5). */
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

/* What the daemon does for a plugin. What is passed in is copied at once. `context` is passed as it is. Each call of the plugin is
 * given a host of its own, which stays valid: its `log` may be called at any time and from any thread, the others only during that
 * call, and are ignored when they come later. */
typedef struct tidemark_host {
    void *context;
    void (*log)(void *context, tidemark_level level, tidemark_text message);
    /* With effects = "database": one statement of the answer, in the order of the calls. `values` are for $1, $2 and so on; one
     * without bytes is NULL. */
    void (*sql)(void *context, tidemark_text text, const tidemark_text *values, size_t count);
    /* The event that failed, and why; then return TIDEMARK_FAILED. In open, where there is no event, with seq_id 0. */
    void (*failed)(void *context, int64_t seq_id, tidemark_class what, tidemark_text message);
} tidemark_host;

typedef struct tidemark_opening {
    /* The setting `config`. */
    tidemark_text config;
    /* Like Search:All. */
    tidemark_text shard;
    /* The name in the settings; main where there is only one. */
    tidemark_text database;
    /* "continuous" or "rebuild". */
    tidemark_text mode;
    /* The last sequence that is applied: the first page is of events after it. */
    int64_t position;
} tidemark_opening;

enum {
    /* Of apply: the whole page is done. */
    TIDEMARK_APPLIED = 1,
    /* Of apply: `failed` has been told which event failed; everything before it is done. Of open: the plugin will not run here. */
    TIDEMARK_FAILED = 2,
    /* Of open: the plugin is ready. */
    TIDEMARK_READY = 3
};

typedef struct tidemark_plugin {
    /* TIDEMARK_PLUGIN_ABI. */
    uint32_t abi;
    /* Returns TIDEMARK_READY and sets *state, which is then passed to the others, or returns TIDEMARK_FAILED. */
    int (*open)(const tidemark_opening *opening, const tidemark_host *host, void **state);
    /* Returns TIDEMARK_APPLIED or TIDEMARK_FAILED; anything else counts as a failure of the plugin, and the page is handed over again. */
    int (*apply)(void *state, const tidemark_page *page, const tidemark_host *host);
    void (*close)(void *state);
} tidemark_plugin;

/* The plugin's own; what it returns stays valid for ever. */
const tidemark_plugin *tidemark_plugin_main(void);

#ifdef __cplusplus
}
#endif

#endif
