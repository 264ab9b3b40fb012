/*
 * canner_files: a result as Parquet files behind signed links, as Canner's Python client reads it (specs/canner.md
 * sections 5 and 8).
 *
 * `.../query/{id}/result/signedUrls` names the files: each holds canner.part_rows consecutive rows, so that a client
 * may stop early. A file's link carries its end and a mark over id, part, rows of a part and end; it is fetched
 * without a credential. What was altered or is over is 403, a result that went is 404. The files are what that
 * client's old reader knows: format version 1, gzip, plain encoding; they are made at the first fetch and kept for a
 * while (core/render.h).
 */
#include <string.h>

#include "base/config.h"
#include "base/sys.h"
#include "core/render.h"
#include "dialects/canner_int.h"

#define PARTS_MAX 10000

/* ---- the words of a link ---- */

/* Digits without a leading zero. Bytes read; 0 = none. */
static size_t read_digits(const char *s, size_t n, uint64_t most, uint64_t *ret)
{
    uint64_t v = 0;
    size_t i = 0;
    for (; i < n && s[i] >= '0' && s[i] <= '9'; i++) {
        uint64_t digit = (uint64_t)(s[i] - '0');
        if ((i == 1 && v == 0) || v > (most - digit) / 10)
            return 0;
        v = v * 10 + digit;
    }
    *ret = v;
    return i;
}

bool canner__read_part(const char *s, size_t n, uint32_t *ret)
{
    static const char before[] = "part-", behind[] = ".parquet";
    size_t nb = sizeof before - 1, ne = sizeof behind - 1;
    uint64_t v;
    if (n <= nb + ne || memcmp(s, before, nb) != 0 || memcmp(s + n - ne, behind, ne) != 0 ||
        read_digits(s + nb, n - nb - ne, UINT32_MAX, &v) != n - nb - ne)
        return false;
    *ret = (uint32_t)v;
    return true;
}

bool canner__read_expiry(const char *s, int64_t *ret)
{
    uint64_t v;
    size_t n = strlen(s);
    if (n == 0 || read_digits(s, n, INT64_MAX / 1000, &v) != n)
        return false;
    *ret = (int64_t)v;
    return true;
}

bool canner__host_ok(const char *s)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
                  c == '-' || c == '_' || c == ':' || c == '[' || c == ']';
        if (!ok)
            return false;
    }
    return n > 0 && n <= 255;
}

/* What the mark is over. */
static const char *link_text(struct arena *a, const struct qid *id, uint32_t part, int64_t expires_s)
{
    char text[ID_TEXT_MAX];
    return arena_printf(a, "canner part %s %u %lld %lld", id_uuid(id, text), part,
                        (long long)config.canner_part_rows, (long long)expires_s);
}

/* ---- the links ---- */

/* "http://host:port", "" when the request does not say. */
static const char *origin(struct request *rq)
{
    const char *host = request_header(rq, "Host"), *url;
    if (config.http_public_url[0])
        return config.http_public_url;
    if (!host || !canner__host_ok(host))
        return "";
    url = arena_printf(rq->arena, "%s://%s", config.http_tls_certificate[0] ? "https" : "http", host);
    return url ? url : "";
}

static enum handled answer_urls(struct request *rq, const struct query_view *v)
{
    char id[ID_TEXT_MAX], mark[LINK_MARK_LEN + 1];
    const char *base = origin(rq), *prefix = strncmp(rq->path, "/web/", 5) == 0 ? "/web" : "";
    int64_t expires_s = (sys_wall_ms() + config.canner_link_age + 999) / 1000;
    uint64_t size = (uint64_t)config.canner_part_rows,
             parts = v->schema ? v->rows / size + (v->rows % size != 0) : 0;
    struct err e;
    if (parts > PARTS_MAX) {
        err_set(&e, ERR_INVALID, "54000", "the result has more than %d parts: raise canner.part_rows",
                PARTS_MAX);
        return reply_error(rq, 400, &e);
    }
    struct json_write w = reply_json(rq, 200);
    json_object_begin(&w);
    json_key(&w, "signedUrls");
    json_array_begin(&w);
    for (uint32_t i = 0; i < (uint32_t)parts && !buf_failed(w.b); i++) {
        const char *text = link_text(rq->arena, &v->id, i, expires_s);
        if (!text)
            return reply_no_memory(rq);
        service_link(rq->service, text, strlen(text), mark);
        const char *url =
            arena_printf(rq->arena, "%s%s/api/v1/result/%s/part-%u.parquet?expires=%lld&signature=%s", base,
                         prefix, id_uuid(&v->id, id), i, (long long)expires_s, mark);
        if (!url)
            return reply_no_memory(rq);
        json_str(&w, url);
    }
    json_array_end(&w);
    json_object_end(&w);
    return REPLY_READY;
}

enum handled canner__signed_urls(struct request *rq)
{
    struct err e;
    struct query *q;
    struct query_view v;
    enum handled ret;
    err_clear(&e);
    int r = canner__workspace(rq, NULL, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    if (!canner__result(rq, canner__signed_urls, &q, &v, &ret))
        return ret;
    return answer_urls(rq, &v);
}

/* ---- a file ---- */

/* True: the link is good. */
static bool check_link(struct request *rq, uint32_t *ret_part, enum handled *ret)
{
    const char *expires = request_query(rq, "expires", 0), *mark = request_query(rq, "signature", 0),
               *text = NULL;
    struct qid id;
    int64_t until;
    bool good = expires && mark && canner__read_expiry(expires, &until) &&
                canner__read_part(rq->params[1].p, rq->params[1].n, ret_part) &&
                id_parse(rq->params[0].p, rq->params[0].n, &id) &&
                (text = link_text(rq->arena, &id, *ret_part, until)) &&
                service_linked(rq->service, text, strlen(text), mark, strlen(mark));
    if (!good)
        *ret = canner__refuse(rq, 403, "LINK_INVALID", "the link is not one of this server, or was altered");
    else if (sys_wall_ms() >= until * 1000)
        *ret = canner__refuse(rq, 403, "LINK_EXPIRED",
                              "the link has expired: ask for new ones (canner.link_age)");
    else
        return true;
    return false;
}

static enum handled send_part(struct request *rq, struct query *q, uint32_t part)
{
    struct err e;
    struct query_view v;
    char id[ID_TEXT_MAX];
    err_clear(&e);
    query_view(q, &v);
    struct render_spec spec = {.file = WIRE_RENDER_PARQUET,
                               .options = {.profile = TEXT_CANNER},
                               .codec = "gzip",
                               .version = 1,
                               .plain = true,
                               .from = (uint64_t)part * (uint64_t)config.canner_part_rows,
                               .limit = (uint64_t)config.canner_part_rows};
    int r = request_render(rq, q, &spec, canner__part, 0, &e);
    if (r == 0)
        return REPLY_PARK;
    if (r > 0)
        r = reply_rendering(rq, q, &e);
    if (r == ERR_GONE)
        return canner__refuse(rq, 404, "RESULT_EXPIRED", e.text);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    id_uuid(&v.id, id);
    rq->reply.etag = arena_printf(rq->arena, "\"%s.%u-%s\"", id, part, rendering_tag(rq->rendering));
    const char *name = arena_printf(rq->arena, "%s-part-%u.parquet", id, part);
    reply_attachment(rq, name ? name : id);
    /* who reads is not known; whose it is, is */
    if (v.workspace_name && strlen(v.workspace_name) < sizeof rq->who.workspace_name)
        memcpy(rq->who.workspace_name, v.workspace_name, strlen(v.workspace_name) + 1);
    return REPLY_READY;
}

/* What a good link asked for; kept while it is parked, so that one that came in time is served. */
struct part {
    struct query *query;
    uint32_t number;
};

static enum handled find_part(struct request *rq)
{
    struct err e;
    enum handled refused;
    struct part p;
    err_clear(&e);
    if (!check_link(rq, &p.number, &refused))
        return refused;
    int r = service_find_linked(rq->service, rq->params[0].p, rq->params[0].n, rq->may_block, &p.query, &e);
    if (r == ERR_WOULDBLOCK)
        return request_defer(rq, canner__part);
    if (r == ERR_NOTFOUND)
        return canner__refuse(rq, 404, "RESULT_EXPIRED", "the query has left the history");
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    struct part *kept = arena_alloc(rq->arena, sizeof *kept);
    if (!request_own_query(rq, p.query) || !kept)
        return reply_no_memory(rq);
    *kept = p;
    rq->state = kept;
    return send_part(rq, p.query, p.number);
}

enum handled canner__part(struct request *rq)
{
    const struct part *p = rq->state;
    return p ? send_part(rq, p->query, p->number) : find_part(rq);
}
