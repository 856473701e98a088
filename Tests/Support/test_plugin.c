/* A plugin that does what its config says, for the tests: `seen=FILE` notes each event, other words misbehave. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tidemark_plugin.h"

typedef struct state {
    char config[512];
    const tidemark_host *host;
    int calls;
    /* Of the first page, whose thread speaks while the second is under way. */
    const tidemark_host *first;
    pthread_t thread;
    atomic_int second;
} state;

static int says(const state *s, const char *word) { return strstr(s->config, word) != NULL; }

static tidemark_text text(const char *t) { return (tidemark_text){t, strlen(t)}; }

static int open_plugin(const tidemark_opening *opening, const tidemark_host *host, void **out) {
    state *s = calloc(1, sizeof *s);
    snprintf(s->config, sizeof s->config, "%.*s", (int)opening->config.length, opening->config.bytes);
    s->host = host;
    if (says(s, "refuse")) {
        host->failed(host->context, 0, TIDEMARK_CLASS_DEFINITION, text("no licence"));
        free(s);
        return TIDEMARK_FAILED;
    }
    if (says(s, "open-wrong")) return 99;
    if (says(s, "late-open")) usleep(1500000);
    while (says(s, "never-open")) pause();
    if (says(s, "long-log")) {
        char words[5000];
        memset(words, 'x', sizeof words);
        host->log(host->context, TIDEMARK_LEVEL_INFO, (tidemark_text){words, sizeof words});
    }
    host->log(host->context, TIDEMARK_LEVEL_NOTICE, says(s, "mode") ? opening->mode : text("opened"));
    *out = s;
    return TIDEMARK_READY;
}

static void note(const state *s, const tidemark_event *e) {
    const char *path = strstr(s->config, "seen=");
    if (path == NULL) return;
    FILE *file = fopen(path + 5, "a");
    fprintf(file, "%lld %.*s %.*s\n", (long long)e->seq_id, (int)e->type.length, e->type.bytes, (int)e->data.length, e->data.bytes);
    fclose(file);
}

static void *late(void *argument) {
    state *s = argument;
    while (!atomic_load(&s->second)) usleep(1000);
    const tidemark_host *hosts[] = {s->host, s->first};
    for (int i = 0; i < 2; i++) {
        hosts[i]->failed(hosts[i]->context, 2, TIDEMARK_CLASS_EVENT, text("too late"));
        hosts[i]->sql(hosts[i]->context, text("INSERT INTO late VALUES (1)"), NULL, 0);
        hosts[i]->log(hosts[i]->context, TIDEMARK_LEVEL_INFO, text("late word"));
    }
    return NULL;
}

static int apply(void *p, const tidemark_page *page, const tidemark_host *host) {
    state *s = p;
    int first = s->calls++ == 0;
    if (says(s, "wrong-code") && first) return 77;
    if (says(s, "silent-failure") && first) return TIDEMARK_FAILED;
    if (says(s, "wrong-event") && first) {
        host->failed(host->context, page->ceiling + 100, TIDEMARK_CLASS_EVENT, text("not yours"));
        return TIDEMARK_FAILED;
    }
    if (says(s, "both") && first) {
        host->failed(host->context, page->events[0].seq_id, TIDEMARK_CLASS_EVENT, text("and yet"));
        return TIDEMARK_APPLIED;
    }
    if (says(s, "slow") && first) usleep(1500000);
    if (says(s, "away") && first) sleep(8);
    if (says(s, "stuck")) pause();
    for (size_t i = 0; i < page->count; i++) {
        const tidemark_event *e = &page->events[i];
        if (memmem(e->data.bytes, e->data.length, "bad", 3) != NULL) {
            host->failed(host->context, e->seq_id, TIDEMARK_CLASS_EVENT, text("bad data"));
            return TIDEMARK_FAILED;
        }
        if (memmem(e->data.bytes, e->data.length, "null-message", 12) != NULL) {
            host->failed(host->context, e->seq_id, (tidemark_class)4711, (tidemark_text){NULL, 7});
            return TIDEMARK_FAILED;
        }
        if (memmem(e->data.bytes, e->data.length, "nonsense", 8) != NULL) return 77;
        if (memmem(e->data.bytes, e->data.length, "slumber", 7) != NULL) usleep(1000000);
        note(s, e);
        if (says(s, "insert")) {
            char sequence[24];
            snprintf(sequence, sizeof sequence, "%lld", (long long)e->seq_id);
            tidemark_text value = text(sequence);
            host->sql(host->context, text("INSERT INTO seen (seq) VALUES ($1)"), &value, 1);
        }
    }
    if (says(s, "late-host") && first) {
        s->first = host;
        pthread_create(&s->thread, NULL, late, s);
    } else if (says(s, "late-host")) {
        if (!atomic_exchange(&s->second, 1)) pthread_join(s->thread, NULL);
    }
    return TIDEMARK_APPLIED;
}

static void close_plugin(void *p) {
    state *s = p;
    s->host->log(s->host->context, TIDEMARK_LEVEL_NOTICE, text("closed"));
    free(s);
}

#ifndef ABI
#define ABI TIDEMARK_PLUGIN_ABI
#endif

#ifdef WITHOUT_APPLY
static const tidemark_plugin table = {ABI, open_plugin, NULL, close_plugin};
#else
static const tidemark_plugin table = {ABI, open_plugin, apply, close_plugin};
#endif

#ifdef NOTHING
const tidemark_plugin *tidemark_plugin_main(void) { return NULL; }
#elif !defined(NO_MAIN)
const tidemark_plugin *tidemark_plugin_main(void) { return &table; }
#endif
