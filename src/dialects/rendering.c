/*
 * rendering: how a request waits for a rendering (core/render.h) and answers with it. Any thread that owns the
 * request.
 */
#include "base/sys.h"
#include "dialects/dialect.h"

int request_render(struct request *rq, struct query *q, const struct render_spec *spec, handler_fn self,
                   int64_t deadline_ns, struct err *e)
{
    int rc = 0;
    if (!rq->rendering)
        rc = render_start(rq->service, q, UINT32_MAX, spec, &rq->rendering, e);
    rendering_close(rq->ahead); /* after that, so that it is found */
    rq->ahead = NULL;
    if (rc)
        return rc;
    struct query_view v;
    query_view(rendering_query(rq->rendering),
               &v); /* before its state is looked at: an end in between moves the version */
    rc = rendering_state(rq->rendering, e);
    if (rc)
        return rc;
    if (deadline_ns && sys_mono_ns() >= deadline_ns)
        return ERR_WOULDBLOCK;
    (void)request_park(rq, rendering_query(rq->rendering), 0, v.version, deadline_ns, self);
    return 0;
}

void request_render_ahead(struct request *rq, struct query *q, const struct render_spec *spec)
{
    if (!rq->ahead)
        rq->ahead = render_follow(rq->service, q, spec);
}

int reply_rendering(struct request *rq, struct query *q, struct err *e)
{
    struct reply *r = &rq->reply;
    const struct render_spec *spec = rendering_spec(rq->rendering);
    if (spec->encoder) {
        int rc = rows_open(rq->service, q, UINT32_MAX, &r->rows.rows, e);
        if (rc)
            return rc;
        r->rows.encoder = spec->encoder;
        r->rows.options = spec->options;
        r->rows.from = spec->from;
        r->rows.limit = spec->limit;
        r->rows.head = r->rows.tail = true;
    }
    r->status = 200;
    r->streaming = true;
    r->rendering = rq->rendering;
    r->length = (int64_t)rendering_size(rq->rendering);
    r->content_type = rendering_media_type(rq->rendering);
    return 0;
}
