/*
 * rendering: one rendering as its holders and its worker see it, and the list of them, which is the cache. See render.h;
 * render.c has who makes which when.
 */
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/render_int.h"
#include "base/config.h"
#include "base/sys.h"

#define LIST_MAX 1024u /* renderings kept, ready ones and others */

/* Frees it; the caller dropped the last reference and holds no lock. */
void render__destroy(struct rendering *r)
{
    if (r->fd >= 0)
        close(r->fd);
    free(r->marks);
    segment_unref(r->view);
    query_unref(r->q);
    arena_free(r->arena);
    free(r);
}

/* (L) True: the caller destroys it after letting go of the lock. */
bool render__unref(struct rendering *r)
{
    return --r->refs == 0;
}

/* (L) Takes it out of the list; the list's reference is the caller's then. */
void render__unlist(struct rendering *r)
{
    struct render *n = r->render;
    *r->prev = r->next;
    if (r->next)
        r->next->prev = r->prev;
    r->listed = false;
    n->count--;
    if (r->spec.file && r->state == RENDERING_READY)
        n->bytes -= r->size;
}

/* (L) */
void render__list_first(struct rendering *r)
{
    struct render *n = r->render;
    r->next = n->list;
    if (r->next)
        r->next->prev = &r->next;
    r->prev = &n->list;
    n->list = r;
}

/* (L) The least recently used one that is ready and that nobody holds; NULL. */
static struct rendering *oldest_idle(struct render *n)
{
    struct rendering *found = NULL;
    for (struct rendering *r = n->list; r; r = r->next)
        if (r->holders == 0 && r->state == RENDERING_READY)
            found = r;
    return found;
}

/* (L, released meanwhile) Pushes out what is over the bounds, and `all` that nobody holds. */
void render__make_room(struct render *n, bool all)
{
    for (;;) {
        struct rendering *r = oldest_idle(n);
        bool over = n->count > LIST_MAX || n->bytes > (uint64_t)config.render_cache;
        bool old = r && sys_mono_ns() - r->idle_ns > config.render_keep * 1000000;
        if (!r || !(over || old || all))
            return;
        render__unlist(r);
        bool last = render__unref(r);
        pthread_mutex_unlock(&n->lock);
        if (last)
            render__destroy(r);
        pthread_mutex_lock(&n->lock);
    }
}

int rendering_state(struct rendering *r, struct err *e)
{
    pthread_mutex_lock(&r->render->lock);
    int rc = r->state == RENDERING_READY;
    if (r->state == RENDERING_FAILED) {
        rc = r->error.code;
        if (e)
            *e = r->error;
    }
    pthread_mutex_unlock(&r->render->lock);
    return rc;
}

int rendering_permille(struct rendering *r)
{
    return atomic_load(&r->permille);
}

int rendering_wait(struct rendering *r, int64_t deadline_ns, struct err *e)
{
    struct render *n = r->render;
    pthread_mutex_lock(&n->lock);
    while (r->state < RENDERING_READY && sys_mono_ns() < deadline_ns) {
        struct timespec ts = {deadline_ns / 1000000000, deadline_ns % 1000000000};
        pthread_cond_timedwait(&n->changed, &n->lock, &ts);
    }
    pthread_mutex_unlock(&n->lock);
    int rc = rendering_state(r, e);
    return rc > 0 ? 0 : rc < 0 ? rc : ERR_WOULDBLOCK;
}

/* (L) */
void render__cancel(struct rendering *r)
{
    atomic_store(&r->canceled, true);
    if (r->engine)
        engine_cancel(r->engine, true);
}

void rendering_cancel(struct rendering *r)
{
    pthread_mutex_lock(&r->render->lock);
    render__cancel(r);
    pthread_mutex_unlock(&r->render->lock);
}

void rendering_close(struct rendering *r)
{
    if (!r)
        return;
    struct render *n = r->render;
    pthread_mutex_lock(&n->lock);
    if (--r->holders == 0)
        r->idle_ns = sys_mono_ns();
    bool last = render__unref(r);
    render__make_room(n, false);
    pthread_mutex_unlock(&n->lock);
    if (last)
        render__destroy(r);
}

struct query *rendering_query(struct rendering *r)
{
    return r->q;
}

uint64_t rendering_size(const struct rendering *r)
{
    return r->size;
}

uint64_t rendering_unmapped(const struct rendering *r)
{
    return r->unmapped;
}

const char *rendering_media_type(const struct rendering *r)
{
    return r->media_type;
}

const char *rendering_suffix(const struct rendering *r)
{
    return r->spec.file == WIRE_RENDER_XLSX      ? ".xlsx"
           : r->spec.file == WIRE_RENDER_PARQUET ? ".parquet"
                                                 : r->spec.encoder->suffix;
}

const char *rendering_tag(const struct rendering *r)
{
    return r->tag;
}

const struct render_spec *rendering_spec(const struct rendering *r)
{
    return &r->spec;
}

int rendering_fd(const struct rendering *r)
{
    return r->fd;
}

bool render__engine(struct rendering *r, struct engine *x)
{
    pthread_mutex_lock(&r->render->lock);
    r->engine = x;
    bool go = !atomic_load(&r->canceled) && !atomic_load(&r->gave_way);
    pthread_mutex_unlock(&r->render->lock);
    return go;
}

void render__complete(struct rendering *r)
{
    pthread_mutex_lock(&r->render->lock);
    r->complete = true;
    pthread_mutex_unlock(&r->render->lock);
}

int render__segment(struct rendering *r, struct segment **ret, struct err *e)
{
    return service__open_result(r->render->service, r->q, r->result, ret, e);
}
