// libpq, wherever its header is.
#pragma once

#if __has_include(<libpq-fe.h>)
#include <libpq-fe.h>
#else
#include <postgresql/libpq-fe.h>
#endif

// The requests to cancel of libpq 17 and newer, which go over TLS where the connection does. Older ones know only PQcancel, which sends the
// key of the session in the clear.
#ifdef LIBPQ_HAS_ASYNC_CANCEL
static inline void *tidemark_cancel_of(PGconn *connection) { return PQcancelCreate(connection); }
static inline void tidemark_cancel_send(void *cancel) {
  PQcancelBlocking((PGcancelConn *)cancel);
  PQcancelFinish((PGcancelConn *)cancel);
}
#else
static inline void *tidemark_cancel_of(PGconn *connection) { return (void)connection, (void *)0; }
static inline void tidemark_cancel_send(void *cancel) { (void)cancel; }
#endif
