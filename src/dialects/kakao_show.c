/*
 * kakao_show: a query's result page (specs 3.2) and the list of queries (specs 3.3).
 *
 * A page is written around rows that the http room streams: everything before queryData is the prefix,
 * everything after the rows the suffix. Keys stand in the order of the page's samples. Epochs are
 * milliseconds of whole seconds. Pages and lists are read on a worker.
 */
#include "dialects/kakao_int.h"
#include "dialects/trino.h"

#include <string.h>
#include <strings.h>

#include "base/utf8.h"

#define PREVIEW_MAX   300 /* code points of queryTextPreview */
#define WAIT_MAX_S    60
#define SIZE_DEFAULT  20
#define SIZE_MAX_LIST 2000
#define PAGE_MAX      INT32_MAX

static int64_t whole_second(int64_t ms)
{
    return ms - ms % 1000;
}

static void write_preview(struct json_write *w, const struct query_view *v)
{
    size_t at = 0;
    for (int i = 0; i < PREVIEW_MAX && at < v->sql_len; i++) {
        uint32_t cp;
        int n = utf8_next(v->sql + at, v->sql_len - at, &cp);
        at += (size_t)(n < 0 ? -n : n);
    }
    json_key(w, "queryTextPreview");
    json_strn(w, v->sql, at);
}

static bool is_scanned(const struct query_view *v)
{
    return v->scanned && !v->reused; /* a reuse hit reads nothing */
}

static void write_storage_url(struct json_write *w, struct arena *a, const struct query_view *v)
{
    const char *bucket = v->bucket ? v->bucket : "", *path = v->path ? v->path : "";
    size_t bn = strlen(bucket), pn = strlen(path);
    char *url = bn ? arena_alloc(a, bn + pn + 2) : NULL;
    if (url) {
        memcpy(url, bucket, bn);
        url[bn] = '/';
        memcpy(url + bn + 1, path, pn + 1);
    }
    json_kstr(w, "storageUrl", bn ? url : "");
}

static void write_size(struct json_write *w, const char *key, uint64_t bytes)
{
    char text[KAKAO_TEXT_MAX];
    json_kstr(w, key, kakao__size(bytes, text));
}

static void write_duration(struct json_write *w, const char *key, int64_t ns)
{
    char text[KAKAO_TEXT_MAX];
    json_kstr(w, key, kakao__duration(ns, text));
}

static int64_t progress_of(const struct query_view *v)
{
    if (v->state == QUERY_FINISHED)
        return 100;
    if (v->state == QUERY_QUEUED || !(v->progress > 0))
        return 0;
    return v->progress >= 0.99 ? 99 : (int64_t)(v->progress * 100);
}

/* The stages of a run follow one another, so their times add up to no more than the elapsed time. What the
 * engine reports as the run's begins with its planning. */
static void write_stages(struct json_write *w, const struct query_view *v)
{
    int64_t left = v->elapsed_ns > v->queued_ns ? v->elapsed_ns - v->queued_ns : 0;
    int64_t plan = v->plan_ns < left ? v->plan_ns : left;
    write_duration(w, "queryExecutionTime", v->run_ns > plan ? v->run_ns - plan : 0);
    write_duration(w, "elapsedTime", v->elapsed_ns);
    write_duration(w, "queuedTime", v->queued_ns);
    write_duration(w, "planningTime", plan);
}

static void write_stats(struct json_write *w, const struct query_view *v)
{
    json_key(w, "queryStats");
    json_object_begin(w);
    json_ki64(w, "progressPercentage", progress_of(v));
    json_key(w, "inputRows");
    json_u64(w, v->reused ? 0 : v->rows_scanned);
    write_size(w, "inputDataSize", v->reused ? 0 : v->bytes_scanned);
    json_key(w, "outputRows");
    json_u64(w, v->rows);
    write_size(w, "outputDataSize", v->bytes);
    json_ki64(w, "createdAt", whole_second(v->created_ms));
    if (v->ended_ms)
        json_ki64(w, "completedAt", whole_second(v->ended_ms));
    write_stages(w, v);
    json_object_end(w);
}

static void write_result_config(struct json_write *w, struct arena *a, const struct query_view *v)
{
    json_key(w, "resultConfig");
    json_object_begin(w);
    json_kstr(w, "bucketName", v->bucket ? v->bucket : "");
    json_kstr(w, "path", v->path ? v->path : "");
    write_storage_url(w, a, v);
    json_kstr(w, "storeType", kakao__is_text(v) ? "TEXT" : "BASIC");
    json_kbool(w, "isStored", v->state == QUERY_FINISHED && v->stored && v->bucket && *v->bucket);
    json_object_end(w);
}

static void write_reuse_config(struct json_write *w, const struct query_view *v)
{
    json_key(w, "reuseConfig");
    json_object_begin(w);
    json_kbool(w, "reuse", v->reuse);
    if (v->reuse) { /* counted from the creation of the query that ran, not from its end */
        int64_t from = v->reused && v->reused_created_ms ? v->reused_created_ms : v->created_ms;
        json_ki64(w, "expireAt", whole_second(from) + (int64_t)v->max_reuse_age_s * 1000);
    }
    json_object_end(w);
}

static int write_columns(struct json_write *w, const char *key, const struct schema *s)
{
    CLEANUP_BUF struct buf type = BUF_INIT(1 << 20);
    json_key(w, key);
    json_array_begin(w);
    for (uint32_t i = 0; s && i < s->ncolumns; i++) {
        buf_reset(&type);
        if (trino_type_name(&s->columns[i], &type))
            return ERR_LIMIT;
        json_object_begin(w);
        json_kstr(w, "name", s->columns[i].name);
        json_ki64(w, "index", (int64_t)i + 1); /* columns count from 1, pages from 0 */
        json_key(w, "type");
        json_strn(w, type.p, type.len);
        json_object_end(w);
    }
    json_array_end(w);
    return 0;
}

int kakao__plan(const struct query_view *v, struct arena *a, struct delivery_plan *ret, struct err *e)
{
    if (v->kind != WIRE_KIND_ROWS && v->kind != WIRE_KIND_TEXT)
        return 0; /* SHOW and the like have no file */
    char id[ID_TEXT_MAX];
    const char *path = v->path ? v->path : "", *slash = *path ? "/" : "";
    id_kakao(&v->id, id);
    *ret = (struct delivery_plan){
        .key = arena_printf(a, "%s%s%s.csv", path, slash, id),
        .metadata_key = arena_printf(a, "%s%s%s.metadata", path, slash, id),
        .encoder = encoder_find("csv"),
        .options = {.profile = TEXT_KAKAO, .header = true, .separator = "", .quote_all = true},
        .text_lines = true};
    return ret->key && ret->metadata_key ? 0 : err_no_memory(e);
}

int kakao__metadata(const struct query_view *v, struct buf *out)
{
    char id[ID_TEXT_MAX];
    struct json_write w = JSON_WRITE_INIT(out);
    json_object_begin(&w);
    json_kstr(&w, "queryId", id_kakao(&v->id, id));
    int r = write_columns(&w, "columns", v->schema);
    json_key(&w, "rowCount");
    json_u64(&w, v->rows);
    json_kstr(&w, "storeType", kakao__is_text(v) ? "TEXT" : "BASIC");
    json_ki64(&w, "createdAt", whole_second(v->created_ms));
    json_object_end(&w);
    return r ? r : buf_char(out, '\n');
}

/* ---- one page ---- */

struct page_state {
    uint64_t total;
    int64_t page;
};

static int page_totals(struct request *rq, uint64_t sent, struct buf *out)
{
    const struct page_state *st = rq->state;
    buf_str_add(out, ",\"totalPages\":");
    buf_u64(out, (st->total + KAKAO_PAGE_ROWS - 1) / KAKAO_PAGE_ROWS);
    buf_str_add(out, ",\"totalElements\":");
    buf_u64(out, st->total);
    buf_str_add(out, ",\"number\":");
    buf_i64(out, st->page);
    buf_str_add(out, ",\"size\":");
    buf_u64(out, KAKAO_PAGE_ROWS);
    buf_str_add(out, ",\"numberOfElements\":");
    buf_u64(out, sent);
    return buf_char(out, '}');
}

static enum handled write_page(struct request *rq, const struct query_view *v, struct rows *rows,
                               struct page_state *st)
{
    char id[ID_TEXT_MAX];
    struct err e;
    struct json_write w = reply_json(rq, 200);
    json_object_begin(&w);
    json_key(&w, "queryInfo");
    json_object_begin(&w);
    json_kstr(&w, "queryId", id_kakao(&v->id, id));
    json_kstr(&w, "state", kakao__state(v->state));
    write_stats(&w, v);
    write_preview(&w, v);
    json_kbool(&w, "isScanned", is_scanned(v));
    if (v->state == QUERY_FAILED)
        kakao__write_query_error(&w, rq->arena, v);
    json_object_end(&w);
    write_result_config(&w, rq->arena, v);
    write_reuse_config(&w, v);
    if (write_columns(&w, "columnData", v->state == QUERY_FINISHED ? v->schema : NULL)) {
        rows_close(rows);
        err_set(&e, ERR_LIMIT, "54000", "a type name of the result is too long");
        return reply_error(rq, 500, &e);
    }
    json_key(&w, "queryData");
    rq->state = st;
    uint64_t from = (uint64_t)st->page * KAKAO_PAGE_ROWS;
    if (!rows || from >= st->total) {
        rows_close(rows);
        json_array_begin(&w);
        json_array_end(&w);
        page_totals(rq, 0, w.b);
        return REPLY_READY;
    }
    struct reply_rows *out = &rq->reply.rows;
    out->rows = rows;
    out->encoder = encoder_find("rows");
    out->options = (struct encode_options){.profile = TEXT_KAKAO, .zone = zone_find(v->timezone)};
    out->from = from;
    out->limit = st->total - from < KAKAO_PAGE_ROWS ? st->total - from : KAKAO_PAGE_ROWS;
    out->head = out->tail = true;
    out->suffix = page_totals;
    rq->reply.streaming = true;
    rq->reply.length = -1;
    return REPLY_READY;
}

static bool has_rows(const struct query_view *v)
{
    return v->state == QUERY_FINISHED && v->schema && v->kind != WIRE_KIND_UPDATE &&
           v->kind != WIRE_KIND_DDL && v->rows && !v->gone_ms;
}

enum handled kakao__page(struct request *rq)
{
    struct err e;
    err_clear(&e);
    int64_t page, wait;
    int r = request_query_int(rq, "page", 0, 0, KAKAO_PAGES - 1, &page, &e);
    if (!r)
        r = request_query_int(rq, "wait", 0, 0, WAIT_MAX_S, &wait, &e);
    if (r)
        return reply_error(rq, 400, &e);
    struct query *q;
    enum handled ret;
    if (!request_found(rq, kakao__page, &q, &ret))
        return ret;
    if (request_hold(rq, q, wait * 1000, kakao__page, &ret))
        return ret;
    struct query_view v;
    query_view(q, &v);
    struct page_state *st = arena_alloc(rq->arena, sizeof *st);
    if (!st)
        return reply_no_memory(rq);
    st->page = page;
    struct rows *rows = NULL;
    if (has_rows(&v)) {
        uint64_t most = (uint64_t)KAKAO_PAGE_ROWS * KAKAO_PAGES;
        st->total = v.rows < most ? v.rows : most;
        if (!rq->may_block && (uint64_t)page * KAKAO_PAGE_ROWS < st->total && !rows_at_once(q))
            return request_defer(rq, kakao__page);
        if ((uint64_t)page * KAKAO_PAGE_ROWS < st->total) {
            r = rows_open(rq->service, q, UINT32_MAX, &rows, &e);
            if (r == ERR_GONE) /* deleted or expired meanwhile: 200 without rows */
                st->total = 0;
            else if (r)
                return reply_error(rq, reply_status_of(r), &e);
        }
    }
    return write_page(rq, &v, rows, st);
}

/* ---- list ---- */

/* Digits only; saturates. False when it is no number. */
static bool read_count(const char *s, int64_t most, int64_t *ret)
{
    int64_t v = 0;
    if (!*s)
        return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return false;
        v = v > (most - (*s - '0')) / 10 ? most : v * 10 + (*s - '0');
    }
    *ret = v;
    return true;
}

static int read_states(struct request *rq, uint32_t *ret, struct err *e)
{
    static const struct {
        const char *name;
        enum query_state state;
    } names[] = {
        {"QUEUED", QUERY_QUEUED}, {"RUNNING", QUERY_RUNNING},  {"FINISHED", QUERY_FINISHED},
        {"FAILED", QUERY_FAILED}, {"ABORTED", QUERY_CANCELED},
    };
    uint32_t states = 0;
    const char *value;
    for (uint32_t i = 0; (value = request_query(rq, "states", i)); i++) {
        while (*value) { /* repeated, or with commas */
            size_t n = strcspn(value, ",");
            uint32_t bit = 0;
            for (size_t k = 0; k < sizeof names / sizeof *names; k++)
                if (strlen(names[k].name) == n && memcmp(names[k].name, value, n) == 0)
                    bit = 1u << names[k].state;
            if (n && !bit)
                return err_set(e, ERR_INVALID, "22023",
                               "states must be QUEUED, RUNNING, FINISHED, ABORTED or FAILED");
            states |= bit;
            value += n + (value[n] == ',');
        }
    }
    *ret = states;
    return 0;
}

static bool sort_field(const char *p, size_t n, enum list_sort *ret)
{
    static const struct {
        const char *name;
        enum list_sort by;
    } names[] = {
        {"queryId", SORT_ID},
        {"queryTextPreview", SORT_TEXT},
        {"state", SORT_STATE},
        {"createdAt", SORT_CREATED},
        {"elapsedTime", SORT_ELAPSED},
        {"inputDataSize", SORT_SCANNED},
        {"scannedDataSize", SORT_SCANNED},
        {"creatorName", SORT_CREATOR},
        {"storageUrl", SORT_STORAGE},
    };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (strlen(names[k].name) == n && memcmp(names[k].name, p, n) == 0) {
            *ret = names[k].by;
            return true;
        }
    return false;
}

static bool word_is(struct slice s, const char *word)
{
    return s.n == strlen(word) && strncasecmp(s.p, word, s.n) == 0;
}

/* One sort value, Spring's grammar: field[,field...][,asc|desc][,ignorecase]. */
static int read_sort(const char *value, struct list_filter *f, struct err *e)
{
    struct slice parts[16];
    size_t n = 0;
    while (*value) {
        size_t len = strcspn(value, ",");
        if (len) {
            if (n == sizeof parts / sizeof *parts)
                return err_set(e, ERR_INVALID, "22023", "sort has too many fields");
            parts[n++] = (struct slice){value, len};
        }
        value += len + (value[len] == ',');
    }
    if (n && word_is(parts[n - 1], "ignorecase"))
        n--;
    bool desc = false;
    if (n && (word_is(parts[n - 1], "asc") || word_is(parts[n - 1], "desc")))
        desc = word_is(parts[--n], "desc");
    for (size_t i = 0; i < n; i++) {
        enum list_sort by;
        if (!sort_field(parts[i].p, parts[i].n, &by))
            return err_set(
                e, ERR_INVALID, "22023",
                "sort: no such field; use queryId, queryTextPreview, state, createdAt, elapsedTime, "
                "inputDataSize, creatorName or storageUrl");
        if (f->norders == sizeof f->orders / sizeof *f->orders)
            return err_set(e, ERR_INVALID, "22023", "sort has too many fields");
        f->orders[f->norders++] = (struct list_order){by, desc};
    }
    return 0;
}

static int read_filter(struct request *rq, struct list_filter *f, int64_t *ret_page, int64_t *ret_size,
                       struct err *e)
{
    int64_t page = 0, size = SIZE_DEFAULT;
    const char *text = request_query(rq, "page", 0);
    if (text && *text && (!read_count(text, (int64_t)PAGE_MAX + 1, &page) || page > PAGE_MAX))
        return err_set(e, ERR_INVALID, "22023", "page must be a number from 0");
    text = request_query(rq, "size", 0);
    if (text && *text && !read_count(text, SIZE_MAX_LIST + 1, &size))
        return err_set(e, ERR_INVALID, "22023", "size must be a number from 0");
    if (size == 0)
        size = SIZE_DEFAULT;
    if (size > SIZE_MAX_LIST)
        size = SIZE_MAX_LIST;
    int r = read_states(rq, &f->states, e);
    for (uint32_t i = 0; !r && (text = request_query(rq, "sort", i)); i++)
        r = read_sort(text, f, e);
    if (r)
        return r;
    text = request_query(rq, "creatorName", 0);
    f->creator = text && *text ? text : NULL;
    f->offset = (uint64_t)page * (uint64_t)size;
    f->limit = (uint32_t)size;
    *ret_page = page;
    *ret_size = size;
    return 0;
}

static void write_sort(struct json_write *w, bool sorted)
{
    json_key(w, "sort");
    json_object_begin(w);
    json_kbool(w, "unsorted", !sorted);
    json_kbool(w, "sorted", sorted);
    json_kbool(w, "empty", !sorted);
    json_object_end(w);
}

static void write_item(struct json_write *w, struct arena *a, struct query *q)
{
    struct query_view v;
    char id[ID_TEXT_MAX];
    query_view(q, &v);
    json_object_begin(w);
    json_key(w, "queryInfo");
    json_object_begin(w);
    json_kstr(w, "queryId", id_kakao(&v.id, id));
    json_kstr(w, "state", kakao__state(v.state));
    json_key(w, "queryStats");
    json_object_begin(w);
    write_size(w, "scannedDataSize", v.reused ? 0 : v.bytes_scanned);
    json_ki64(w, "createdAt", whole_second(v.created_ms));
    write_duration(w, "elapsedTime", v.elapsed_ns);
    json_object_end(w);
    write_preview(w, &v);
    json_kbool(w, "isScanned", is_scanned(&v));
    json_object_end(w);
    json_key(w, "resultConfig");
    json_object_begin(w);
    write_storage_url(w, a, &v);
    json_object_end(w);
    json_key(w, "reuseConfig");
    json_object_begin(w);
    json_kbool(w, "reuse", v.reuse);
    json_object_end(w);
    json_kstr(w, "creatorName", v.user_name ? v.user_name : "");
    json_object_end(w);
}

/* Spring's serialised page (specs 3.3): totals by arithmetic, past the end an empty page with the totals
 * unchanged. */
static void write_list(struct request *rq, const struct list *l, const struct list_filter *f, int64_t page,
                       int64_t size)
{
    uint64_t pages = (l->total + (uint64_t)size - 1) / (uint64_t)size;
    bool sorted = f->norders > 0;
    struct json_write w = reply_json(rq, 200);
    json_object_begin(&w);
    json_key(&w, "content");
    json_array_begin(&w);
    for (uint32_t i = 0; i < l->n; i++)
        write_item(&w, rq->arena, l->queries[i]);
    json_array_end(&w);
    json_key(&w, "pageable");
    json_object_begin(&w);
    json_ki64(&w, "pageNumber", page);
    json_ki64(&w, "pageSize", size);
    write_sort(&w, sorted);
    json_key(&w, "offset");
    json_u64(&w, f->offset);
    json_kbool(&w, "unpaged", false);
    json_kbool(&w, "paged", true);
    json_object_end(&w);
    json_key(&w, "totalPages");
    json_u64(&w, pages);
    json_key(&w, "totalElements");
    json_u64(&w, l->total);
    json_kbool(&w, "last", (uint64_t)page + 1 >= pages);
    json_ki64(&w, "numberOfElements", l->n);
    json_ki64(&w, "size", size);
    json_ki64(&w, "number", page);
    write_sort(&w, sorted);
    json_kbool(&w, "first", page == 0);
    json_kbool(&w, "empty", l->n == 0);
    json_object_end(&w);
}

enum handled kakao__list(struct request *rq)
{
    struct err e;
    err_clear(&e);
    struct list_filter f = {0};
    int64_t page = 0, size = 0;
    int r = read_filter(rq, &f, &page, &size, &e);
    if (r)
        return reply_error(rq, 400, &e);
    if (!rq->may_block)
        return request_defer(rq, kakao__list);
    const char *id_text = request_query(rq, "queryId", 0);
    struct qid id;
    if (id_text && *id_text) { /* unknown: 404; known but filtered out: an empty page */
        struct query *q;
        r = service_find(rq->service, &rq->who, id_text, strlen(id_text), true, &q, &e);
        if (r)
            return reply_error(rq, reply_status_of(r), &e);
        id = *query_id(q);
        f.id = &id;
        query_unref(q);
    }
    struct list l = {0};
    r = service_list(rq->service, &rq->who, &f, &l, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    write_list(rq, &l, &f, page, size);
    list_free(&l);
    return REPLY_READY;
}
