/*
 * A service of cardboard for the tests of http/: one query that can be woken, finished ones with rows, three
 * keys, and a dialect "test" that uses every way a handler can end. No registry, no engine.
 */
#ifndef QUERN_TESTS_HTTP_STUB_H
#define QUERN_TESTS_HTTP_STUB_H

#include <pthread.h>
#include <stdatomic.h>

#include "dialects/dialect.h"

struct query {
    atomic_int refs;
    pthread_mutex_t lock;
    uint32_t flags;
    uint64_t version;
    struct query_waiter *waiters;
    struct query_view view;
    struct qid id;
    struct segment *segment;
};

struct query *stub_query_new(void);
void stub_query_signal(struct query *q, uint32_t flags); /* sets, wakes */
void stub_query_reset(struct query *q);                  /* flags 0 */

/* The query that /t/park waits for. */
extern struct query *stub_shared;
/* A sealed segment in a file without a name: `batches` of `rows` rows, a BIGINT `n` and a VARCHAR `text` of
 * `width` characters. */
struct segment *stub_segment(uint64_t batches, uint64_t rows, size_t width);
/* Changes a byte of the stream part of the last segment made. */
void stub_damage(uint64_t off);
/* What service_find("done") shows. Takes the reference. */
void stub_set_rows(struct segment *s);
extern _Atomic int stub_open_rows; /* rows_open minus rows_close */
extern _Atomic int stub_live_queries;

/* Starts and ends everything around a server. */
void stub_begin(void);
void stub_end(void);

#endif
