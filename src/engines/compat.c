/*
 * compat: one job's text through the room: SHOW and EXPLAIN forms first, the other rules after that; and the
 * way back for places of errors.
 *
 * Invariant: only jobs of the profiles TRINO and PG are rewritten; what comes out is judged by
 * duckdb_policy.c like any text. When a text is unclear (see compat_lex) it goes to the engine as it came. Job thread.
 */
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "engines/compat_arith.h"
#include "engines/compat_int.h"
#include "engines/compat_operators.h"

#define SCRATCH (128u << 20)

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "53200", "out of memory");
}

/* Takes over text and spans; both move into the job's arena. */
static int adopt(struct compat *x, struct arena *a, struct buf *text, const struct cspan *spans, uint32_t n,
                 struct err *e)
{
    char *sql = text->failed ? NULL : arena_strndup(a, text->p ? text->p : "", text->len);
    struct cspan *copy = arena_alloc(a, n * sizeof *copy + 1);
    if (!sql || !copy)
        return no_memory(e);
    if (n)
        memcpy(copy, spans, n * sizeof *copy);
    x->user = x->job.sql;
    x->user_len = x->job.sql_len;
    x->job.sql = sql;
    x->job.sql_len = (uint32_t)text->len;
    x->spans = copy;
    x->nspans = n;
    return 0;
}

/* EXPLAIN (TYPE VALIDATE): everything but the running; then one row that says so. */
static int validate(struct duck *d, duckdb_connection c, struct arena *a, struct compat *x, struct err *e,
                    uint32_t *kind)
{
    struct plan p = {0};
    int r = duck__plan(d, c, &x->job, a, &p, e, kind);
    duck__plan_free(&p);
    if (r < 0) {
        compat_place(x, e);
        return r;
    }
    x->job.sql = "SELECT true AS \"Valid\"";
    x->job.sql_len = (uint32_t)strlen(x->job.sql);
    x->job.nparams = 0;
    x->has_kind = true;
    x->kind = WIRE_KIND_SHOW;
    return 0;
}

static int explain(struct duck *d, duckdb_connection c, const struct clex *l, struct arena *a,
                   struct compat *x, struct err *e, uint32_t *kind)
{
    struct crewrite w = {.l = l, .rule = compat_rule, .out = BUF_INIT((size_t)x->job.sql_len * 4 + 65536)};
    CLEANUP_BUF struct buf head = BUF_INIT(4096);
    uint32_t inner = 0;
    bool only_check = false;
    int r = compat_explain(l, &head, &inner, &only_check, e);
    if (r > 0 && inner < l->count) {
        const char *text = buf_str(&head);
        compat_put(&w, text ? text : "EXPLAIN ", l->t[0].at);
        compat_range(&w, inner, l->count);
        r = w.failed ? no_memory(e) : adopt(x, a, &w.out, w.spans, w.nspans, e);
        if (!r)
            r = only_check ? validate(d, c, a, x, e, kind) : FORM_EXPLAIN;
        if (!r)
            r = FORM_EXPLAIN;
    }
    compat_end(&w);
    return r;
}

/* What profile PG has other words for needs one of these. */
static bool mentions(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '(' || p[i] == '~' || p[i] == ':' || p[i] == '#' || p[i] == '\\' ||
            ((p[i] | 0x20) == 's' && n - i > 7 && strncasecmp(p + i, "similar", 7) == 0))
            return true;
    }
    return false;
}

#define UHUGEINT_MAX_TEXT "340282366920938463463374607431768211455"

/* The engine makes a double of a number that is too long for its exact types, without a word: "must be exact
 * or an error". Decimals have 38 digits (PG users write longer ones and mean doubles: those stay). */
static bool too_long(const char *p, size_t n, bool pg)
{
    char digit[sizeof UHUGEINT_MAX_TEXT];
    size_t digits = 0;
    bool point = false;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '.')
            point = true;
        else if (p[i] >= '0' && p[i] <= '9') {
            if (!digits && p[i] == '0' && !point)
                continue;
            if (digits < sizeof digit - 1)
                digit[digits] = p[i];
            digits++;
        } else if (p[i] != '_') {
            return false; /* 1e5, 0xff */
        }
    }
    if (point)
        return !pg && digits > 38;
    return digits > sizeof digit - 1 ||
           (digits == sizeof digit - 1 && memcmp(digit, UHUGEINT_MAX_TEXT, digits) > 0);
}

static int check_numbers(const struct clex *l, bool pg, struct err *e)
{
    for (uint32_t i = 0; i < l->count; i++) {
        const struct ctoken *t = &l->t[i];
        if (t->kind != CT_NUMBER || t->n < 39 || !too_long(l->p + t->at, t->n, pg))
            continue;
        (void)err_set(e, ERR_INVALID, "22003", "the number \"%.*s\" has more digits than %s",
                      t->n > 80 ? 80 : (int)t->n, l->p + t->at,
                      memchr(l->p + t->at, '.', t->n) ? "a decimal may have (38)" : "an integer may have");
        duck__position(e, l->p, l->n, t->at);
        return ERR_INVALID;
    }
    return 0;
}

/* Many digits in a row: such a text is worth looking at. */
static bool has_long_number(const char *p, size_t n)
{
    for (size_t i = 38; i < n; i += 39) {
        size_t from = i, to = i;
        if (p[i] < '0' || p[i] > '9')
            continue;
        while (from && p[from - 1] >= '0' && p[from - 1] <= '9')
            from--;
        while (to < n && p[to] >= '0' && p[to] <= '9')
            to++;
        if (to - from >= 39)
            return true;
    }
    return false;
}

static int rewrite_job(struct duck *d, duckdb_connection c, const struct wire_job *job, struct arena *a,
                       struct compat *ret, struct err *e, uint32_t *kind)
{
    *ret = (struct compat){.job = *job};
    bool pg = job->profile == WIRE_PROFILE_PG;
    compat_arith_forget();
    compat_operators_profile(job->profile);
    if (job->profile != WIRE_PROFILE_TRINO &&
        !(pg && (mentions(job->sql, job->sql_len) || has_long_number(job->sql, job->sql_len))))
        return 0;
    struct arena *scratch = arena_new(SCRATCH);
    struct clex l;
    struct crewrite w = {0};
    int r = FORM_NONE;
    *kind = WIRE_FAIL_SQL;
    if (!scratch || !compat_lex(scratch, job->sql, job->sql_len, &l) || !l.count) {
        arena_free(scratch);
        return 0;
    }
    r = check_numbers(&l, pg, e);
    if (r < 0) {
        arena_free(scratch);
        return r;
    }
    CLEANUP_BUF struct buf text = BUF_INIT(64u << 20);
    r = pg ? FORM_NONE : compat_show(d, c, &l, ret, &text, e, kind);
    if (r > 0) {
        struct cspan whole = {0, (uint32_t)text.len, l.t[0].at, false};
        r = adopt(ret, a, &text, &whole, 1, e);
        if (!r)
            r = FORM_DONE;
    } else if (!r && !pg) {
        r = explain(d, c, &l, a, ret, e, kind);
    }
    if (!r && compat_rewrite(scratch, job->sql, job->sql_len, pg, &w)) {
        bool same = w.out.len == job->sql_len && memcmp(w.out.p, job->sql, job->sql_len) == 0;
        if (!same)
            r = adopt(ret, a, &w.out, w.spans, w.nspans, e);
        compat_end(&w);
    }
    arena_free(scratch);
    return r < 0 ? r : 0;
}

int compat_job(struct duck *d, duckdb_connection c, const struct wire_job *job, struct arena *a,
               struct compat *ret, struct err *e, uint32_t *kind)
{
    int r = rewrite_job(d, c, job, a, ret, e, kind);
    return r < 0 ? r : compat_macros_named(c, job->profile, ret->job.sql, ret->job.sql_len, e);
}

static size_t byte_of(const char *p, size_t n, int64_t code_points)
{
    size_t at = 0;
    for (int64_t k = 0; k < code_points && at < n; k++) {
        uint32_t cp;
        int len = utf8_next(p + at, n - at, &cp);
        at += (size_t)(len < 0 ? -len : len);
    }
    return at;
}

void compat_place(const struct compat *x, struct err *e)
{
    if (!x->user || e->position < 0)
        return;
    size_t at = compat_origin(x->spans, x->nspans, byte_of(x->job.sql, x->job.sql_len, e->position));
    duck__position(e, x->user, x->user_len, at > x->user_len ? x->user_len : at);
}
