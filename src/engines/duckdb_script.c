/*
 * duckdb_script: a text of several statements, and the session that they share. Job thread.
 *
 * The engine's own parser says whether the text is right, how many statements it holds, and that each piece is one of them; our tokens only
 * tell where one ends, which its C interface does not. Where the two do not agree nothing runs. The session stays between the jobs of a
 * script (d->script) until COMMIT, ROLLBACK, a cancel, or a job that is not the script's.
 */
#include <stdlib.h>
#include <string.h>

#include "engines/compat.h"
#include "engines/duckdb_int.h"

#define SCRATCH (256u << 20)

static int apart(struct err *e)
{
    return err_set(e, ERR_INVALID, "42601", "the statements of the text cannot be told apart");
}

/* Statements in the text by the engine's parser; 2 for one PIVOT, whose first half the engine adds. */
static int count(struct duck *d, duckdb_connection c, const char *sql, size_t n, idx_t *ret, struct err *e,
                 uint32_t *kind)
{
    duckdb_extracted_statements ex = NULL;
    *ret = duckdb_extract_statements(c, sql, &ex);
    const char *message = ex ? duckdb_extract_statements_error(ex) : NULL;
    int r = *ret == 0 && message ? duck__error(d, message, 0, sql, n, e, kind) : 0;
    duckdb_destroy_extracted(&ex);
    return r;
}

/* What lies between the semicolons; a piece without a token is none. */
static int cut(struct arena *a, const struct clex *l, struct wire_script *ret, struct err *e)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->count; i++)
        n += !compat_op(l, i, ';') && (i == 0 || compat_op(l, i - 1, ';'));
    if (n > WIRE_PIECES_MAX)
        return err_set(e, ERR_LIMIT, "54000",
                       "the text holds %u statements, more than any script may have (%u)", n,
                       WIRE_PIECES_MAX);
    struct wire_piece *p = arena_alloc(a, (n + 1) * sizeof *p);
    if (!p)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    ret->npieces = n;
    ret->pieces = p;
    for (uint32_t i = 0; i < l->count; i++) {
        if (compat_op(l, i, ';'))
            continue;
        p->at = l->t[i].at;
        while (i + 1 < l->count && !compat_op(l, i + 1, ';'))
            i++;
        p->n = l->t[i].at + l->t[i].n - p->at;
        p++;
    }
    return 0;
}

static int agree(struct duck *d, duckdb_connection c, const struct wire_job *job, const struct wire_script *s,
                 struct err *e, uint32_t *kind)
{
    idx_t whole, sum = 0;
    int r = count(d, c, job->sql, job->sql_len, &whole, e, kind);
    for (uint32_t i = 0; i < s->npieces && !r; i++) {
        char *piece = strndup(job->sql + s->pieces[i].at, s->pieces[i].n);
        if (!piece)
            return err_set(e, ERR_NOMEM, "53200", "out of memory");
        idx_t n;
        struct err inner;
        err_clear(&inner);
        if (count(d, c, piece, s->pieces[i].n, &n, &inner, kind) < 0 || n == 0 || n > 2 ||
            (n == 2 && !duck__policy_pivot(piece, s->pieces[i].n)))
            r = apart(e);
        sum += n;
        free(piece);
    }
    return r ? r : sum == whole ? 0 : apart(e);
}

int duck__split(struct duck *d, duckdb_connection c, const struct wire_job *job, struct arena *a,
                struct wire_script *ret, struct err *e, uint32_t *kind)
{
    struct arena *scratch = arena_new(SCRATCH);
    struct clex l;
    int r = 0;
    *kind = WIRE_FAIL_SQL;
    *ret = (struct wire_script){.job = job->job, .npieces = 1};
    bool clear = scratch && compat_lex(scratch, job->sql, job->sql_len, &l);
    if (clear)
        r = cut(a, &l, ret, e);
    arena_free(scratch);
    if (r)
        return r;
    if (clear)
        return ret->npieces == 1 ? 0 : agree(d, c, job, ret, e, kind);
    /* Where the tokens are unclear (a nested comment) it may still be one statement. */
    idx_t n = 1;
    if (!memchr(job->sql, 0, job->sql_len))
        r = count(d, c, job->sql, job->sql_len, &n, e, kind);
    return r || n < 2 || duck__policy_pivot(job->sql, job->sql_len) ? r : apart(e);
}

/* ---- the session ---- */

int duck__script_begin(struct duck *d, const struct wire_job *job, struct err *e)
{
    int r = d->script.conn ? 0 : duck__session(d, job, &d->script, e);
    if (r || !job->one_transaction || d->script_tx)
        return r;
    r = duck__exec(d->script.conn, "BEGIN", e);
    d->script_tx = !r;
    if (!r && d->setup->catalog_write)
        r = duck__exec(d->script.conn, DUCK_TOUCH_WRITER, e);
    return r;
}

int duck__script_commit(struct duck *d, struct err *e)
{
    if (!d->script.conn || !d->script_tx)
        return 0;
    int r = d->setup->catalog_write ? duck__datasets_intact(d, d->script.conn, e) : 0;
    if (!r && d->setup->catalog_write && duck__exec(d->script.conn, DUCK_TOUCH_WRITER, NULL) < 0)
        r = err_set(e, ERR_DENIED, "42501", "the schema quern_internal cannot be changed by SQL");
    if (!r)
        r = duck__exec(d->script.conn, "COMMIT", e);
    d->script_tx = r != 0;
    return r;
}

void duck__script_end(struct duck *d)
{
    if (!d->script.conn)
        return;
    if (d->script_tx && duck__exec(d->script.conn, "ROLLBACK", NULL) < 0)
        d->broken = true;
    d->script_tx = false;
    duckdb_disconnect(&d->script.conn);
}
