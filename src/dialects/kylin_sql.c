/*
 * kylin_sql: OFFSET behind a statement (specs 2.4, as design.md section 7 decides it): appended as text, where
 * the statement is a query and has no OFFSET of its own at its top level, so that the engine sees one
 * statement, its LIMIT counts from there, and places in errors stay those of the user's text. Pure; any
 * thread; hostile bytes allowed.
 */
#include <string.h>

#include "dialects/kylin_int.h"
#include "dialects/sql_scan.h"

struct shape {
    bool query;  /* begins like one */
    bool offset; /* has one at its top level */
    bool several;
    size_t end; /* behind the last token that is no semicolon */
};

static bool begins_query(const struct sql_scan *s, struct sql_piece t)
{
    static const char *const words[] = {"SELECT", "WITH", "VALUES", "FROM", "TABLE"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (sql_piece_is(s, t, words[i]))
            return true;
    return false;
}

static struct shape scan(const char *sql, size_t n)
{
    struct shape f = {0};
    struct sql_scan s;
    sql_scan_init(&s, sql, n);
    size_t depth = 0;
    bool first = true, ended = false, as = false; /* as: the word before lets any word be a name */
    for (struct sql_piece t = sql_scan_next(&s); t.token != SQL_END; t = sql_scan_next(&s)) {
        char c = t.token == SQL_OTHER ? sql[t.at] : 0;
        if (t.token == SQL_SEMICOLON) {
            ended = true;
            continue;
        }
        f.several |= ended;
        f.end = t.at + t.n;
        if (first && c != '(') {
            f.query = t.token == SQL_WORD && begins_query(&s, t);
            first = false;
        }
        if (c == '(' || c == '[' || c == '{')
            depth++;
        else if ((c == ')' || c == ']' || c == '}') && depth)
            depth--;
        if (depth == 0 && !as && sql_piece_is(&s, t, "OFFSET"))
            f.offset = true;
        as = c == '.' || sql_piece_is(&s, t, "AS");
    }
    f.query &= depth == 0 && !as; /* the engine says what is wrong with it */
    return f;
}

const char *kylin__with_offset(struct arena *a, const char *sql, size_t n, int64_t offset, size_t *ret_len)
{
    struct shape f = offset > 0 ? scan(sql, n) : (struct shape){0};
    *ret_len = n;
    if (!f.query || f.offset || f.several)
        return sql;
    char *out = arena_alloc(a, f.end + 40);
    if (!out)
        return NULL;
    memcpy(out, sql, f.end);
    struct buf number = BUF_INIT(64);
    buf_printf(&number, "\nOFFSET %lld", (long long)offset);
    memcpy(out + f.end, number.p, number.len);
    *ret_len = f.end + number.len;
    out[*ret_len] = '\0';
    buf_free(&number);
    return out;
}
