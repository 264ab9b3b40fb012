/*
 * service_int: what the files around a query in this room share. From the top: service.c starts and stops all of it;
 * service_submit.c, service_change.c, service_engine.c are calls of the rooms above; recovery.c, janitor.c, runner*.c,
 * delivery.c are threads; service_life.c is the one way a query ends; reuse.c, render*.c, scheduler.c, the queues that
 * others fill (delivery_queue.c, janitor_ask.c); service_rows.c, service_find.c, service_files.c, service_write.c,
 * service_table.c at the bottom. Each calls those below it only.
 *
 * Lock order: scheduler lock -> query lock -> table lock -> registry queue. No lock is held while calling an
 * engine, the spool or a client.
 */
#ifndef QUERN_CORE_SERVICE_INT_H
#define QUERN_CORE_SERVICE_INT_H

#include "base/crypto.h"
#include "base/metrics.h"
#include "core/disk.h"
#include "core/query_int.h"
#include "core/registry.h"
#include "core/service.h"
#include "core/source.h"
#include "core/usage.h"
#include "core/workspace.h"
#include "pool/pool.h"
#include "results/spool.h"

#define TABLE_BUCKETS 16384u
#define RECENT_KEPT   1024u /* ended queries kept in memory for polls */
#define SEGMENTS_OPEN 128u  /* stored results kept open between requests */

struct scheduler;
struct delivery;
struct janitor;
struct reuse;
struct catalog;
struct bucket_memory;
struct render;
struct power;

struct service {
    struct registry *registry;
    struct workspaces *workspaces;
    struct sources *sources;
    struct pool *pool;
    struct spool *spool;
    struct scheduler *scheduler;
    struct delivery *delivery;
    struct janitor *janitor;
    struct reuse *reuse;
    struct catalog *catalog;
    struct render *render;
    struct power *power;
    uint8_t link_key[CRYPTO_KEY_LEN]; /* (C) of the marks of links */
    struct disk *disk;
    struct usage *usage;
    struct firsts *admin_reads; /* which queries of others an admin's key saw */
    struct bucket_memory *buckets;
    const char *data_dir;                 /* (C) */
    atomic_uint erase_wanted, erase_done; /* not the same: a removed workspace may have something left */
    atomic_bool draining;
    atomic_bool paused;   /* by an administrator */
    atomic_bool stopping; /* the drain is over: runners leave their records as they are */
    pthread_mutex_t
        files_lock; /* held while sealed files of recorded results are removed: a backup holds it from its snapshot until it has them */
    pthread_mutex_t table_lock; /* guards the four below */
    struct query *table[TABLE_BUCKETS];
    struct query *recent[RECENT_KEPT]; /* references; ring */
    struct query *open[SEGMENTS_OPEN]; /* references of queries whose segment is open; ring */
    uint32_t recent_next, open_next;
    atomic_int live; /* queries that have not ended */
    delivery_plan_fn plan[DIALECTS];
    delivery_metadata_fn metadata[DIALECTS];
    struct metric *m_ended[ENDINGS], *m_submitted, *m_queued, *m_running, *m_seconds, *m_spool, *m_disk_free,
        *m_disk_low;
};

/* ---- service_table.c ---- */
/* Puts a new query into the table. */
void service__table_add(struct service *s, struct query *q);
/* Takes one out that was refused. */
void service__table_remove(struct service *s, struct query *q);
/* Puts an ended query that was loaded into the table, unless another thread did meanwhile; takes q's
 * reference, returns a reference to the one that is there. */
struct query *service__table_enter(struct service *s, struct query *q);
/* Keeps an ended query in memory for a while: it pushes the one that ended RECENT_KEPT ends ago out. */
void service__table_retire(struct service *s, struct query *q);
/* At the end, when nobody calls any more. */
void service__table_clear(struct service *s);
/* In the table, or NULL; a reference. */
struct query *service__lookup(struct service *s, const struct qid *id);

/* ---- service_write.c ---- */
/* The query of a small write. */
struct query *service__write_query(struct registry_write *w);
/* One, to be queued by the caller; it holds a reference of q. */
struct query_write *service__write_new(struct query *q,
                                       int (*apply)(struct registry *, struct registry_write *, struct err *),
                                       void (*done)(struct registry_write *, int, const struct err *));
/* Queues one of the small writes. */
void service__write(struct query *q, int (*apply)(struct registry *, struct registry_write *, struct err *),
                    void (*done)(struct registry_write *, int, const struct err *), int64_t hold_until_ns,
                    int64_t at_ms, uint32_t runs);
void service__write_done(struct registry_write *w, int rc, const struct err *e);
int service__apply_requeued(struct registry *r, struct registry_write *w, struct err *e) MUST_USE;

/* ---- service_find.c ---- */
/* A query from its stored record, not in the table. */
int service__load(struct service *s, const struct qid *id, struct query **ret, struct err *e) MUST_USE;
/* Loads an ended query into the table, unless another thread did meanwhile. */
int service__find_stored(struct service *s, const struct qid *id, struct query **ret, struct err *e) MUST_USE;
/* Owner, or an admin of its workspace. */
bool service__owns(const struct identity *who, const struct query *q);

/* ---- service_link.c ---- */
/* Makes s->link_key. */
void service__link_key(struct service *s, const char *data_dir);

/* ---- service_files.c ---- */
/* Removes the files of q's results. (worker) */
void service__drop_result(struct service *s, struct query *q);
/* Removes one stored file of q and gives its bytes back to the workspace. (worker) */
void service__remove_file(struct service *s, const struct query *q, uint32_t ordinal);
/* Limit of stored bytes of the workspace, 0 = none; *ret_key (may be NULL) names it. */
int64_t service__spool_limit(struct service *s, int64_t workspace, const char **ret_key);

/* ---- service_life.c ---- */
/* Ends a query: false when it had ended already. `results` (may be NULL) live in the query's arena; e may be
 * NULL where the ending has its own text. Queues the durable record; waiters see the end when that is
 * committed. Any thread. */
bool service__end(struct query *q, enum ending ending, const struct err *e, struct result *results,
                  uint32_t nresults);
/* The same for a run worker: writes the record itself while no other query waits for a slot. No lock held. */
bool service__end_here(struct query *q, enum ending ending, struct result *results, uint32_t nresults);
/* Ends a script, by its run worker (or recovery), with the results that rec.results has: as somebody else ended it
 * meanwhile, else as `ending` and e say. When that is no good end, `broken` (rows that came before; may be NULL)
 * or a result of its own says why, unless the error is `told` by a result already. */
void service__end_script(struct query *q, enum ending ending, const struct err *e, struct result *broken,
                         bool told);
/* Tries again to record the end of q that could not be recorded; `tries` so far. Janitor. */
void service__end_again(struct query *q, int tries);

/* ---- service_change.c ---- */
/* Tries again to record the deletion of its result. */
void service__gone_again(struct query *q, int tries);

/* ---- service_rows.c ---- */
/* Opens a stored result, or one kept in the registry. (worker) */
int service__open_result(struct service *s, struct query *q, const struct result *res, struct segment **ret,
                         struct err *e) MUST_USE;

/* ---- service_params.c ---- */
int params_encode(const struct wire_param *p, uint32_t n, struct arena *a, const uint8_t **ret,
                  uint32_t *ret_len, struct err *e) MUST_USE;
int params_decode(const uint8_t *p, uint32_t len, struct arena *a, struct wire_param **ret,
                  uint32_t *ret_n) MUST_USE;

/* ---- scheduler.c ---- */
/* What its workers do with a query: the runner's. `left`: it has left the queue without a run; what it holds for the run
 * goes. */
struct scheduled_work {
    void (*run)(struct service *s, struct query *q);
    void (*plan)(struct service *s, struct query *q);
    void (*left)(struct service *s, struct query *q);
};
int scheduler_start(struct service *s, const struct scheduled_work *work, struct scheduler **ret,
                    struct err *e) MUST_USE;
/* Stops the workers: no new query starts; running ones are cancelled after drain_ms (their records stay
 * RUNNING, for the next start). */
void scheduler_stop(struct scheduler *c, int64_t drain_ms);
void scheduler_free(struct scheduler *c);
/* ERR_LIMIT with the key's name when the queue is full. Does not take a place yet. */
int scheduler_room(struct scheduler *c, int64_t workspace, struct err *e) MUST_USE;
/* Queues a reference of q; plan_now queries also go to the plan lane when no run slot is free. */
void scheduler_push(struct scheduler *c, struct query *q, bool plan_now);
/* The same for one that waited for its catalog and holds its lock now: it is the next of its workspace.
 * Whoever takes a query out of the queue for anything but a run calls work->left. */
void scheduler_push_front(struct scheduler *c, struct query *q);
/* Takes q out of the queue and the plan lane if it stands there: every end of a query comes by here. No lock
 * held. */
void scheduler_leave(struct scheduler *c, struct query *q);
/* Quotas and free space may have changed: looks again. Janitor, once a second. */
void scheduler_refresh(struct scheduler *c);
/* Does the workspace have queries that wait or run? */
bool scheduler_busy(struct scheduler *c, int64_t workspace);
void scheduler_pause(struct scheduler *c, bool pause);
int scheduler_running(struct scheduler *c);
/* Does no query wait for a slot? */
bool scheduler_idle(struct scheduler *c);

/* ---- runner.c: on a scheduler's worker ---- */
extern const struct scheduled_work runner_work;

/* ---- delivery.c, delivery_queue.c, delivery_plan.c ---- */
int delivery_start(struct service *s, struct delivery **ret, struct err *e) MUST_USE;
void delivery_stop(struct delivery *d);
/* Removes the file that q delivered, where it goes with the result. (worker) */
void delivery_remove(struct service *s, struct query *q);
int delivery_backlog(struct delivery *d); /* announced, waiting and under way */
/* The first rows of the query are written. Where its delivery will be a file that a process makes, that begins now
 * (q->ahead). Its run worker. */
void delivery_foresee(struct service *s, struct query *q);
/* Takes a reference; the query is RUNNING, phase DELIVERING, its results are sealed and committed. */
void delivery_push(struct delivery *d, struct query *q);
/* The same in two steps, around the commit: one more will be pushed; it is, or it is called off. */
void delivery_announce(struct delivery *d);
void delivery_push_announced(struct delivery *d, struct query *q);
void delivery_call_off(struct delivery *d);

/* ---- reuse.c ---- */
int reuse_open(struct service *s, struct reuse **ret, struct err *e) MUST_USE;
void reuse_close(struct reuse *u);
/* Fills q->reuse_key when the query's result may be reused. Before the query is shared. */
void reuse_key(struct service *s, struct query *q);
/* At submit, when the query asked for reuse: true when it will be served by an earlier or a running query
 * (the caller must not schedule it). */
bool reuse_submit(struct service *s, struct query *q);
/* q->lock held, before the end is told: who was told of it and asks again gets this result, none before it. True:
 * the result is good for others. */
bool reuse_remember(struct service *s, struct query *q);
/* Every end (and refusal, which is never good) comes by here: serves those who wait for it. Does not block. */
void reuse_ended(struct service *s, struct query *q, bool good);
/* A delivery thread: copies the source's result into q and makes q RUNNING. False when the source is gone. */
bool reuse_take(struct service *s, struct query *q);
/* A write through us to the workspace: its entries are dropped (reuse.invalidate_on_write). */
void reuse_written(struct service *s, int64_t workspace);
/* Was it submitted before the last write to its workspace? Its result must not be reused then. */
bool reuse_outdated(struct service *s, const struct query *q);

/* ---- service_bucket.c ---- */
int service__buckets_open(struct service *s, struct err *e) MUST_USE;
void service__buckets_close(struct service *s);

/* ---- render.c ---- */
int render_open(struct service *s, struct render **ret, struct err *e) MUST_USE;
struct rendering;
struct render_spec;
/* render_start of a result that is sealed while its query is still being delivered. res stays in the query's
 * arena. */
int render_start_result(struct service *s, struct query *q, const struct result *res,
                        const struct render_spec *spec, struct rendering **ret, struct err *e) MUST_USE;
/* Ends what is under way and joins the workers; render_close frees the rest when nobody holds any. */
void render_stop(struct render *n);
void render_close(struct render *n);
/* Rows of the query were written, its last one is, or it has ended: renderings that follow it go on. (any) */
void render_more(struct render *n, const struct qid *id);
/* Gives back q->ahead, if there is one. (any) */
void render_drop_ahead(struct query *q);
/* Once a second: cancels what nobody waits for, pushes out what is old or over render.cache; on a low disk
 * all that nobody reads. Janitor. */
void render_tick(struct render *n, bool disk_low);
/* The result is gone: its renderings too (who reads one goes on). (any) */
void render_forget(struct render *n, const struct qid *id);

/* ---- power.c ---- */
int power_open(struct power **ret, struct err *e) MUST_USE;
void power_close(struct power *p);
/* An engine of the workspace is used now. Never blocks. */
void power_used(struct power *p, int64_t workspace);
/* 0: not since the start. */
void power_look(struct power *p, int64_t workspace, int64_t *ret_used_ms, int64_t *ret_woken_ms);
/* Later than what it knows already. */
void power_note(struct power *p, int64_t workspace, int64_t used_ms, int64_t woken_ms);

/* ---- recovery.c ---- */
/* Removes files that no record names and no query needs; also while running. Returns how many went, or a
 * negative error. */
int64_t service__sweep(struct service *s, struct err *e) MUST_USE;
int service__recover(struct service *s, struct err *e) MUST_USE;

/* ---- janitor.c, janitor_ask.c ---- */
int janitor_start(struct service *s, struct janitor **ret, struct err *e) MUST_USE;
/* Joins its thread; janitor_remove and janitor_again still keep what they are given until janitor_free. */
void janitor_stop(struct janitor *j);
void janitor_free(struct janitor *j);
/* Asks for removal of a query's files soon (takes a reference). */
void janitor_remove(struct janitor *j, struct query *q);
/* Calls again(q, tries) at the next tick (takes a reference): something of q could not be recorded. */
void janitor_again(struct janitor *j, struct query *q, void (*again)(struct query *q, int tries), int tries);

#endif
