/*
 * compat_walk: one pass over the tokens: what the rule does not know is copied as it is, and spans remember where every
 * byte came from. Pure; any thread.
 */
#include <stdlib.h>
#include <string.h>

#include "engines/compat.h"

static void span(struct crewrite *w, size_t out_at, size_t n, uint32_t in_at, bool same)
{
    if (w->failed || !n)
        return;
    if (w->nspans && same) { /* goes on where the last one ended */
        struct cspan *last = &w->spans[w->nspans - 1];
        if (last->same && last->out_at + last->n == out_at && last->in_at + last->n == in_at) {
            last->n += (uint32_t)n;
            return;
        }
    }
    if (w->nspans == w->cap) {
        uint32_t cap = w->cap ? w->cap * 2 : 64;
        struct cspan *more = realloc(w->spans, cap * sizeof *more);
        if (!more) {
            w->failed = true;
            return;
        }
        w->spans = more;
        w->cap = cap;
    }
    w->spans[w->nspans++] = (struct cspan){(uint32_t)out_at, (uint32_t)n, in_at, same};
}

void compat_copy(struct crewrite *w, uint32_t from, uint32_t to)
{
    if (to <= from)
        return;
    size_t at = w->out.len;
    if (buf_add(&w->out, w->l->p + from, to - from) < 0)
        w->failed = true;
    span(w, at, to - from, from, true);
}

void compat_put(struct crewrite *w, const char *text, uint32_t in_at)
{
    size_t at = w->out.len;
    if (buf_str_add(&w->out, text) < 0)
        w->failed = true;
    span(w, at, strlen(text), in_at, false);
}

void compat_end(struct crewrite *w)
{
    buf_free(&w->out);
    free(w->spans);
    w->spans = NULL;
}

size_t compat_origin(const struct cspan *s, uint32_t n, size_t at)
{
    uint32_t lo = 0, hi = n;
    while (lo + 1 < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (s[mid].out_at <= at)
            lo = mid;
        else
            hi = mid;
    }
    if (!n)
        return at;
    size_t off = at > s[lo].out_at ? at - s[lo].out_at : 0;
    if (off > s[lo].n)
        off = s[lo].n;
    return s[lo].in_at + (s[lo].same ? off : 0);
}

uint32_t compat_after(const struct clex *l, uint32_t i)
{
    return l->t[i].at + l->t[i].n;
}

void compat_range(struct crewrite *w, uint32_t from, uint32_t to)
{
    const struct clex *l = w->l;
    if (from >= to || to > l->count)
        return;
    w->depth++;
    uint32_t copied = l->t[from].at;
    for (uint32_t i = from; i < to && !w->failed;) {
        if (l->t[i].kind == CT_QUOTED || (l->t[i].kind == CT_OP && l->t[i].op != '~' && l->t[i].op != '#')) {
            i++;
            continue;
        }
        compat_copy(w, copied, l->t[i].at);
        copied = l->t[i].at;
        size_t len = w->out.len;
        uint32_t spans = w->nspans;
        uint32_t used = w->rule(w, i);
        if (used && i + used <= to) {
            i += used;
            copied = compat_after(l, i - 1);
        } else { /* nothing, or more than belongs to this range: as it was */
            if (!w->failed)
                w->out.len = len;
            w->nspans = spans;
            if (spans && w->spans[spans - 1].out_at + w->spans[spans - 1].n >
                             len) /* the rule's copy was joined to it */
                w->spans[spans - 1].n = (uint32_t)(len - w->spans[spans - 1].out_at);
            i++;
        }
    }
    compat_copy(w, copied, l->t[to - 1].at + l->t[to - 1].n);
    w->depth--;
}

/* ---- templates ---- */

/*
 * A template is text in which $1..$9 stand for arguments, $* for all of them as written and $| for all of
 * them, each in brackets, with || between, $@ for all but the first as texts, $$ for a dollar. Each argument is used once, so that nothing grows with nesting and
 * every part keeps its place in the user's text.
 */
void compat_expand(struct crewrite *w, const char *t, uint32_t (*args)[2], uint32_t nargs, uint32_t i,
                   uint32_t close)
{
    uint32_t at = w->l->t[i].at;
    char piece[64];
    while (*t) {
        size_t n = strcspn(t, "$");
        if (n) {
            if (n >= sizeof piece)
                n = sizeof piece - 1;
            memcpy(piece, t, n);
            piece[n] = 0;
            compat_put(w, piece, at);
            t += n;
            continue;
        }
        t++;
        if (*t == '$') {
            compat_put(w, "$", at);
        } else if (*t == '*') {
            compat_range(w, i + 2, close);
        } else if (*t == '|') {
            for (uint32_t k = 0; k < nargs; k++) {
                compat_put(w, k ? "||(" : "(", at);
                compat_range(w, args[k][0], args[k][1]);
                compat_put(w, ")", at);
            }
        } else if (*t == '@') {
            for (uint32_t k = 1; k < nargs; k++) {
                compat_put(w, k > 1 ? ",CAST(" : "CAST(", at);
                compat_range(w, args[k][0], args[k][1]);
                compat_put(w, " AS VARCHAR)", at);
            }
        } else if (*t >= '1' && *t <= '9' && (uint32_t)(*t - '1') < nargs) {
            uint32_t k = (uint32_t)(*t - '1');
            compat_range(w, args[k][0], args[k][1]);
        }
        t++;
    }
}

/* Tokens used by the table's row for this call, 0 for none. */
uint32_t compat_table(struct crewrite *w, uint32_t i, const struct compat_template *table, size_t n)
{
    const struct clex *l = w->l;
    uint32_t args[64][2], nargs = UINT32_MAX;
    for (size_t k = 0; k < n; k++) {
        if (!compat_is(l, i, table[k].name))
            continue;
        if (nargs == UINT32_MAX)
            nargs = compat_args(l, i + 1, args, 64);
        if (nargs < table[k].min || nargs > table[k].max || nargs == UINT32_MAX)
            continue;
        compat_expand(w, table[k].template, args, nargs, i, l->t[i + 1].match);
        return l->t[i + 1].match + 1 - i;
    }
    return 0;
}
