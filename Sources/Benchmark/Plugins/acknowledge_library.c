/* A library plugin that reads every event once, as a real one would, and answers that the page is applied. */
#include "tidemark_plugin.h"

static volatile long long sum;

static int open_plugin(const tidemark_opening *opening, const tidemark_host *host, void **state) {
    (void)opening; (void)host;
    *state = (void *)&sum;
    return TIDEMARK_READY;
}

static int apply(void *state, const tidemark_page *page, const tidemark_host *host) {
    (void)state; (void)host;
    long long total = 0;
    for (size_t i = 0; i < page->count; i++) {
        const tidemark_event *event = &page->events[i];
        total += event->seq_id + event->data.bytes[event->data.length - 1] + event->id.bytes[0];
    }
    sum += total;
    return TIDEMARK_APPLIED;
}

static void close_plugin(void *state) { (void)state; }

const tidemark_plugin *tidemark_plugin_main(void) {
    static const tidemark_plugin table = {TIDEMARK_PLUGIN_ABI, open_plugin, apply, close_plugin};
    return &table;
}
