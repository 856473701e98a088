// Linux calls that Swift's Glibc module does not import (epoll, eventfd, signalfd, pidfd, the extensions of spawn.h beyond POSIX) or
// cannot call (variadic prctl).
#pragma once

#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <string.h>
#include <unistd.h>

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

// How many descriptors this process may have open, after raising the limit to what it needs where it may.
static inline long tidemark_descriptors(long needed) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -1;
  if (limit.rlim_cur < (rlim_t)needed && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max < (rlim_t)needed ? limit.rlim_max : (rlim_t)needed;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) getrlimit(RLIMIT_NOFILE, &limit);
  }
  return limit.rlim_cur > 1L << 40 ? 1L << 40 : (long)limit.rlim_cur;
}

// A crash says where, on standard error and so in the journal, before the signal has its usual effect. Only calls that a handler may make,
// and none that waits for a reader.
static inline void tidemark_say_crash(int number) {
  int flags = fcntl(2, F_GETFL);
  if (flags >= 0) fcntl(2, F_SETFL, flags | O_NONBLOCK);
  char text[] = "tidemark: crashed by signal 00; please report it with the lines below\n";
  char *digits = strstr(text, "00");
  digits[0] = '0' + number / 10 % 10;
  digits[1] = '0' + number % 10;
  ssize_t ignored = write(2, text, sizeof text - 1);
  (void)ignored;
  void *calls[64];
  backtrace_symbols_fd(calls, backtrace(calls, 64), 2);
  if (flags >= 0) fcntl(2, F_SETFL, flags);
  raise(number);
}

static inline void tidemark_say_crashes(void) {
  // The first call loads a library, which a handler must not do.
  void *call[1];
  backtrace(call, 1);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = tidemark_say_crash;
  action.sa_flags = SA_RESETHAND | SA_NODEFER;
  const int numbers[] = {SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV};
  for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) sigaction(numbers[i], &action, 0);
}
