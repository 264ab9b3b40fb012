/*
 * canner_request: what the handlers of the Canner dialect share: the error body, the workspace that a request must
 * name, the window of a list.
 */
#include "dialects/canner_int.h"

#include <strings.h>

/* ---- errors (specs/canner.md section 6) ---- */

const char *canner__code(int status)
{
    const char *word = reply_word(status);
    if (status == 401)
        return "UNAUTHENTICATED";
    if (status == 403)
        return "GRAPHQL_ADMISSION_CONTROL_FORBIDDEN"; /* the word its clients know */
    return word ? word : status >= 500 ? "INTERNAL_SERVER_ERROR" : "BAD_USER_INPUT";
}

static void write_body(struct request *rq, int status, const char *code, const char *text)
{
    struct json_write w = reply_json(rq, status);
    json_object_begin(&w);
    json_kstr(&w, "code", code);
    json_kstr(&w, "message", text);
    json_object_end(&w);
}

void canner__error(struct request *rq, int status, const struct err *e)
{
    write_body(rq, status, canner__code(status),
               e && e->text[0] ? e->text : "the request could not be answered");
}

enum handled canner__refuse(struct request *rq, int status, const char *code, const char *text)
{
    buf_reset(&rq->reply.body);
    write_body(rq, status, code, text);
    return REPLY_READY;
}

int canner__workspace(struct request *rq, const char *in_body, struct err *e)
{
    const char *id = in_body ? in_body : request_query(rq, "workspaceId", 0);
    if (!id || !*id)
        return err_set(e, ERR_INVALID, "22023", "workspaceId is required");
    if (strcasecmp(id, rq->who.workspace_uuid) != 0)
        return err_set(e, ERR_NOTFOUND, "02000", "workspace not found");
    return 0;
}

int canner__window(struct request *rq, uint64_t *ret_offset, uint64_t *ret_limit, struct err *e)
{
    int64_t limit = -1, offset = 0;
    int r = canner__workspace(rq, NULL, e);
    if (!r && request_query(rq, "limit", 0))
        r = request_query_int(rq, "limit", 0, 0, INT64_MAX, &limit, e);
    if (!r)
        r = request_query_int(rq, "offset", 0, 0, INT64_MAX, &offset, e);
    if (r)
        return r;
    *ret_offset = (uint64_t)offset;
    *ret_limit = limit < 0 ? UINT64_MAX : (uint64_t)limit;
    return 0;
}
