// libpq, and the few Linux calls that Swift's Glibc module cannot see (eventfd) or call (variadic prctl).
#pragma once

#if __has_include(<libpq-fe.h>)
#include <libpq-fe.h>
#else
#include <postgresql/libpq-fe.h>
#endif

#include <sys/eventfd.h>
#include <sys/prctl.h>

static inline int tidemark_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

// Names the calling thread; Linux keeps the first 15 bytes.
static inline void tidemark_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }
