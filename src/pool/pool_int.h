/*
 * pool_int: what the files of this folder share. Nothing outside src/pool includes it.
 *
 *   pool.c     the pool itself: acquire, prewarm, retire, open and close
 *   chores.c   thread "chores": wipes folders, frees the dead, pre-warms
 *   start.c    bringing one process up: SETUP to READY, the self-test
 *   spawner.c  thread "spawner": spawn, reap, kill deadlines, the blank spare
 *   warm.c     the idle processes
 *   process.c  one process's entry
 *   key.c      what tells engines apart; workspaces
 *   engine.c   one job, from the acquiring thread
 *   render.c   one rendering, likewise
 *   link.c     frames over the socket
 *   slot.c     the memfds that batches travel in
 *   rundir.c   private folders
 *
 * Life of a struct engine: made STARTING (or BLANK, the spare), then BUSY while a caller has it, IDLE in
 * between, DYING at the end. It is freed by the chores thread only, when it is DYING *and* dead (reaped), so
 * a pointer to one that is not dead stays valid for the spawner.
 *
 * Locks: pool.mu guards everything marked (mu); engine.send_mu guards the sending half of the socket and what
 * is marked (send). Neither is taken while the other is held. Nothing that can wait for a child is done under
 * mu.
 */
#ifndef QUERN_POOL_INT_H
#define QUERN_POOL_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/config.h"
#include "base/metrics.h"
#include "base/sys.h"
#include "pool/pool.h"

#define ENGINE_MAGIC     0x51454e47u
#define POOL_PREWARM_MAX 16
#define POOL_UNWIPED_MAX 64
#define BLANK_DELAY_MS   200 /* a new spare after the last was taken: the query that took it goes first */
/* Room for the largest index a schema can need, so that result.max_batch is left for the body. */
#define SLOT_INDEX_ROOM (8u * 1024u * 1024u)

/* Reloadable keys change under us, one relaxed word at a time. */
#define CONF(field) atomic_load_explicit(&config.field, memory_order_relaxed)
#define MS_NS(ms)   ((int64_t)(ms)*1000000)

enum pool_state { STATE_BLANK, STATE_STARTING, STATE_BUSY, STATE_IDLE, STATE_DYING };

/* Why a process ended; the label of quern_engine_ended_total. The first reason given stays. */
enum pool_reason {
    REASON_NONE,
    REASON_USED,
    REASON_IDLE,
    REASON_RETIRED,
    REASON_CRASHED,
    REASON_HUNG,
    REASON_LIED,
    REASON_KILLED,
    REASON_ABANDONED,
    REASON_START,
    REASON_CLOSED,
    REASONS
};

/* One credit: a memfd that the child may fill (given), or whose batch the caller is looking at. */
struct slot {
    int fd; /* -1 none */
    bool given;
    bool used; /* it holds pages */
};

/* The batch that the caller is looking at. */
struct slot_copy {
    uint8_t *p;
    size_t cap;
};

/* The receiving half of the socket. Acquiring thread. */
struct link {
    struct buf rx;
    size_t used; /* bytes of the frame that was handed out last; dropped at the next call */
};

struct engine {
    uint32_t magic;
    struct pool *pool;

    /* set by the spawner before spawn_done, constant afterwards */
    pid_t pid;
    int pidfd, sock, wake;
    char folder[32]; /* name inside DIR/run */

    /* (mu) */
    struct engine *prev, *next; /* all engines of the pool */
    struct engine *next_spawn;  /* queue of wanted spawns */
    enum pool_state state;
    enum pool_reason reason;
    bool spawn_done;
    int spawn_errno;
    bool killed;                /* SIGKILL was sent, or QUIT: never reuse */
    bool dead;                  /* reaped; nothing of the process is left but its folder */
    int exit_code, exit_status; /* si_code and si_status; exit_code 0 = unknown */
    bool holds_catalog;         /* counted in its workspace's catalog_open until it is dead */
    bool running;               /* a job is under way */
    int64_t kill_at_ns;         /* the spawner kills it then; 0 = never */
    int64_t idle_since_ns;
    struct engine_key *key; /* owned; NULL while BLANK */
    struct arena *key_arena;

    _Atomic bool woken; /* engine_next answers TICK */
    _Atomic int cancel; /* 0 none, 1 asked, 2 kill now; sticks until release */

    /* (send) */
    pthread_mutex_t send_mu;
    uint64_t job;
    bool job_live, cancel_sent;

    /* acquiring thread */
    struct link link;
    struct slot slots[WIRE_SLOTS];
    int batch_slot; /* slot whose batch the caller holds, -1 none */
    struct slot_copy copy;
    struct arena *arena; /* of the job */
    bool planned, has_columns, plan_only, reusable, liar, may_split, follows;
    uint64_t wanted; /* follows: batches it may be told */
    uint32_t sql_len;
    uint8_t planned_kind;
    int64_t row_limit;
    uint64_t max_rows, max_bytes, rows, bytes;
    uint32_t inline_max;
    int64_t last_frame_ns;
    char liar_text[256];
    struct wire_ready ready; /* .library is not kept */
    char library[64];
};

/* One workspace the pool has seen. */
struct pool_workspace {
    int64_t id;
    uint64_t epoch;   /* newest seen */
    int catalog_open; /* live processes with its catalog open */
    int retiring;     /* callers of pool_retire that wait */
};

struct pool {
    char *engine_path;
    char *run_path; /* absolute */
    int run_fd;
    int wake; /* eventfd of the spawner */
    pthread_t spawner, chores;

    pthread_mutex_t mu;
    pthread_cond_t changed; /* spawn done, death, release */
    pthread_cond_t chores_wanted;
    /* (mu) */
    struct engine *all;
    int count, idle;
    int64_t max_processes; /* (C) 0 none */
    struct engine *spawn_head, *spawn_tail;
    uint64_t serial;
    bool closing, spawner_stop, chores_stop;
    bool blank_wanted;   /* keep a blank spare: some process has come up */
    int64_t blank_at_ns; /* not before */
    int blank_failures;
    struct pool_workspace *workspaces; /* sorted by id */
    size_t nworkspaces, workspaces_cap;
    struct prewarm {
        struct engine_key *key;
        struct arena *arena;
    } prewarm[POOL_PREWARM_MAX];
    int nprewarm;
    const struct engine_key *prewarming; /* being brought up by the chores thread */
    char unwiped[POOL_UNWIPED_MAX]
                [32]; /* folders that could not be wiped; tried again by pool_tick and at close */
    int nunwiped;
    bool wipe_again;

    struct metric *m_spawned, *m_idle, *m_start, *m_ended[REASONS];
};

/* ---- key.c ---- */
int pool__key_copy(const struct engine_key *k, struct arena **ret_arena,
                   struct engine_key **ret_key) MUST_USE;
bool pool__key_equal(const struct engine_key *a, const struct engine_key *b);
/* (mu) The workspace's entry, made when new; NULL out of memory. Valid until the next call. */
struct pool_workspace *pool__workspace(struct pool *p, int64_t id);

/* ---- process.c ---- */
/* The spawner looks again. */
void pool__wake(struct pool *p);
/* An instant of the monotonic clock, for pool.changed. */
void pool__until(int64_t ns, struct timespec *ts);
/* (mu) */
void pool__idle_add(struct pool *p, int change);
/* (mu) SIGKILL, once; the first reason stays. */
void pool__kill(struct engine *x, enum pool_reason why);
/* (mu) Kills it and hands it to the chores thread. */
void pool__discard(struct engine *x, enum pool_reason why);
/* (mu) A fresh entry in the list of all. NULL out of memory. */
struct engine *pool__new(struct pool *p, enum pool_state state);
/* (mu) Takes it out of the list and frees everything but folder and descriptors. */
void pool__free(struct engine *x);
/* Without lock: kill with a reason. */
void engine__kill(struct engine *x, enum pool_reason why);
/* Waits until the process is reaped; false when it lives on at the deadline. */
bool engine__await_death(struct engine *x, int64_t deadline_ns);
/* "engine process was killed by SIGSEGV"; call after engine__await_death. */
void engine__death_text(struct engine *x, char *out, size_t n);
/* Frees what a job left: batch, memfds, frames, arena. Acquiring thread. */
void engine__job_clear(struct engine *x);

/* ---- warm.c ---- */
/* Gives an engine to the warm pool, or ends it. Also for pre-warmed ones. */
void pool__put(struct engine *x, bool clean);
/* (mu) The most recently used idle engine for the key that is still in order; it is BUSY then. NULL none. */
struct engine *pool__take_idle(struct pool *p, const struct engine_key *key);
/* (mu) Drops idle engines of a workspace that are of an older epoch; with `catalog`, also those that hold it
 * open. */
void pool__drop_older(struct pool *p, int64_t workspace, uint64_t epoch, bool catalog);
/* (mu) Down to engine.idle_max. */
void pool__trim_idle(struct pool *p);
/* (mu) True when one process more keeps to max_processes: those idle make room, and their end is waited for,
 * up to a second. Lets go of the lock meanwhile. */
bool pool__room(struct pool *p);
/* (mu) Processes that live (or are being started), but render processes. */
int64_t pool__alive(const struct pool *p);

/* ---- engine.c ---- */
/* (acquiring thread) Begins a job whose first frame is `frame`, sent with descriptor `fd` (-1 none). 0, or
 * ERR_CANCELED, ERR_ENGINE, ERR_NOMEM. */
int engine__begin(struct engine *x, uint64_t job, const struct buf *frame, int fd, struct err *e) MUST_USE;

/* ---- start.c ---- */
/* Spawns (or takes the spare), sets up, waits for READY. On success the engine is BUSY and the caller's. */
int pool__bring_up(struct pool *p, const struct engine_key *key, bool selftest, struct engine **ret,
                   struct err *e) MUST_USE;

/* ---- spawner.c ---- */
int spawner__start(struct pool *p, struct err *e) MUST_USE;
void spawner__stop(struct pool *p);
/* Queues it for the spawner and waits. 0, or ERR_BUSY, ERR_ENGINE; then the engine is on its way out. */
int spawner__spawn(struct engine *x, struct err *e) MUST_USE;

/* ---- chores.c ---- */
int chores__start(struct pool *p, struct err *e) MUST_USE;
void chores__stop(struct pool *p); /* before the spawner's */

/* ---- link.c ---- */
void link__init(struct link *l);
void link__free(struct link *l);
/* Sends the whole frame; fd (or -1) goes with its first byte. ERR_TIMEOUT when the child takes nothing for
 * engine.silence, ERR_END when it is gone. The caller holds send_mu. */
int link__send(struct engine *x, const struct buf *frame, int fd) MUST_USE;
/* Next whole frame without waiting; it lives until the next call. ERR_WOULDBLOCK, ERR_END (peer gone, frames
 * before it were handed out), ERR_CORRUPT, ERR_NOMEM. */
int link__next(struct engine *x, enum wire_type *ret_type, const uint8_t **ret_payload,
               uint32_t *ret_len) MUST_USE;
/* Waits for something to read or for a wake, until the deadline. */
void link__wait(struct engine *x, int64_t deadline_ns);
/* True when nothing is left to read and the peer is there. */
bool link__quiet(struct engine *x);

/* ---- slot.c ---- */
uint64_t slot__size(void); /* of one memfd */
void slot__init(struct slot *s);
int slot__make(struct slot *s, struct err *e) MUST_USE;
/* Reads what a BATCH frame speaks of. ERR_CORRUPT with *ret_lie: the child broke a rule. Other errors are
 * ours. */
int slot__read(struct slot *s, const struct wire_batch *b, struct slot_copy *c, struct engine_batch *ret,
               const char **ret_lie, struct err *e) MUST_USE;
/* Between jobs: no pages are held for what was in it. */
void slot__empty(struct slot *s);
void slot__drop(struct slot *s);
void slot__copy_free(struct slot_copy *c);

/* ---- rundir.c ---- */
/* DIR/run: made if missing, emptied, opened. */
int rundir__open(const char *data_dir, char **ret_path, int *ret_fd, struct err *e) MUST_USE;
int rundir__make(int run_fd, const char *name) MUST_USE; /* -1 and errno */
/* Removes everything below the folder and the folder; follows no link, any depth. -1 and errno. */
int rundir__wipe(int run_fd, const char *name);

#endif
