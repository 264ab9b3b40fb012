/*
 * registry_list: pages of the history, at any size of it.
 *
 * A page costs what its rows cost, never what the history holds: the total comes from query_count (kept by
 * triggers), an order by creation walks one of four indexes and stops after the page, and what no index
 * serves is refused with the key that bounds it: list.max_sort for other orders, list.max_offset for far
 * pages. The index is chosen here, by the counts, and named in the statement, so that a growing history
 * cannot change the plan. Statement texts are made of constants only. Any thread that may block.
 */
#include <sqlite3.h>
#include <string.h>

#include "base/config.h"
#include "core/registry_int.h"

#define LIST_SQL_MAX 4096

static struct sqlite3_stmt *prepare(struct reg_conn *c, const struct registry_list_filter *f, int64_t user,
                                    struct buf *text, struct err *e)
{
    struct sqlite3_stmt *st = NULL;
    const char *sql = buf_str(text);
    int rc = sql ? sqlite3_prepare_v2(c->db, sql, -1, &st, NULL) : SQLITE_NOMEM;
    if (rc != SQLITE_OK) {
        registry__error(c->db, rc, e);
        return NULL;
    }
    /* A parameter that the text does not have is refused by the library, without effect. */
    sqlite3_bind_int64(st, 1, f->workspace);
    sqlite3_bind_int64(st, 2, f->states);
    sqlite3_bind_int64(st, 3, user);
    if (f->id)
        sqlite3_bind_blob(st, 4, f->id->b, sizeof f->id->b, SQLITE_STATIC);
    sqlite3_bind_int64(st, 5, f->limit);
    sqlite3_bind_int64(st, 6, (int64_t)f->offset);
    sqlite3_bind_int64(st, 7, f->there_ms);
    return st;
}

static int number(struct reg_conn *c, const struct registry_list_filter *f, int64_t user, struct buf *text,
                  int64_t *ret, struct err *e)
{
    struct sqlite3_stmt *st = prepare(c, f, user, text, e);
    if (!st)
        return e && e->code ? e->code : ERR_INTERNAL;
    int rc = registry__row(c, st, e);
    *ret = rc > 0 ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_finalize(st);
    return rc < 0 ? rc : 0;
}

/* Queries of the workspace, of the user when user > 0, in the states when `by_state`. */
static int count(struct reg_conn *c, const struct registry_list_filter *f, int64_t user, bool by_state,
                 int64_t *ret, struct err *e)
{
    CLEANUP_BUF struct buf b = BUF_INIT(LIST_SQL_MAX);
    buf_str_add(&b, "SELECT sum(n) FROM query_count WHERE workspace = ?1");
    if (by_state && f->states)
        buf_str_add(&b, " AND (?2 >> state) & 1");
    if (user > 0)
        buf_str_add(&b, " AND user = ?3");
    return number(c, f, user, &b, ret, e);
}

/* The user to filter by: 0 none, -1 nobody matches. */
static int find_user(struct reg_conn *c, const struct registry_list_filter *f, int64_t *ret, struct err *e)
{
    *ret = f->user;
    if (!f->creator)
        return 0;
    struct sqlite3_stmt *st = registry__stmt(c, REG_USER_FIND, e);
    if (!st)
        return e && e->code ? e->code : ERR_INTERNAL;
    sqlite3_bind_text(st, 1, f->creator, -1, SQLITE_STATIC);
    int rc = registry__row(c, st, e);
    int64_t id = rc > 0 ? sqlite3_column_int64(st, 0) : -1;
    sqlite3_reset(st);
    *ret = f->user && f->user != id ? -1 : id;
    return rc < 0 ? rc : 0;
}

static bool one_bit(uint32_t states)
{
    return states && !(states & (states - 1));
}

/* The index that holds the fewest rows to walk for this filter. */
static int choose(struct reg_conn *c, const struct registry_list_filter *f, int64_t user, const char **ret,
                  struct err *e)
{
    int64_t of_user = INT64_MAX, of_state = INT64_MAX;
    *ret = "query_there";
    if (f->there_ms)
        return 0;
    int rc = user > 0 ? count(c, f, user, false, &of_user, e) : 0;
    if (!rc && one_bit(f->states))
        rc = count(c, f, 0, true, &of_state, e);
    *ret = of_user < of_state ? "query_by_user" : of_state < INT64_MAX ? "query_by_state" : "query_newest";
    return rc;
}

static void where(const struct registry_list_filter *f, int64_t user, struct buf *b)
{
    buf_str_add(b, " WHERE workspace = ?1");
    /* An equality lets an index walk in the order of creation; a set of bits cannot. */
    if (one_bit(f->states))
        buf_printf(b, " AND state = %d", __builtin_ctz(f->states));
    else if (f->states)
        buf_str_add(b, " AND (?2 >> state) & 1");
    if (user > 0)
        buf_str_add(b, " AND user = ?3");
    if (f->id)
        buf_str_add(b, " AND id = ?4");
    if (f->there_ms)
        buf_str_add(b, " AND gone_ms = 0 AND (expires_ms = 0 OR expires_ms > ?7)");
}

static int page(struct reg_conn *c, const struct registry_list_filter *f, int64_t user, struct arena *a,
                struct qid **ret_ids, size_t *ret_n, struct err *e)
{
    const char *index;
    int rc = choose(c, f, user, &index, e);
    if (rc)
        return rc;
    CLEANUP_BUF struct buf b = BUF_INIT(LIST_SQL_MAX);
    buf_str_add(&b, "SELECT id");
    if (!f->by_created)
        buf_str_add(
            &b,
            ", (SELECT name FROM user WHERE user.id = query.user) AS user_name,"
            " CASE WHEN bucket IS NULL THEN '' ELSE bucket || '/' || coalesce(path, '') END AS storage_url");
    buf_str_add(&b, " FROM query");
    if (!f->id)
        buf_printf(&b, " INDEXED BY %s", index);
    where(f, user, &b);
    const char *way = f->desc ? "DESC" : "ASC";
    if (f->by_created)
        buf_printf(&b, " ORDER BY created_ms %s, seq %s", way, way);
    else
        buf_printf(&b, " ORDER BY %s", f->order_sql);
    buf_str_add(&b, " LIMIT ?5 OFFSET ?6");
    struct sqlite3_stmt *st = prepare(c, f, user, &b, e);
    if (!st)
        return e && e->code ? e->code : ERR_INTERNAL;
    rc = registry__collect(c, st, a, ret_ids, ret_n, e);
    sqlite3_finalize(st);
    return rc;
}

static int bounded(const struct registry_list_filter *f, int64_t total, struct err *e)
{
    if (f->offset < (uint64_t)total && f->offset > (uint64_t)config.list_max_offset)
        return err_set(e, ERR_INVALID, "54000",
                       "the page begins beyond query %lld of the list (list.max_offset): narrow the list by "
                       "states or creatorName",
                       (long long)config.list_max_offset);
    if (!f->by_created && total > config.list_max_sort)
        return err_set(e, ERR_INVALID, "54000",
                       "%lld queries are too many to sort by this field (list.max_sort is %lld): sort by "
                       "createdAt, or narrow the list by states or creatorName",
                       (long long)total, (long long)config.list_max_sort);
    return 0;
}

static int run(struct reg_conn *c, const struct registry_list_filter *f, struct arena *a,
               struct qid **ret_ids, size_t *ret_n, int64_t *ret_total, struct err *e)
{
    int64_t user;
    int rc = find_user(c, f, &user, e);
    if (rc || user < 0)
        return rc;
    if (f->id) {
        CLEANUP_BUF struct buf b = BUF_INIT(LIST_SQL_MAX);
        buf_str_add(&b, "SELECT count(*) FROM query");
        where(f, user, &b);
        rc = number(c, f, user, &b, ret_total, e);
    } else {
        rc = count(c, f, user, true, ret_total, e);
    }
    if (!rc)
        rc = bounded(f, *ret_total, e);
    if (rc || f->offset >= (uint64_t)*ret_total || f->limit == 0)
        return rc;
    return page(c, f, user, a, ret_ids, ret_n, e);
}

int registry_list(struct registry *r, const struct registry_list_filter *f, struct arena *a,
                  struct qid **ret_ids, size_t *ret_n, uint64_t *ret_total, struct err *e)
{
    struct reg_conn *c;
    int rc = registry__reader(r, &c, e);
    if (rc)
        return rc;
    int64_t total = 0;
    struct qid *ids = NULL;
    size_t n = 0;
    rc = registry__read_begin(c, e);
    if (!rc)
        rc = run(c, f, a, &ids, &n, &total, e);
    registry__read_end(r, c);
    if (rc)
        return rc;
    *ret_ids = ids;
    *ret_n = n;
    *ret_total = (uint64_t)total;
    return 0;
}
