/* The fastest possible exec plugin: it reads every line of a page and answers that the page is applied. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[1 << 20];

static void answer(const char *line) { if (write(1, line, strlen(line)) < 0) exit(1); }

static long number(const char *line, const char *key) {
    const char *found = strstr(line, key);
    return found ? atol(found + strlen(key)) : 0;
}

int main(void) {
    /* The current page: the number of event lines still to come, and its ceiling. */
    long left = 0, ceiling = 0;
    size_t held = 0;
    int greeted = 0;
    ssize_t got;
    while ((got = read(0, buffer + held, sizeof buffer - 1 - held)) > 0) {
        char *at = buffer, *end = buffer + held + got;
        for (char *newline; (newline = memchr(at, '\n', end - at)) != NULL; at = newline + 1) {
            if (left > 0) {
                left--;
            } else {
                *newline = 0;
                if (!greeted) {
                    greeted = 1;
                    answer("{\"ready\":{\"protocol\":1}}\n");
                    continue;
                }
                left = number(at, "\"count\":");
                ceiling = number(at, "\"ceiling\":");
            }
            if (left == 0) {
                char line[64];
                snprintf(line, sizeof line, "{\"applied\":{\"ceiling\":%ld}}\n", ceiling);
                answer(line);
            }
        }
        held = end - at;
        /* The content of an event line longer than the buffer does not matter. */
        if (held == sizeof buffer - 1) held = 0;
        memmove(buffer, at, held);
    }
    return 0;
}
