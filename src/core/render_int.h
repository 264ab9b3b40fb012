/*
 * render_int: what render.c (who waits for what), rendering.c (one rendering, the cache), render_text.c (measuring) and render_file.c (render
 * processes) share. Nothing else includes it.
 *
 * All fields marked (L) are guarded by render.lock, which is a leaf: it is held while calling nobody but
 * engine_cancel. The
 * others are constant after render_start, or written by the one worker before `state` says READY and constant
 * afterwards.
 */
#ifndef QUERN_CORE_RENDER_INT_H
#define QUERN_CORE_RENDER_INT_H

#include "core/render.h"
#include "core/service_int.h"

enum rendering_state { RENDERING_QUEUED, RENDERING_RUNNING, RENDERING_READY, RENDERING_FAILED };

/* Where in the text a row begins. */
struct render_mark {
    uint64_t row, off;
};

struct rendering {
    struct render *render;
    struct arena *arena; /* spec's texts, key, marks' owner is malloc */
    struct query *q;     /* a reference */
    struct qid id;
    const struct result
        *result; /* in the query's arena. Of one that follows its query: NULL, until somebody wants it
                                  * of the finished query (L) */
    struct segment *view; /* follows: the rows that are being written */
    uint32_t ordinal;
    struct render_spec spec;
    const char *key; /* options as text: equal ones are one rendering */
    uint64_t rows;   /* that it will hold */

    uint32_t refs;                  /* (L) list, worker, holders */
    uint32_t holders;               /* (L) */
    bool listed;                    /* (L) */
    uint8_t state;                  /* (L) enum rendering_state */
    int64_t idle_ns;                /* (L) since when nobody holds it; also when it was last used */
    struct err error;               /* (L) */
    struct engine *engine;          /* (L) while it runs */
    struct rendering *next, **prev; /* (L) list, most recently used first */
    struct turn_item turn;          /* (L) */
    bool follows;                   /* (L) its query runs: it is an attempt that may be given up */
    bool complete;                  /* (L) follows: all rows are there */

    atomic_bool canceled;
    atomic_bool gave_way; /* follows: to one whose result is complete */
    atomic_int permille;

    uint64_t size, unmapped;
    int fd; /* file; -1 */
    char tag[40];
    char media_type[80];
    struct render_mark *marks; /* text: nmarks >= 1 */
    size_t nmarks;
};

enum render_lane { LANE_FILE, LANE_TEXT, LANES };

struct render_queue {
    struct turns *turns; /* whose is next: a lane for each workspace */
    uint32_t idle;       /* workers */
    pthread_cond_t wanted;
};

struct render {
    struct service *service;
    pthread_mutex_t lock;
    pthread_cond_t changed;            /* a rendering ended */
    struct render_queue queues[LANES]; /* (L) */
    struct rendering *list;            /* (L) */
    uint64_t bytes;                    /* (L) of listed files */
    uint32_t count, waiting;           /* (L) listed; queued */
    bool stop;                         /* (L) */
    pthread_t threads[LANES * 64];
    uint32_t nthreads;
    struct metric *m_done, *m_failed, *m_running, *m_bytes;
};

/* The worker's part: 0 when r is complete. render__follow is the one of a rendering that follows its query. */
int render__text(struct rendering *r, struct segment_scratch *x, struct err *e) MUST_USE;
int render__file(struct rendering *r, struct err *e) MUST_USE;
int render__follow(struct rendering *r, struct err *e) MUST_USE;
/* ---- rendering.c ---- */
/* For render_file.c: remembers the engine for cancel; false when it was canceled already. */
bool render__engine(struct rendering *r, struct engine *x);
/* Of one that follows: every row is there, so it gives way to nobody any more. */
void render__complete(struct rendering *r);
/* The result's rows. */
int render__segment(struct rendering *r, struct segment **ret, struct err *e) MUST_USE;
/* (L) True: the caller destroys it after letting go of the lock. */
bool render__unref(struct rendering *r);
/* Frees it; the caller dropped the last reference and holds no lock. */
void render__destroy(struct rendering *r);
/* (L) */
void render__list_first(struct rendering *r);
/* (L) Takes it out of the list; the list's reference is the caller's then. */
void render__unlist(struct rendering *r);
/* (L, released meanwhile) Pushes out what is over the bounds, and `all` that nobody holds. */
void render__make_room(struct render *n, bool all);
/* (L) */
void render__cancel(struct rendering *r);

#endif
