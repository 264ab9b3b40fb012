/*
 * reuse: one rule for all dialects (design.md section 7, Reuse): key, age, visibility. Asking for it is the
 * caller's decision.
 *
 * Key: workspace, grants version (datasets, sources), text (outer blanks and one final semicolon dropped),
 * defaults, parameters, semantics profile, time zone, language, row limit. Every finished result of a
 * read-only query with rows enters; the newest of a key wins. A hit gets its own copy: small results are
 * copied, files get a second name (hard link), so that each query deletes and expires by itself.
 * Single-flight: a submit that allows reuse joins a running one that does. When that ends FINISHED the
 * followers are served from it; otherwise the first follower runs and leads the others, so that one owner's
 * cancel ends nobody else's query.
 *
 * A write through us to a workspace's catalog drops its entries, here and in the registry; what was submitted
 * before it is neither remembered nor joined afterwards.
 *
 * Threads: everything is guarded by u->lock (below the query lock in the order; never held while calling
 * another room). The table is bounded: REUSE_SLOTS entries, direct-mapped, the newer entry replaces the
 * older.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/config.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/service_int.h"

#define REUSE_SLOTS  65536u
#define LEADER_SLOTS 4096u

struct entry {
    uint8_t key[32];
    struct qid id;
    int64_t workspace, created_ms;
};
struct written {
    int64_t workspace, at_ns;
};

struct reuse {
    pthread_mutex_t lock;
    struct entry *entries;   /* REUSE_SLOTS; created_ms 0 = free */
    struct written *written; /* last write to each workspace's catalog */
    size_t nwritten;
    struct query *leaders[LEADER_SLOTS]; /* running queries that allow joining; references, direct-mapped */
};

static uint32_t slot_of(const uint8_t key[32], uint32_t n)
{
    uint32_t v;
    memcpy(&v, key, 4);
    return v & (n - 1);
}

/* ---- key ---- */

static const char *const volatile_words[] = {"random",
                                             "rand",
                                             "uuid",
                                             "gen_random_uuid",
                                             "uuidv4",
                                             "uuidv7",
                                             "now",
                                             "current_timestamp",
                                             "current_date",
                                             "current_time",
                                             "localtime",
                                             "localtimestamp",
                                             "today",
                                             "get_current_timestamp",
                                             "transaction_timestamp",
                                             "nextval",
                                             "setseed"};

static bool has_word(const char *sql, size_t n, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i + len <= n; i++) {
        if (strncasecmp(sql + i, word, len) != 0)
            continue;
        bool before = i == 0 || !(sql[i - 1] == '_' || (sql[i - 1] | 32) >= 'a'),
             after = i + len == n || !(sql[i + len] == '_' || (sql[i + len] | 32) >= 'a');
        if (before && after)
            return true;
    }
    return false;
}

static bool is_volatile(const struct query_record *r)
{
    for (size_t i = 0; i < sizeof volatile_words / sizeof volatile_words[0]; i++)
        if (has_word(r->sql, r->sql_len, volatile_words[i]))
            return true;
    return false;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static void add_text(struct buf *b, const char *p, size_t n)
{
    uint64_t len = p ? n : UINT64_MAX; /* absent and empty differ */
    buf_add(b, &len, sizeof len);
    if (p)
        buf_add(b, p, n);
}

static void add_string(struct buf *b, const char *s)
{
    add_text(b, s, s ? strlen(s) : 0);
}

void reuse_key(struct service *s, struct query *q)
{
    static const uint8_t no_key[CRYPTO_KEY_LEN];
    struct query_record *r = &q->rec;
    if (config.reuse_volatile != 0 && is_volatile(r))
        return;
    const char *p = r->sql;
    size_t n = r->sql_len;
    while (n > 0 && blank(*p))
        p++, n--;
    while (n > 0 && blank(p[n - 1]))
        n--;
    if (n > 0 && p[n - 1] == ';')
        n--;
    while (n > 0 && blank(p[n - 1]))
        n--;
    CLEANUP_BUF struct buf b = BUF_INIT((size_t)128 << 20);
    int64_t numbers[] = {r->workspace, (int64_t)workspace_epoch(s->workspaces, r->workspace), r->profile,
                         r->row_limit};
    buf_add(&b, numbers, sizeof numbers);
    add_text(&b, p, n);
    add_string(&b, r->default_source);
    add_string(&b, r->default_database);
    add_string(&b, r->timezone);
    add_string(&b, r->language);
    add_text(&b, (const char *)r->params, r->params_len);
    if (buf_failed(&b))
        return;
    crypto_hash(no_key, b.p, b.len, q->reuse_key);
    r->reuse_key = q->reuse_key;
}

/* ---- submit ---- */

/* (u->lock) Submitted before the last write to its workspace: it may have read what was there before. */
static bool outdated(const struct reuse *u, const struct query *q)
{
    for (size_t i = 0; i < u->nwritten; i++)
        if (u->written[i].workspace == q->rec.workspace)
            return q->submitted_ns <= u->written[i].at_ns;
    return false;
}

static void hand_over(struct service *s, struct query *q, const struct qid *source)
{
    q->source = *source;
    q->source_set = true;
    delivery_push(s->delivery, q);
}

bool reuse_outdated(struct service *s, const struct query *q)
{
    struct reuse *u = s->reuse;
    pthread_mutex_lock(&u->lock);
    bool yes = outdated(u, q);
    pthread_mutex_unlock(&u->lock);
    return yes;
}

bool reuse_submit(struct service *s, struct query *q)
{
    struct reuse *u = s->reuse;
    if (!q->rec.reuse || !q->rec.reuse_key)
        return false;
    int64_t oldest = sys_wall_ms() - (int64_t)q->rec.max_reuse_age_s * 1000;
    struct qid source;
    bool hit = false, joined = false;
    pthread_mutex_lock(&u->lock);
    const struct entry *en = &u->entries[slot_of(q->reuse_key, REUSE_SLOTS)];
    struct query **leader = &u->leaders[slot_of(q->reuse_key, LEADER_SLOTS)];
    if (en->created_ms > oldest && memcmp(en->key, q->reuse_key, 32) == 0) {
        hit = true;
        source = en->id;
    } else if (*leader && (*leader)->leads && memcmp((*leader)->reuse_key, q->reuse_key, 32) == 0 &&
               (*leader)->rec.created_ms > oldest && !outdated(u, *leader)) {
        joined = true;
        q->follower_next = (*leader)->followers;
        (*leader)->followers = query_ref(q);
    } else if (!*leader) {
        *leader = query_ref(q);
        q->leads = true;
    }
    pthread_mutex_unlock(&u->lock);
    if (hit)
        hand_over(s, q, &source);
    return hit || joined;
}

/* ---- ends ---- */

/* (q->lock) */
static bool reusable(struct query *q)
{
    struct result *res = query_shown_result(q);
    return q->rec.state == QUERY_FINISHED && q->rec.reuse_key && q->rec.kind == WIRE_KIND_ROWS &&
           q->rec.nresults == 1 && res && res->schema && !q->rec.reused && q->rec.gone_ms == 0;
}

static void remember(struct reuse *u, const uint8_t key[32], const struct qid *id, int64_t workspace,
                     int64_t created_ms)
{
    struct entry *en = &u->entries[slot_of(key, REUSE_SLOTS)];
    if (en->created_ms > created_ms && memcmp(en->key, key, 32) == 0)
        return;
    memcpy(en->key, key, 32);
    en->id = *id;
    en->workspace = workspace;
    en->created_ms = created_ms;
}

/* A leader that brought nothing: the first follower that still wants it runs and leads the rest. */
static void pass_on(struct service *s, struct query *list)
{
    struct reuse *u = s->reuse;
    struct query *next = NULL;
    while (list && !next) {
        struct query *q = list;
        list = q->follower_next;
        q->follower_next = NULL;
        pthread_mutex_lock(&q->lock);
        bool ended = query_state_ended(q->rec.state);
        pthread_mutex_unlock(&q->lock);
        if (ended)
            query_unref(q);
        else
            next = q;
    }
    if (!next)
        return;
    pthread_mutex_lock(&u->lock);
    struct query **leader = &u->leaders[slot_of(next->reuse_key, LEADER_SLOTS)];
    bool lead = !*leader;
    if (lead) {
        *leader = query_ref(next);
        next->leads = true;
        next->followers = list;
    }
    pthread_mutex_unlock(&u->lock);
    scheduler_push(s->scheduler, next, false);
    query_unref(next);
    while (!lead && list) { /* somebody else leads by now: the rest run themselves */
        struct query *q = list;
        list = q->follower_next;
        q->follower_next = NULL;
        scheduler_push(s->scheduler, q, false);
        query_unref(q);
    }
}

bool reuse_remember(struct service *s, struct query *q)
{
    struct reuse *u = s->reuse;
    if (!reusable(q))
        return false;
    pthread_mutex_lock(&u->lock);
    if (!outdated(u, q))
        remember(u, q->reuse_key, &q->rec.id, q->rec.workspace, q->rec.created_ms);
    pthread_mutex_unlock(&u->lock);
    return true;
}

void reuse_ended(struct service *s, struct query *q, bool good)
{
    struct reuse *u = s->reuse;
    struct query *followers = NULL, *drop = NULL;
    pthread_mutex_lock(&u->lock);
    if (q->leads) {
        q->leads = false;
        followers = q->followers;
        q->followers = NULL;
        struct query **leader = &u->leaders[slot_of(q->reuse_key, LEADER_SLOTS)];
        ASSERT(*leader == q);
        drop = q;
        *leader = NULL;
    }
    pthread_mutex_unlock(&u->lock);
    if (!good)
        pass_on(s, followers);
    while (good && followers) {
        struct query *f = followers;
        followers = f->follower_next;
        f->follower_next = NULL;
        hand_over(s, f, &q->rec.id);
        query_unref(f);
    }
    query_unref(drop);
}

void reuse_written(struct service *s, int64_t workspace)
{
    struct reuse *u = s->reuse;
    if (config.reuse_invalidate_on_write != 0)
        return;
    pthread_mutex_lock(&u->lock);
    for (uint32_t i = 0; i < REUSE_SLOTS; i++)
        if (u->entries[i].workspace == workspace)
            u->entries[i].created_ms = 0;
    size_t k = 0;
    while (k < u->nwritten && u->written[k].workspace != workspace)
        k++;
    if (k == u->nwritten) {
        struct written *p = realloc(u->written, (k + 1) * sizeof *p);
        ASSERT(p);
        u->written = p;
        u->written[u->nwritten++].workspace = workspace;
    }
    u->written[k].at_ns = sys_mono_ns();
    pthread_mutex_unlock(&u->lock);
}

/* ---- serving, on a delivery thread ---- */

/* Copies the source's one result into q's arena; both locks are not needed: the source has ended, q is ours. */
static bool copy_result(struct query *q, const struct result *from)
{
    CLEANUP_BUF struct buf schema = BUF_INIT(64u << 20);
    if (schema_write(from->schema, &schema))
        return false;
    pthread_mutex_lock(&q->lock);
    struct result *to = arena_alloc(q->arena, sizeof *to);
    bool ok = to != NULL;
    if (ok) {
        *to = *from;
        ok = schema_read(schema.p, schema.len, q->arena, &to->schema, NULL) == 0;
    }
    if (ok && from->index) {
        uint8_t *index = arena_alloc(q->arena, from->index_len),
                *body = arena_alloc(q->arena, from->body_len);
        ok = index && body;
        if (ok) {
            memcpy(index, from->index, from->index_len);
            memcpy(body, from->body, from->body_len);
            to->index = index;
            to->body = body;
        }
    }
    if (ok) {
        q->rec.results = to;
        q->rec.nresults = 1;
        q->schema = to->schema;
        q->schema_known = true;
    }
    pthread_mutex_unlock(&q->lock);
    return ok;
}

bool reuse_take(struct service *s, struct query *q)
{
    q->source_set = false;
    struct query *src = service__lookup(s, &q->source);
    if (!src && service__load(s, &q->source, &src, NULL))
        return false;
    struct query_view v;
    query_view(src, &v);
    struct result *from = v.state == QUERY_FINISHED && !v.gone_ms ? query_shown_result(src) : NULL;
    bool ok = from && from->schema && copy_result(q, from);
    if (ok && from->sealed) {
        ok = spool_link(s->spool, &src->rec.id, &q->rec.id, from->ordinal, NULL) == 0;
        if (ok)
            usage_add(s->usage, q->rec.workspace, (int64_t)from->facts.file_size);
    }
    if (ok) {
        pthread_mutex_lock(&q->lock);
        ok = query_move(q, QUERY_RUNNING);
        q->started_ns = sys_mono_ns();
        q->rec.started_ms = sys_wall_ms();
        q->rec.queued_ns = q->started_ns - q->submitted_ns;
        q->rec.kind = v.kind;
        q->rec.reused = true;
        q->rec.reused_created_ms = v.created_ms;
        q->rec.cut = v.cut;
        pthread_mutex_unlock(&q->lock);
        if (!ok && from->sealed)
            service__remove_file(s, q, from->ordinal); /* cancelled meanwhile */
        ok = true;
    } else {
        pthread_mutex_lock(&q->lock);
        q->rec.results = NULL;
        q->rec.nresults = 0;
        q->schema = NULL;
        q->schema_known = false;
        pthread_mutex_unlock(&q->lock);
    }
    query_unref(src);
    return ok;
}

/* ---- life ---- */

static void load_one(void *arg, const struct qid *id, int64_t workspace, int64_t created_ms,
                     const uint8_t key[32])
{
    remember(arg, key, id, workspace, created_ms);
}

int reuse_open(struct service *s, struct reuse **ret, struct err *e)
{
    struct reuse *u = calloc(1, sizeof *u);
    if (u)
        u->entries = calloc(REUSE_SLOTS, sizeof *u->entries);
    if (!u || !u->entries) {
        free(u);
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    }
    pthread_mutex_init(&u->lock, NULL);
    *ret = u;
    return registry_each_reusable(s->registry, sys_wall_ms() - REUSE_AGE_MAX_MS, (int64_t)REUSE_SLOTS * 4,
                                  load_one, u, e);
}

void reuse_close(struct reuse *u)
{
    if (!u)
        return;
    for (uint32_t i = 0; i < LEADER_SLOTS; i++) {
        struct query *q = u->leaders[i];
        if (!q)
            continue;
        for (struct query *f = q->followers, *next; f; f = next) {
            next = f->follower_next;
            query_unref(f);
        }
        query_unref(q);
    }
    pthread_mutex_destroy(&u->lock);
    free(u->entries);
    free(u->written);
    free(u);
}
