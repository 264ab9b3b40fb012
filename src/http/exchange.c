/*
 * exchange: one request and its reply as a thing: made of the connection's spare memory, refused, freed. What happens
 * to it stands in admission.c, turn.c, answer.c and send.c, in this order (docs/http.md, "One request"):
 *
 *   framing -> size -> route -> credential -> role -> body -> handler (READY | DEFER | PARK, any number of times) -> reply
 *
 * Which thread owns it is said by where its connection is: suspended or not.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http/http_int.h"
#include "http/peers.h"

#define SPARE_BODY_MAX 2048u /* an idle connection keeps no larger reply buffer */

/* One block of memory, arena and reply buffer of a connection go from request to request, so that a poll does
 * not allocate. */
static struct exchange *from_spare(struct http_conn *c)
{
    struct exchange *x = c->spare;
    struct arena *arena = x->rq.arena;
    struct buf body = x->rq.reply.body;
    c->spare = NULL;
    memset(x, 0, sizeof *x);
    x->rq.arena = arena;
    x->rq.reply.body = body;
    return x;
}

static struct exchange *fresh(void)
{
    struct exchange *x = calloc(1, sizeof *x);
    struct arena *arena = arena_new(ARENA_CEILING);
    if (!x || !arena) {
        free(x);
        arena_free(arena);
        return NULL;
    }
    x->rq.arena = arena;
    buf_init(&x->rq.reply.body, REPLY_CEILING);
    return x;
}

struct exchange *exchange_new(struct server *s, struct http_conn *c, struct MHD_Connection *mhd)
{
    struct exchange *x = c->spare ? from_spare(c) : fresh();
    if (!x)
        return NULL;
    x->magic = EXCHANGE_MAGIC;
    x->server = s;
    x->conn = c;
    x->mhd = mhd;
    x->send_fd = -1;
    x->route_number = UINT32_MAX;
    x->rq.service = s->service;
    x->rq.http = x;
    x->rq.source = &http__request_source;
    x->rq.peer = c->peer;
    x->rq.reply.length = -1;
    return x;
}

enum park_reason exchange_unpark(struct exchange *x)
{
    enum park_reason why = park_end(x->park);
    x->park = NULL;
    if (why == PARK_GONE)
        metric_add(x->server->client_gone, 1); /* first: who sees that nothing is parked sees why */
    metric_add(x->server->parked, -1);
    return why;
}

void exchange_free(struct exchange *x)
{
    ASSERT(x->magic == EXCHANGE_MAGIC);
    x->magic = 0;
    if (x->park) /* woken by server_stop or by its client's end, and the library ended the connection before it
                    called us again */
        exchange_unpark(x);
    if (x->peer_counted)
        peers_remove(x->server->peers, x->address);
    if (x->streaming)
        stream_free(&x->stream);
    else if (x->rq.reply.streaming && x->rq.reply.rows.rows)
        rows_close(x->rq.reply.rows.rows);
    if (x->send_fd >= 0)
        close(x->send_fd);
    buf_free(&x->body);
    rendering_close(x->rq.rendering);
    rendering_close(x->rq.ahead);
    x->rq.rendering = x->rq.ahead = NULL;
    if (x->conn->spare || atomic_load_explicit(&x->server->stopping, memory_order_relaxed)) {
        buf_free(&x->rq.reply.body);
        arena_free(x->rq.arena);
        free(x);
        return;
    }
    arena_reset(x->rq.arena);
    if (x->rq.reply.body.cap > SPARE_BODY_MAX)
        buf_free(&x->rq.reply.body);
    else
        buf_reset(&x->rq.reply.body);
    x->conn->spare = x;
}

void exchange_free_spare(struct http_conn *c)
{
    if (!c->spare)
        return;
    buf_free(&c->spare->rq.reply.body);
    arena_free(c->spare->rq.arena);
    free(c->spare);
    c->spare = NULL;
}

/* ---- refusals ---- */

static void reset_reply(struct exchange *x)
{
    struct reply *r = &x->rq.reply;
    if (x->streaming) {
        stream_free(&x->stream);
        x->streaming = false;
    } else if (r->streaming && r->rows.rows) {
        rows_close(r->rows.rows);
    }
    struct buf body = r->body;
    memset(r, 0, sizeof *r);
    r->body = body;
    r->length = -1;
    buf_reset(&r->body);
}

void exchange_refuse(struct exchange *x, int status, const struct err *e)
{
    reset_reply(x);
    const struct dialect *d = x->rq.dialect ? x->rq.dialect : &dialect_neutral;
    d->error(&x->rq, status, e);
    if (!x->rq.reply.status)
        x->rq.reply.status = status;
    x->rq.reply.streaming = false;
}
