/*
 * http_int: what the files of this room share. An exchange is one request and its reply; a conn is one
 * connection.
 *
 * Ownership of an exchange passes hand to hand and is never shared: the I/O thread of its connection, or the
 * worker that runs its job, or nobody while parked (park_state.c). The connection is suspended in the library
 * exactly while no I/O thread owns it.
 */
#ifndef QUERN_HTTP_HTTP_INT_H
#define QUERN_HTTP_HTTP_INT_H

#include "base/metrics.h"
#include "dialects/dialect.h"
#include "http/accept.h"
#include "http/auth.h"
#include "http/cors.h"
#include "http/guard.h"
#include "http/park.h"
#include "http/proxy.h"
#include "http/router.h"
#include "http/server.h"
#include "http/stream.h"
#include "http/tls.h"
#include "http/watch.h"
#include "http/worker.h"

#define REPLY_CEILING (64u << 20) /* bytes of a reply that is not streamed */
#define ARENA_CEILING (64u << 20) /* bytes of one request's arena */
#define FILL_SOFT                                                                                            \
    (STREAM_BUFFER - 8192) /* a fill stops here, so that one more row rarely makes the buffer grow */
#define PEER_MAX 48

struct MHD_Connection;
struct MHD_Daemon;

struct http_conn {
    struct watch_conn watch; /* first */
    char peer[PEER_MAX];     /* address text */
    unsigned char address[16];
    bool loopback;
    bool proxy;             /* one of http.trusted_proxies */
    bool admin;             /* came by http.admin_listen */
    bool counted;           /* in server.peers */
    const char *target_end; /* of the request line that is being read, in the receive buffer */
    struct exchange *spare; /* memory of the request before, for the next; I/O thread's */
};

enum stage {
    STAGE_BODY,    /* collecting the body */
    STAGE_DISCARD, /* a refusal is ready; the body is read and thrown away */
    STAGE_RUN,     /* handlers run */
    STAGE_REPLY,   /* the reply is complete and waits to be queued */
    STAGE_SENT,    /* queued */
    STAGE_DROP     /* close without a word */
};

#define EXCHANGE_MAGIC 0x51455843u
#define ARGS_MAX       64

struct exchange {
    uint32_t magic;
    enum stage stage;
    struct request rq;
    struct server *server;
    struct http_conn *conn;
    struct MHD_Connection *mhd;
    struct guard guard;
    char peer[PEER_MAX];       /* of the client that a trusted proxy names; "" else */
    unsigned char address[16]; /* likewise */
    bool peer_counted;         /* in server.peers */
    struct buf body;
    uint64_t discarded;
    struct park *park;
    struct stream stream;
    bool streaming; /* stream is begun and must be freed */
    bool pulled;    /* the reply goes out through the stream, piece by piece */
    bool early;     /* answered before the body was read: the connection ends */
    bool last;      /* answered in full, but what follows is not read as a request: the connection ends */
    bool stop_body; /* body over the limit in the middle */
    bool queued;    /* a response was handed to the library */
    int send_fd;    /* raw stored stream: descriptor, -1 none */
    uint64_t send_off, send_len;
    uint64_t out_bytes;      /* of the body, given to the library */
    const char *rows_format; /* the reply holds rows of `rows_id` in this format; NULL: none */
    struct qid rows_id;
    uint32_t route_number; /* UINT32_MAX none */
    uint32_t turns;        /* handler calls, against endless loops */
    int64_t begun_ns;
    struct worker_job work;
    char **args; /* name, value pairs, decoded, in the arena; made at first use */
    uint32_t nargs;
    char request_id[GUARD_REQUEST_ID_MAX + 1];
};

struct route_stats {
    struct metric *classes[5];
    struct metric *seconds;
};

struct listener {
    struct server *server;
    struct MHD_Daemon *daemon;
    int fd;
    bool admin;
};

struct server {
    struct service *service;
    struct identities *identities;
    struct router *router;
    struct route_stats *stats; /* by route number, one more for "none" at the end */
    struct watch *watch;
    struct workers *workers;
    struct listener listeners[ACCEPT_LISTENERS]; /* the main one, the admin one */
    uint32_t nlisteners;
    struct acceptor *acceptor;
    struct tls *tls; /* NULL: plain HTTP */
    struct proxies *proxies;
    struct cors *cors; /* NULL: no other origin may read answers */
    struct peers *peers;
    int64_t most_connections;
    _Atomic int64_t open, started; /* connections: now, ever */
    int64_t handed, handed_ns;     /* acceptor's: given to the library, when the last */
    _Atomic bool stopping;
    _Atomic bool draining;
    _Atomic int64_t suspended; /* connections handed away and not yet resumed */
    struct metric *parked, *streams, *connections, *sent_bytes, *client_gone, *cut_streams;
};

/* ---- connection.c: the library, for the files that may not see it ---- */
const char *connection_header(struct exchange *x, const char *name);
/* Is there a header whose name begins so? */
bool connection_header_prefix(struct exchange *x, const char *prefix);
void connection_args(struct exchange *x, void (*fn)(void *arg, const char *name, const char *value),
                     void *arg); /* not decoded; value may be NULL */
void connection_headers(struct exchange *x, const char *name,
                        void (*fn)(void *arg, const char *name, const char *value),
                        void *arg);          /* every line of that name, in order */
bool connection_suspend(struct exchange *x); /* false: stopping, not suspended */
void connection_trim(void *exchange);   /* owner of a parked request: gives memory back that holds nothing */
void connection_resume(void *exchange); /* any thread; the exchange is not the caller's afterwards */

/* ---- request.c ---- */
extern const struct request_source http__request_source;
/* The name, as sent, of the first parameter with an escape that cannot be decoded; NULL none. */
const char *exchange_bad_arg(struct exchange *x);

/* ---- exchange.c ---- */
/* I/O thread, headers complete; the guard has seen them. */
struct exchange *exchange_new(struct server *s, struct http_conn *c, struct MHD_Connection *mhd);
/* x->park is set; takes it back and counts a client that left. */
enum park_reason exchange_unpark(struct exchange *x);
void exchange_free(struct exchange *x); /* its memory may stay as the connection's spare */
void exchange_free_spare(struct http_conn *c);
/* Makes the reply a refusal in the dialect's words. */
void exchange_refuse(struct exchange *x, int status, const struct err *e);

enum exchange_next {
    EXCHANGE_BODY /* read on */,
    EXCHANGE_WAIT /* suspended */,
    EXCHANGE_SEND,
    EXCHANGE_DROP
};

/* ---- admission.c: I/O thread ---- */
enum exchange_next exchange_begin(struct exchange *x, const char *method, const char *path);
/* n bytes of body. */
enum exchange_next exchange_body(struct exchange *x, const char *p, size_t n);

/* ---- turn.c ---- */
/* I/O thread: the body is complete, or the connection was resumed. */
enum exchange_next exchange_run(struct exchange *x);

/* ---- answer.c ---- */
/* Begins a streamed reply. A worker; an I/O thread (NULL: memory of its own) if all of it is held in memory. False:
 * there is no such memory, nothing is done. */
bool answer_begin(struct exchange *x, struct segment_scratch *scratch);
/* I/O thread, stream empty: suspends and has a worker fill it. False: stopping. */
bool answer_refill(struct exchange *x);
/* The request's Range of `total` bytes, when the reply lets it count (etag, If-Range). */
bool answer_range(struct exchange *x, uint64_t total, enum range_verdict *ret, uint64_t *ret_off,
                  uint64_t *ret_len);

#endif
