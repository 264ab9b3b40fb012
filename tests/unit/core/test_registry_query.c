/* test_registry_query: what is written of a query comes back; rows change only in the ways that are legal;
 * lists, expiry, history. */
#include "core_test.h"

static struct arena *a;

static int setup(void **state)
{
    a = arena_new(8 << 20);
    return setup_place(state);
}

static int teardown(void **state)
{
    arena_free(a);
    return teardown_place(state);
}

static void assert_text(const char *got, const char *want)
{
    if (!want)
        assert_null(got);
    else
        assert_string_equal(got, want);
}

static struct query_record full(const struct place *p)
{
    static const uint8_t params[] = {1, 0, 2, 255};
    static const char sql[] = "SELECT '\0', \xed\x95\x9c";
    struct query_record q = record_of(p, 1764150000123);
    q.dialect = DIALECT_DATA360;
    q.profile = WIRE_PROFILE_PG;
    q.sql = sql;
    q.sql_len = sizeof sql - 1;
    q.params = params;
    q.params_len = sizeof params;
    q.default_source = "data_catalog";
    q.default_database = "main";
    q.timezone = "Asia/Seoul";
    q.language = "";
    q.bucket = "b";
    q.path = "x/y";
    q.request = "{\"a\":1}";
    q.row_limit = INT64_MAX;
    q.run_timeout_ms = 77;
    q.reuse = q.read_only = true;
    q.max_reuse_age_s = 60;
    q.script = SCRIPT | SCRIPT_GO_ON;
    q.keep_ms = -1;
    return q;
}

static void assert_same(const struct query_record *g, const struct query_record *w)
{
    assert_true(id_equal(&g->id, &w->id));
    assert_int_equal(g->workspace, w->workspace);
    assert_int_equal(g->user, w->user);
    assert_string_equal(g->workspace_name, "W");
    assert_string_equal(g->user_name, "U");
    assert_int_equal(g->dialect, w->dialect);
    assert_int_equal(g->state, w->state);
    assert_int_equal(g->phase, w->phase);
    assert_int_equal(g->ending, w->ending);
    assert_int_equal(g->profile, w->profile);
    assert_int_equal(g->kind, w->kind);
    assert_int_equal(g->sql_len, w->sql_len);
    assert_memory_equal(g->sql, w->sql, w->sql_len + 1);
    assert_int_equal(g->params_len, w->params_len);
    if (w->params)
        assert_memory_equal(g->params, w->params, w->params_len);
    else
        assert_null(g->params);
    assert_text(g->default_source, w->default_source);
    assert_text(g->default_database, w->default_database);
    assert_text(g->timezone, w->timezone);
    assert_text(g->language, w->language);
    assert_text(g->bucket, w->bucket);
    assert_text(g->path, w->path);
    assert_text(g->request, w->request);
    assert_int_equal(g->row_limit, w->row_limit);
    assert_int_equal(g->run_timeout_ms, w->run_timeout_ms);
    assert_int_equal(g->reuse, w->reuse);
    assert_int_equal(g->reused, w->reused);
    assert_int_equal(g->read_only, w->read_only);
    assert_int_equal(g->exposed, w->exposed);
    assert_int_equal(g->scanned, w->scanned);
    assert_int_equal(g->stored, w->stored);
    assert_int_equal(g->cut, w->cut);
    assert_int_equal(g->max_reuse_age_s, w->max_reuse_age_s);
    assert_int_equal(g->script, w->script);
    assert_int_equal(g->keep_ms, w->keep_ms);
    assert_int_equal(g->created_ms, w->created_ms);
    assert_int_equal(g->started_ms, w->started_ms);
    assert_int_equal(g->ended_ms, w->ended_ms);
    assert_int_equal(g->expires_ms, w->expires_ms);
    assert_int_equal(g->gone_ms, w->gone_ms);
    assert_int_equal(g->reused_created_ms, w->reused_created_ms);
    assert_int_equal(g->queued_ns, w->queued_ns);
    assert_int_equal(g->plan_ns, w->plan_ns);
    assert_int_equal(g->run_ns, w->run_ns);
    assert_int_equal(g->elapsed_ns, w->elapsed_ns);
    assert_int_equal(g->rows_scanned, w->rows_scanned);
    assert_int_equal(g->bytes_scanned, w->bytes_scanned);
    assert_int_equal(g->runs, w->runs);
    assert_int_equal(g->error != NULL, w->error != NULL);
    assert_int_equal(g->nresults, w->nresults);
}

static int get(struct place *p, const struct qid *id, struct query_record *ret)
{
    struct err e;
    return registry_get_query(p->r, id, a, ret, &e);
}

static struct schema *two_columns(void)
{
    struct schema *s = arena_alloc(a, sizeof *s);
    struct column *c = arena_alloc(a, 2 * sizeof *c);
    c[0] = (struct column){
        .name = "a", .detail = "INTEGER", .phys = PHYS_INT32, .sql = SQLT_INTEGER, .nullable = true};
    c[1] = (struct column){.name = "\xed\x95\x9c",
                           .detail = "DECIMAL(18,4)",
                           .phys = PHYS_DECIMAL,
                           .sql = SQLT_DECIMAL,
                           .precision = 18,
                           .scale = 4};
    *s = (struct schema){.ncolumns = 2, .columns = c};
    assert_int_equal(schema_number(s, NULL), 0);
    return s;
}

static void test_round_trip(void **state)
{
    struct place *p = *state;
    struct err e;
    struct query_record q = full(p), g;
    assert_int_equal(do_it(p, PUT, &q, 0, &e), 0);
    assert_int_equal(get(p, &q.id, &g), 0);
    assert_same(&g, &q);
    assert_int_equal(do_it(p, PUT, &q, 0, &e), ERR_CONFLICT);

    q.state = QUERY_RUNNING;
    q.runs = 2;
    q.started_ms = 1764150001000;
    assert_int_equal(do_it(p, RUN, &q, q.started_ms, &e), 0);
    assert_int_equal(do_it(p, EXPOSE, &q, 0, &e), 0);
    q.exposed = true;
    assert_int_equal(get(p, &q.id, &g), 0);
    assert_same(&g, &q);

    assert_int_equal(do_it(p, REQUEUE, &q, 0, &e), 0);
    q.state = QUERY_QUEUED;
    q.started_ms = 0;
    assert_int_equal(get(p, &q.id, &g), 0);
    assert_same(&g, &q);

    static const uint8_t index[] = {9, 8, 7}, body[] = {1, 2, 3, 4, 5};
    struct err why;
    err_clear(&why);
    err_set(&why, ERR_INVALID, "22012", "division by \"zero\" \xed\x95\x9c");
    memcpy(why.hint, "hint", 5);
    why.position = 7;
    why.position_end = 11;
    why.line = 2;
    why.column = 3;
    struct result r[3] = {
        {.ordinal = 0,
         .kind = WIRE_KIND_ROWS,
         .update_count = -1,
         .rows = UINT32_MAX + 5ull,
         .bytes = 1ull << 40,
         .schema = two_columns(),
         .sealed = true,
         .facts = {.file_size = 1ull << 41,
                   .stream_len = 1ull << 40,
                   .rows = UINT32_MAX + 5ull,
                   .nbatches = 300,
                   .footer_crc = 0xdeadbeef},
         .cut = true},
        {.ordinal = 1,
         .kind = RESULT_ERROR,
         .update_count = 42,
         .started_ms = 17,
         .ended_ms = 18,
         .error = &why},
        {.ordinal = 2,
         .kind = WIRE_KIND_ROWS,
         .update_count = -1,
         .rows = 1,
         .bytes = 5,
         .schema = two_columns(),
         .is_inline = true,
         .index = index,
         .index_len = 3,
         .body = body,
         .body_len = 5},
    };
    q.state = QUERY_FAILED;
    q.ending = END_SQL_ERROR;
    q.kind = WIRE_KIND_ROWS;
    q.reused = q.scanned = q.stored = q.cut = true;
    q.started_ms = 1764150002000;
    q.ended_ms = 1764150003000;
    q.expires_ms = 1764150004000;
    q.reused_created_ms = 5;
    q.queued_ns = 1;
    q.plan_ns = 2;
    q.run_ns = 3;
    q.elapsed_ns = INT64_MAX;
    q.rows_scanned = 1ull << 50;
    q.bytes_scanned = UINT64_MAX;
    q.runs = 3;
    q.error = &why;
    q.nresults = 3;
    q.results = r;
    assert_int_equal(do_it(p, END, &q, 0, &e), 0);
    place_close(p);
    assert_int_equal(place_open(p, &e), 0);
    assert_int_equal(get(p, &q.id, &g), 0);
    assert_same(&g, &q);
    assert_int_equal(g.error->code, why.code);
    assert_string_equal(g.error->sqlstate, why.sqlstate);
    assert_string_equal(g.error->text, why.text);
    assert_string_equal(g.error->hint, why.hint);
    assert_int_equal(g.error->position, 7);
    assert_int_equal(g.error->position_end, 11);
    assert_int_equal(g.error->line, 2);
    assert_int_equal(g.error->column, 3);
    for (uint32_t i = 0; i < 3; i++) {
        const struct result *x = &g.results[i];
        assert_int_equal(x->ordinal, i);
        assert_int_equal(x->kind, r[i].kind);
        assert_int_equal(x->update_count, r[i].update_count);
        assert_int_equal(x->rows, r[i].rows);
        assert_int_equal(x->bytes, r[i].bytes);
        assert_int_equal(x->sealed, r[i].sealed);
        assert_int_equal(x->is_inline, r[i].is_inline);
        assert_int_equal(x->cut, r[i].cut);
        assert_int_equal(x->facts.file_size, r[i].facts.file_size);
        assert_int_equal(x->facts.stream_len, r[i].facts.stream_len);
        assert_int_equal(x->facts.nbatches, r[i].facts.nbatches);
        assert_int_equal(x->facts.footer_crc, r[i].facts.footer_crc);
        assert_int_equal(x->facts.rows, r[i].rows);
        assert_int_equal(x->schema != NULL, r[i].schema != NULL);
        if (x->schema)
            assert_true(schema_equal(x->schema, r[i].schema));
        assert_int_equal(x->started_ms, r[i].started_ms);
        assert_int_equal(x->ended_ms, r[i].ended_ms);
        assert_int_equal(x->error != NULL, r[i].error != NULL);
        assert_int_equal(x->index_len, r[i].index_len);
        assert_int_equal(x->body_len, r[i].body_len);
    }
    assert_memory_equal(g.results[2].index, index, 3);
    assert_memory_equal(g.results[2].body, body, 5);
    assert_string_equal(g.results[1].error->text, why.text);
    assert_int_equal(g.results[1].error->position, 7);

    /* An ended row changes no more. */
    assert_int_equal(do_it(p, END, &q, 0, &e), ERR_CONFLICT);
    assert_int_equal(do_it(p, RUN, &q, 1, &e), ERR_CONFLICT);
    assert_int_equal(do_it(p, REQUEUE, &q, 1, &e), ERR_CONFLICT);
    assert_int_equal(get(p, &q.id, &g), 0);
    assert_same(&g, &q);

    assert_int_equal(do_it(p, GONE, &q, 99, &e), 0);
    assert_int_equal(do_it(p, GONE, &q, 100, &e), 0);
    q.gone_ms = 99;
    assert_int_equal(get(p, &q.id, &g), 0);
    assert_same(&g, &q);
    assert_false(g.results[2].is_inline);
    assert_int_equal(do_it(p, DELETE, &q, 0, &e), 0);
    assert_int_equal(get(p, &q.id, &g), ERR_NOTFOUND);
    assert_int_equal(do_it(p, END, &q, 0, &e), ERR_NOTFOUND);
}

/* An empty inline result is inline, results of the delivering phase are replaced. */
static void test_phases(void **state)
{
    struct place *p = *state;
    struct err e;
    struct query_record q = record_of(p, 5), g;
    struct result r = {.update_count = -1, .schema = two_columns(), .is_inline = true};
    assert_int_equal(do_it(p, PUT, &q, 0, &e), 0);
    q.state = QUERY_RUNNING;
    q.phase = PHASE_DELIVERING;
    q.results = &r;
    q.nresults = 1;
    assert_int_equal(do_it(p, END, &q, 0, &e), 0);
    assert_int_equal(get(p, &q.id, &g), 0);
    assert_int_equal(g.phase, PHASE_DELIVERING);
    assert_true(g.results[0].is_inline);
    q.state = QUERY_FINISHED;
    q.phase = PHASE_NONE;
    r.rows = 3;
    assert_int_equal(do_it(p, END, &q, 0, &e), 0);
    assert_int_equal(get(p, &q.id, &g), 0);
    assert_int_equal(g.nresults, 1);
    assert_int_equal(g.results[0].rows, 3);
}

static void test_arena_full(void **state)
{
    struct place *p = *state;
    struct err e;
    struct query_record q = full(p), g;
    assert_int_equal(do_it(p, PUT, &q, 0, &e), 0);
    for (size_t n = 0; n < 256; n += 16) {
        struct arena *small = arena_new(n);
        int rc = registry_get_query(p->r, &q.id, small, &g, &e);
        assert_true(rc == 0 || rc == ERR_NOMEM);
        if (rc == 0)
            assert_same(&g, &q);
        arena_free(small);
    }
}

/* Results of a script before its end: there at once, gone with a requeue, none after the end. */
static void test_early_results(void **state)
{
    struct place *p = *state;
    struct err e;
    struct query_record q = full(p), g;
    struct result r[2] = {{.ordinal = 0, .kind = WIRE_KIND_UPDATE, .update_count = 4},
                          {.ordinal = 1, .kind = WIRE_KIND_DDL, .update_count = -1}};
    q.results = r;
    assert_int_equal(do_it(p, PUT, &q, 0, &e), 0);
    assert_int_equal(do_it(p, RUN, &q, 5, &e), 0);
    for (q.nresults = 1; q.nresults < 3; q.nresults++) {
        assert_int_equal(do_it(p, RESULT, &q, 0, &e), 0);
        assert_int_equal(get(p, &q.id, &g), 0);
        assert_int_equal(g.nresults, q.nresults);
        assert_int_equal(g.state, QUERY_RUNNING);
    }
    assert_int_equal(g.results[0].update_count, 4);
    assert_int_equal(do_it(p, REQUEUE, &q, 0, &e), 0);
    assert_int_equal(get(p, &q.id, &g), 0);
    assert_int_equal(g.nresults, 0);
    q.nresults = 1;
    q.state = QUERY_FAILED;
    q.ended_ms = 7;
    assert_int_equal(do_it(p, END, &q, 0, &e), 0);
    assert_int_equal(do_it(p, RESULT, &q, 0, &e), ERR_CONFLICT);
    assert_int_equal(get(p, &q.id, &g), 0);
    assert_int_equal(g.nresults, 1);
    /* history retention leaves what is kept until it is deleted */
    struct qid *ids;
    size_t n;
    assert_int_equal(registry_historic(p->r, 1900000000000, 10, a, &ids, &n, &e), 0);
    for (size_t i = 0; i < n; i++)
        assert_false(id_equal(&ids[i], &q.id));
    assert_int_equal(do_it(p, GONE, &q, 8, &e), 0);
    bool found = false;
    assert_int_equal(registry_historic(p->r, 1900000000000, 10, a, &ids, &n, &e), 0);
    for (size_t i = 0; i < n; i++)
        found |= id_equal(&ids[i], &q.id);
    assert_true(found);
}

/* ---- lists ---- */

static uint64_t count(struct place *p, struct registry_list_filter f, struct qid **ret, size_t *ret_n)
{
    uint64_t total;
    struct err e;
    if (!f.workspace)
        f.workspace = p->workspace;
    if (!f.limit)
        f.limit = 100;
    if (!f.order_sql && !f.by_created)
        f.by_created = f.desc = true;
    assert_int_equal(registry_list(p->r, &f, a, ret, ret_n, &total, &e), 0);
    return total;
}

struct other {
    struct registry_write w;
    int64_t workspace, user;
};

static int other_apply(struct registry *r, struct registry_write *w, struct err *e)
{
    struct other *o = (struct other *)(void *)w;
    int rc = registry_put_workspace(r, "W2", &o->workspace, e);
    return rc ? rc : registry_put_user(r, "A'; DROP TABLE query; --", &o->user, e);
}

static void test_list(void **state)
{
    struct place *p = *state;
    struct err e;
    struct other o = {.w = {.apply = other_apply}};
    assert_int_equal(registry_do(p->r, &o.w, &e), 0);
    struct query_record q[10];
    static const char *const paths[10] = {"z", "y", "x", "w", "v", "u", "t", "s", "r", "q"};
    for (int i = 0; i < 10; i++) {
        q[i] = record_of(p, 1000 * (i + 1));
        if (i % 2)
            q[i].user = o.user;
        if (i == 9)
            q[i].workspace = o.workspace;
        if (i < 8)
            q[i].bucket = "b", q[i].path = paths[i];
        assert_int_equal(do_it(p, PUT, &q[i], 0, &e), 0);
    }
    for (int i = 0; i < 3; i++) {
        q[i].state = QUERY_CANCELED;
        q[i].elapsed_ns = 10 - i;
        assert_int_equal(do_it(p, END, &q[i], 0, &e), 0);
    }
    struct qid *ids;
    size_t n;
    assert_int_equal(count(p, (struct registry_list_filter){0}, &ids, &n), 9);
    assert_int_equal(n, 9);
    for (size_t i = 0; i < n; i++)
        assert_true(id_equal(&ids[i], &q[8 - i].id)); /* newest first */
    assert_int_equal(count(p, (struct registry_list_filter){.offset = 7, .limit = 5}, &ids, &n), 9);
    assert_int_equal(n, 2);
    assert_true(id_equal(&ids[1], &q[0].id));
    assert_int_equal(count(p, (struct registry_list_filter){.offset = UINT64_MAX, .limit = 5}, &ids, &n), 9);
    assert_int_equal(n, 0);
    assert_int_equal(count(p, (struct registry_list_filter){.workspace = o.workspace}, &ids, &n), 1);
    assert_int_equal(count(p, (struct registry_list_filter){.states = 1u << QUERY_CANCELED}, &ids, &n), 3);
    assert_int_equal(count(p,
                           (struct registry_list_filter){.states = 1u << QUERY_CANCELED | 1u << QUERY_QUEUED},
                           &ids, &n),
                     9);
    assert_int_equal(count(p, (struct registry_list_filter){.states = 1u << QUERY_RUNNING}, &ids, &n), 0);
    assert_int_equal(count(p, (struct registry_list_filter){.creator = "U"}, &ids, &n), 5);
    assert_int_equal(count(p, (struct registry_list_filter){.creator = "A'; DROP TABLE query; --"}, &ids, &n),
                     4);
    assert_int_equal(count(p, (struct registry_list_filter){.creator = "nobody"}, &ids, &n), 0);
    assert_int_equal(count(p, (struct registry_list_filter){.user = o.user, .creator = "U"}, &ids, &n), 0);
    assert_int_equal(count(p, (struct registry_list_filter){.id = &q[4].id}, &ids, &n), 1);
    assert_true(id_equal(&ids[0], &q[4].id));
    assert_int_equal(count(p, (struct registry_list_filter){.id = &q[9].id}, &ids, &n), 0);
    assert_int_equal(
        count(p, (struct registry_list_filter){.id = &q[4].id, .states = 1u << QUERY_CANCELED}, &ids, &n), 0);
    /* Every column that the service sorts by. */
    static const char *const orders[] = {"created_ms ASC", "id DESC",         "sql ASC",
                                         "state DESC",     "elapsed_ns DESC", "bytes_scanned ASC",
                                         "user_name ASC",  "storage_url ASC"};
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        char text[100];
        snprintf(text, sizeof text, "%s, created_ms DESC, id DESC", orders[i]);
        assert_int_equal(count(p, (struct registry_list_filter){.order_sql = text}, &ids, &n), 9);
        if (i == 0 || i == 4)
            assert_true(id_equal(&ids[0], &q[0].id));
        if (i == 6)
            assert_true(id_equal(&ids[0], &q[7].id));
        if (i == 7)
            assert_true(id_equal(&ids[0], &q[8].id) && id_equal(&ids[1], &q[7].id)); /* none, then b/s */
    }
}

/* ---- janitor and start ---- */

struct sealed {
    int n;
    struct qid id;
    uint32_t ordinal;
};

static void on_sealed(void *arg, const struct qid *id, uint32_t ordinal)
{
    struct sealed *s = arg;
    s->n++;
    s->id = *id;
    s->ordinal = ordinal;
}

static void test_janitor(void **state)
{
    struct place *p = *state;
    struct err e;
    struct query_record q[4];
    struct result r[4];
    for (int i = 0; i < 4; i++) {
        q[i] = record_of(p, 1000 * (4 - i));
        assert_int_equal(do_it(p, PUT, &q[i], 0, &e), 0);
        if (i == 3)
            break; /* stays queued */
        r[i] = (struct result){.ordinal = 2, .update_count = -1, .sealed = i == 0};
        q[i].state = QUERY_FINISHED;
        q[i].results = &r[i];
        q[i].nresults = 1;
        q[i].ended_ms = 10100 + i;
        q[i].expires_ms = i == 2 ? 0 : 200 + i;
        assert_int_equal(do_it(p, END, &q[i], 0, &e), 0);
    }
    struct qid *ids;
    size_t n;
    struct sealed s = {0};
    assert_int_equal(registry_unfinished(p->r, a, &ids, &n, &e), 0);
    assert_int_equal(n, 1);
    assert_true(id_equal(&ids[0], &q[3].id));
    assert_int_equal(registry_each_sealed(p->r, on_sealed, &s, &e), 0);
    assert_int_equal(s.n, 1);
    assert_true(id_equal(&s.id, &q[0].id));
    assert_int_equal(s.ordinal, 2);
    assert_int_equal(registry_expired(p->r, 199, 10, a, &ids, &n, &e), 0);
    assert_int_equal(n, 0);
    assert_int_equal(registry_expired(p->r, 201, 10, a, &ids, &n, &e), 0);
    assert_int_equal(n, 2);
    assert_int_equal(registry_expired(p->r, 201, 1, a, &ids, &n, &e), 0);
    assert_int_equal(n, 1);
    assert_int_equal(do_it(p, GONE, &q[0], 300, &e), 0);
    assert_int_equal(registry_expired(p->r, 300, 10, a, &ids, &n, &e), 0);
    assert_int_equal(n, 1);
    s.n = 0;
    assert_int_equal(registry_each_sealed(p->r, on_sealed, &s, &e), 0);
    assert_int_equal(s.n, 0);
    assert_int_equal(registry_historic(p->r, 10102, 10, a, &ids, &n, &e), 0);
    assert_int_equal(n, 2);
    assert_int_equal(registry_historic(p->r, 1000000, 10, a, &ids, &n, &e), 0);
    assert_int_equal(n, 3);
}

/* Readers beside the writer see whole states only. */
static void *reader_main(void *arg)
{
    struct place *p = arg;
    struct err e;
    for (int i = 0; i < 200; i++) {
        struct arena *mine = arena_new(1 << 20);
        struct qid *ids;
        size_t n;
        uint64_t total;
        struct registry_list_filter f = {.workspace = p->workspace, .limit = 1000};
        assert_int_equal(registry_list(p->r, &f, mine, &ids, &n, &total, &e), 0);
        assert_int_equal(n, total);
        if (n > 0) {
            struct query_record g;
            assert_int_equal(registry_get_query(p->r, &ids[0], mine, &g, &e), 0);
            assert_int_equal(g.nresults, g.state == QUERY_FINISHED ? 2 : 0);
        }
        arena_free(mine);
    }
    return NULL;
}

static void test_readers(void **state)
{
    struct place *p = *state;
    struct err e;
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, reader_main, p);
    struct result r[2] = {{.ordinal = 0, .update_count = 1}, {.ordinal = 1, .update_count = 2}};
    for (int i = 0; i < 100; i++) {
        struct query_record q = record_of(p, 1000 + i);
        assert_int_equal(do_it(p, PUT, &q, 0, &e), 0);
        q.state = QUERY_FINISHED;
        q.results = r;
        q.nresults = 2;
        assert_int_equal(do_it(p, END, &q, 0, &e), 0);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_round_trip), T(test_early_results), T(test_phases),
                                       T(test_arena_full), T(test_list),          T(test_janitor),
                                       T(test_readers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
