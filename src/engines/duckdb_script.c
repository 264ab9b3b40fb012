/*
 * duckdb_script: a text of several statements, and the session that they share. Job thread.
 *
 * The engine's own parser says whether the text is right, how many statements it holds, and that each piece is
 * one of them; what is done here only tells where one ends, which its C interface does not. Where the two do not
 * agree nothing runs. The session stays between the jobs of a script (d->script) until COMMIT, ROLLBACK, a
 * cancel, or a job that is not the script's.
 */
#include <stdlib.h>
#include <string.h>

#include "engines/compat_int.h"
#include "engines/duckdb_int.h"

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

/* ---- where a statement ends ---- */

static bool word_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '$' || c >= 0x80;
}

static size_t quoted(const char *p, size_t n, size_t at, char quote, bool escapes)
{
    for (; at < n; at++) {
        if (escapes && p[at] == '\\')
            at++;
        else if (p[at] == quote && (at + 1 >= n || p[at + 1] != quote))
            return at + 1;
        else if (p[at] == quote)
            at++;
    }
    return n;
}

/* $tag$ ... $tag$; 0 when none begins here. */
static size_t dollars(const char *p, size_t n, size_t at)
{
    size_t tag = at + 1;
    while (tag < n && p[tag] != '$' && word_char((unsigned char)p[tag]))
        tag++;
    if (tag >= n || p[tag] != '$' || (tag > at + 1 && p[at + 1] >= '0' && p[at + 1] <= '9'))
        return 0;
    size_t len = tag + 1 - at;
    const char *end = memmem(p + tag + 1, n - tag - 1, p + at, len);
    return end ? (size_t)(end - p) + len : n;
}

/* Behind a comment that begins here, in which others may stand; 0 when none does. */
static size_t comment(const char *p, size_t n, size_t at)
{
    if (at + 1 >= n)
        return 0;
    if (p[at] == '-' && p[at + 1] == '-') {
        while (at < n && p[at] != '\n' && p[at] != '\r')
            at++;
        return at;
    }
    if (p[at] != '/' || p[at + 1] != '*')
        return 0;
    size_t depth = 0;
    while (at + 1 < n) {
        bool open = p[at] == '/' && p[at + 1] == '*', close = p[at] == '*' && p[at + 1] == '/';
        at += open || close ? 2 : 1;
        depth += open;
        depth -= close;
        if (close && depth == 0)
            return at;
    }
    return n;
}

/* Behind the token that begins here. */
static size_t token(const char *p, size_t n, size_t at)
{
    size_t end = p[at] == '$' ? dollars(p, n, at) : 0;
    if (end)
        return end;
    if (p[at] == '\'' || p[at] == '"')
        return quoted(p, n, at + 1, p[at], false);
    for (end = at; end < n && p[at] != '$' && word_char((unsigned char)p[end]); end++) {
    }
    if (end == at + 1 && (p[at] | 32) == 'e' && end < n && p[end] == '\'')
        return quoted(p, n, end + 1, '\'', true);
    return end > at ? end : at + 1;
}

int duck__cut(struct arena *a, const char *sql, size_t n, struct wire_script *ret, struct err *e)
{
    size_t most = 1;
    for (size_t i = 0; i < n; i++)
        most += sql[i] == ';';
    struct wire_piece *p = arena_alloc(a, most * sizeof *p);
    if (!p)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    uint32_t count = 0;
    bool open = false;
    for (size_t at = 0, end; at < n; at = end) {
        if ((end = comment(sql, n, at)))
            continue;
        end = at + 1;
        if (sql[at] == ';') {
            open = false;
        } else if (sql[at] != ' ' && (sql[at] < '\t' || sql[at] > '\r')) {
            end = token(sql, n, at);
            if (!open)
                p[count++] = (struct wire_piece){(uint32_t)at, 0};
            p[count - 1].n = (uint32_t)(end - p[count - 1].at);
            open = true;
        }
    }
    if (count > WIRE_PIECES_MAX)
        return err_set(e, ERR_LIMIT, "54000",
                       "the text holds %u statements, more than any script may have (%u)", count,
                       WIRE_PIECES_MAX);
    ret->npieces = count;
    ret->pieces = p;
    return 0;
}

/* ---- the engine's own parser has the last word ---- */

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
    *kind = WIRE_FAIL_SQL;
    *ret = (struct wire_script){.job = job->job, .npieces = 1};
    if (memchr(job->sql, 0, job->sql_len))
        return 0; /* refused with the plan */
    int r = duck__cut(a, job->sql, job->sql_len, ret, e);
    return r || ret->npieces == 1 ? r : agree(d, c, job, ret, e, kind);
}

/* ---- the session ---- */

int duck__script_begin(struct duck *d, const struct wire_job *job, struct err *e)
{
    int r = d->script.conn ? 0 : duck__session(d, job, SESSION_PLAIN, &d->script, e);
    if (r || !job->one_transaction || d->script_tx)
        return r;
    bool any;
    r = compat_macros_rest(d->script.conn, job->profile, &any, e); /* none can be made in the transaction */
    if (!r)
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
    duck__session_end(&d->script);
}
