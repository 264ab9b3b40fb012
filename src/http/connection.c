/*
 * connection: what the other files read of a request's connection and do to it: the library's headers and arguments,
 * suspending, resuming, giving memory back. They do not see the library itself.
 *
 * Invariant: every MHD_suspend_connection is counted in server.suspended before and uncounted after its one
 * MHD_resume_connection; the server stops the library only when none is left.
 */
#include <microhttpd.h>
#include <string.h>
#include <sys/mman.h>

#include "base/config.h"
#include "http/http_int.h"

#define PAGE 4096u

const char *connection_header(struct exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->mhd, MHD_HEADER_KIND, name);
}

struct args_call {
    void (*fn)(void *arg, const char *name, const char *value);
    void *arg;
};

static enum MHD_Result one_arg(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
    struct args_call *c = cls;
    (void)kind;
    c->fn(c->arg, key, value);
    return MHD_YES;
}

void connection_args(struct exchange *x, void (*fn)(void *arg, const char *name, const char *value),
                     void *arg)
{
    struct args_call c = {fn, arg};
    MHD_get_connection_values(x->mhd, MHD_GET_ARGUMENT_KIND, one_arg, &c);
}

struct headers_call {
    const char *name;
    struct args_call call;
};

static enum MHD_Result one_named(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
    struct headers_call *c = cls;
    (void)kind;
    if (value && strcasecmp(key, c->name) == 0)
        c->call.fn(c->call.arg, key, value);
    return MHD_YES;
}

void connection_headers(struct exchange *x, const char *name,
                        void (*fn)(void *arg, const char *name, const char *value), void *arg)
{
    struct headers_call c = {name, {fn, arg}};
    MHD_get_connection_values(x->mhd, MHD_HEADER_KIND, one_named, &c);
}

struct prefix_call {
    const char *prefix;
    bool found;
};

static enum MHD_Result one_prefixed(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
    struct prefix_call *c = cls;
    (void)kind;
    (void)value;
    c->found = strncasecmp(key, c->prefix, strlen(c->prefix)) == 0;
    return c->found ? MHD_NO : MHD_YES;
}

bool connection_header_prefix(struct exchange *x, const char *prefix)
{
    struct prefix_call c = {prefix, false};
    MHD_get_connection_values(x->mhd, MHD_HEADER_KIND, one_prefixed, &c);
    return c.found;
}

bool connection_suspend(struct exchange *x)
{
    struct server *s = x->server;
    atomic_fetch_add(&s->suspended, 1);
    if (atomic_load(&s->stopping)) {
        atomic_fetch_sub(&s->suspended, 1);
        return false;
    }
    MHD_suspend_connection(x->mhd);
    return true;
}

void connection_resume(void *exchange)
{
    struct exchange *x = exchange;
    struct server *s = x->server;
    MHD_resume_connection(x->mhd); /* x is somebody else's from here on */
    atomic_fetch_sub(&s->suspended, 1);
}

/* A parked request keeps its receive pool. The library clears the whole pool between requests, so that all
 * its pages are touched; those that hold zeros only are given back to the system, where reading them makes
 * them zeros again. The pool begins at the request line. */
void connection_trim(void *exchange)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    const struct exchange *x = exchange;
    uintptr_t begin = (uintptr_t)x->rq.method, end = begin + (uintptr_t)config.http_max_header;
    if (begin % 16)
        return; /* not where the pool begins */
    uintptr_t page = (begin + PAGE - 1) & ~(uintptr_t)(PAGE - 1), run = 0;
    for (end -= 64; page + PAGE <= end; page += PAGE) {
        const uint64_t *p = (const uint64_t *)page;
        uint64_t any = 0;
        for (size_t i = 0; i < PAGE / sizeof *p && !any; i += 8)
            any = p[i] | p[i + 1] | p[i + 2] | p[i + 3] | p[i + 4] | p[i + 5] | p[i + 6] | p[i + 7];
        if (!any && !run)
            run = page;
        if (any && run) {
            madvise((void *)run, page - run, MADV_DONTNEED);
            run = 0;
        }
    }
    if (run)
        madvise((void *)run, page - run, MADV_DONTNEED);
#else
    (void)exchange;
#endif
}
