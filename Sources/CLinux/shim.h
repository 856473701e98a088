// The Linux calls that Swift's Glibc module does not show (epoll, eventfd, signalfd, pidfd) or cannot call (variadic prctl).
#pragma once

#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

static inline int tidemark_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

static inline int tidemark_epoll(void) { return epoll_create1(EPOLL_CLOEXEC); }

// read(2) waits for one of the signals, and takes it.
static inline int tidemark_signalfd(const sigset_t *signals) { return signalfd(-1, signals, SFD_CLOEXEC); }

// Readable once the process has ended. It is closed on exec by itself.
static inline int tidemark_pidfd(pid_t process) { return pidfd_open(process, 0); }

// Names the calling thread; Linux keeps the first 15 bytes.
static inline void tidemark_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }
