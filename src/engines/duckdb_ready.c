/*
 * duckdb_ready: statements that a session keeps prepared for the next job with the same text.
 *
 * Dashboards ask the same again and again. The library binds a statement over files whenever it runs, so preparing it
 * for each job binds it twice; and the profile that counts what a run read costs as much as binding. Kept are only
 * statements of which one run has shown that both can go: every scan of it read a whole Parquet file of a data set. The
 * library binds such a statement anew at each run (nothing of it gets stale, the files included), and what it reads is the
 * same as long as the files are, which is looked at before each use. The caller keeps the schema's promise (PLANNED) by
 * comparing it with the result's. Job thread.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engines/duckdb_int.h"

#define READY     8     /* statements of a session; the one unused for longest goes */
#define READY_SQL 16384 /* bytes of a text; the library keeps several times that */
/* Of a session's statements together: each holds its file open, and a process may have 256 descriptors and 4 sessions. */
#define READY_SCANS 12

struct ready_set {
    struct ready all[READY];
    uint64_t uses;
};

static void drop(struct ready *r)
{
    if (r->ps)
        duckdb_destroy_prepare(&r->ps);
    free(r->sql);
    *r = (struct ready){0};
}

bool duck__stamp(const char *path, struct file_stamp *ret)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return false;
    *ret = (struct file_stamp){st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim};
    return true;
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool duck__same_stamp(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && same_time(a->mtime, b->mtime) &&
           same_time(a->ctime, b->ctime);
}

static bool unchanged(const struct duck *d, const struct scanned *s)
{
    for (uint32_t i = 0; i < s->nfiles; i++) {
        struct file_stamp now;
        if (!duck__stamp(d->setup->datasets[s->files[i].dataset].path, &now) ||
            !duck__same_stamp(&now, &s->files[i].stamp))
            return false;
    }
    return true;
}

struct ready *duck__ready_find(const struct duck *d, struct session *s, const struct wire_job *job)
{
    if (!s->ready || job->nparams || job->plan_only || job->row_limit >= 0)
        return NULL;
    struct ready *found = NULL;
    for (int i = 0; i < READY; i++) {
        struct ready *r = &s->ready->all[i];
        if (r->sql && !unchanged(d, &r->scanned))
            drop(r); /* a file that was replaced is let go of */
        else if (r->sql && r->sql_len == job->sql_len && memcmp(r->sql, job->sql, job->sql_len) == 0)
            found = r;
    }
    if (found)
        found->used = ++s->ready->uses;
    return found;
}

/* A free place, and descriptors for so many scans. */
static struct ready *make_room(struct ready_set *set, uint32_t nscans)
{
    for (;;) {
        struct ready *oldest = NULL, *free_place = NULL;
        uint32_t sum = nscans;
        for (int i = 0; i < READY; i++) {
            struct ready *r = &set->all[i];
            sum += r->sql ? r->scanned.nscans : 0;
            if (!r->sql)
                free_place = r;
            else if (!oldest || r->used < oldest->used)
                oldest = r;
        }
        if (free_place && sum <= READY_SCANS)
            return free_place;
        drop(oldest);
    }
}

void duck__ready_keep(struct session *s, const struct wire_job *job, struct plan *p,
                      const struct scanned *scanned)
{
    if (!scanned->whole || job->nparams || p->wrapped || p->kind || p->text_column ||
        job->sql_len > READY_SQL || scanned->nscans > READY_SCANS)
        return;
    if (!s->ready && !(s->ready = calloc(1, sizeof *s->ready)))
        return;
    char *sql = malloc(job->sql_len + 1);
    if (!sql)
        return;
    struct ready *at = make_room(s->ready, scanned->nscans);
    memcpy(sql, job->sql, job->sql_len);
    *at = (struct ready){.sql = sql,
                         .sql_len = job->sql_len,
                         .ps = p->ps,
                         .st = p->st,
                         .scanned = *scanned,
                         .used = ++s->ready->uses};
    p->ps = NULL;
}

void duck__ready_free(struct session *s)
{
    for (int i = 0; s->ready && i < READY; i++)
        drop(&s->ready->all[i]);
    free(s->ready);
    s->ready = NULL;
}
