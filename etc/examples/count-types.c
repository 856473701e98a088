/* A Tidemark plugin as a C library: counts the events of each type, and writes the counts to a table in the same transaction as
 * the position, so each event is counted exactly once. See tidemark-plugin(7).
 *
 *   cc -O2 -shared -fPIC -o libcount-types.so count-types.c
 *
 *   [projections.TypeCount]
 *   library = "/usr/lib/shop/libcount-types.so"
 *   effects = "database"
 *   tables  = ["type_count"]
 *   setup   = "CREATE TABLE type_count (type text PRIMARY KEY, events bigint NOT NULL)"
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tidemark_plugin.h>

/* The number of events of one type in the current page. */
struct tally {
    tidemark_text type;
    long count;
};

static tidemark_text text(const char *bytes) { return (tidemark_text){bytes, strlen(bytes)}; }

static int open_plugin(const tidemark_opening *opening, const tidemark_host *host, void **state) {
    if (opening->config.length > 0) {
        host->failed(host->context, 0, TIDEMARK_CLASS_DEFINITION, text("this plugin takes no config"));
        return TIDEMARK_FAILED;
    }
    *state = NULL;
    return TIDEMARK_READY;
}

static void put(const tidemark_host *host, const struct tally *tally) {
    char number[32];
    snprintf(number, sizeof number, "%ld", tally->count);
    const tidemark_text values[] = {tally->type, text(number)};
    host->sql(
        host->context,
        text("INSERT INTO type_count AS c (type, events) VALUES ($1, $2) "
             "ON CONFLICT (type) DO UPDATE SET events = c.events + excluded.events"),
        values, 2);
}

static int apply(void *state, const tidemark_page *page, const tidemark_host *host) {
    (void)state;
    struct tally *tallies = calloc(page->count + 1, sizeof *tallies);
    if (tallies == NULL) return 0;
    size_t types = 0;
    for (size_t i = 0; i < page->count; i++) {
        const tidemark_text type = page->events[i].type;
        size_t t = 0;
        while (t < types && (tallies[t].type.length != type.length || memcmp(tallies[t].type.bytes, type.bytes, type.length))) t++;
        if (t == types) tallies[types++].type = type;
        tallies[t].count++;
    }
    for (size_t t = 0; t < types; t++) put(host, &tallies[t]);
    free(tallies);
    return TIDEMARK_APPLIED;
}

static void close_plugin(void *state) { (void)state; }

const tidemark_plugin *tidemark_plugin_main(void) {
    static const tidemark_plugin plugin = {TIDEMARK_PLUGIN_ABI, open_plugin, apply, close_plugin};
    return &plugin;
}
