/*
 * What a kind of bucket implements. Adding one is a file with a `const struct bucket_kind` and a line in
 * bucket.c's table. An upload's first member is `struct bucket_upload`. `rest` is the URL behind the scheme;
 * keys were checked by bucket.c.
 */
#ifndef QUERN_RESULTS_BUCKET_INT_H
#define QUERN_RESULTS_BUCKET_INT_H

#include "results/bucket.h"

struct bucket_kind {
    const char *scheme; /* "file://" */
    int (*check_url)(const char *rest, struct err *e);
    int (*prepare)(const char *rest, struct err *e);
    int (*writable)(const char *rest, struct err *e);
    int (*begin)(const char *rest, const char *key, struct bucket_upload **ret, struct err *e);
    int (*write)(struct bucket_upload *u, const void *p, size_t n, struct err *e);
    int (*commit)(struct bucket_upload *u, struct err *e);
    void (*abort)(struct bucket_upload *u);
    int (*remove)(const char *rest, const char *key, struct err *e);
};

struct bucket_upload {
    const struct bucket_kind *kind;
};

extern const struct bucket_kind bucket__local;

#endif
