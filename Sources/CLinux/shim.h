// Linux calls that Swift's Glibc module does not import (epoll, eventfd, signalfd, pidfd, the extensions of spawn.h beyond POSIX) or
// cannot call (variadic prctl).
#pragma once

#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

static inline int tidemark_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

static inline int tidemark_epoll(void) { return epoll_create1(EPOLL_CLOEXEC); }

// read(2) waits for one of the signals, and consumes it.
static inline int tidemark_signalfd(const sigset_t *signals) { return signalfd(-1, signals, SFD_CLOEXEC); }

// Readable once the process has exited. A pidfd is always close-on-exec.
static inline int tidemark_pidfd(pid_t process) { return pidfd_open(process, 0); }

// Names the calling thread; Linux keeps the first 15 bytes.
static inline void tidemark_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

// Never signals a process that got the same pid later.
static inline int tidemark_pidfd_signal(int process, int signal) { return pidfd_send_signal(process, signal, NULL, 0); }

// POSIX_SPAWN_SETSID. Only _GNU_SOURCE declares it, which would change types of other modules.
static const short tidemark_spawn_in_session = 0x80;
static inline int tidemark_spawn_closing_from(posix_spawn_file_actions_t *actions, int lowest) {
  return posix_spawn_file_actions_addclosefrom_np(actions, lowest);
}
static inline int tidemark_spawn_in_directory(posix_spawn_file_actions_t *actions, const char *directory) {
  return posix_spawn_file_actions_addchdir_np(actions, directory);
}

// This process's environment, which a child inherits.
extern char **environ;
static inline char **tidemark_environment(void) { return environ; }

// Also declared only with _GNU_SOURCE.
extern int pipe2(int ends[2], int flags);
static inline int tidemark_pipe(int *ends, int flags) { return pipe2(ends, flags); }
