/*
 * render: a whole finished result as the bytes of one format, with everything known before the first byte
 * leaves: how long it is, what lies where.
 *
 *   files (xlsx, parquet)       made by a render process (a confined child, docs/formats.md), complete before
 *                               anybody may read them, kept for a while as files without names
 *   text (csv, json, ...)       not stored: measured once (where which row begins), then encoded again for
 *                               whoever reads, from any byte on
 *
 * A `struct rendering` is one of those, of one result with one set of options; equal ones are shared, and the
 * work is done once. It starts with the first render_start, goes on while somebody holds it, and is canceled
 * render.linger after the last one let go. When it ends the query's version moves, so that a request can park
 * on the query (request_render in dialects/dialect.h does that).
 *
 * Typical use by a dialect, in a handler:
 *
 *     struct render_spec spec = {.file = WIRE_RENDER_XLSX, .options = {.profile = TEXT_KYLIN, .header = true}, .limit = UINT64_MAX};
 *     int rc = request_render(rq, q, &spec, self, 0, &e);       1 ready, 0 parked, < 0 failed
 *     if (rc == 0) return REPLY_PARK;
 *     if (rc > 0) { rendering_size(rq->rendering); or  rc = reply_rendering(rq, q, &e); return REPLY_READY; }
 *
 * and outside of requests (delivery thread): render_start, rendering_wait, rendering_write, rendering_close.
 */
#ifndef QUERN_CORE_RENDER_H
#define QUERN_CORE_RENDER_H

#include "core/service.h"
#include "engines/wire.h"

struct rendering;

struct render_spec {
    const struct encoder *encoder; /* a text format; NULL when `file` is set */
    uint8_t file;                  /* enum wire_render_format; WIRE_RENDER_NONE: text */
    struct encode_options options; /* text: all of them. Files: profile and header (xlsx) */
    uint64_t from, limit;          /* rows; limit UINT64_MAX = all */
    const char *codec;             /* parquet: one of render_codecs(); NULL = snappy */
    uint8_t version;               /* parquet: 1 or 2; 0 = 1 */
    bool plain;                    /* parquet: no dictionaries (for readers that know PLAIN only) */
    bool underscores;  /* parquet: names without characters that old readers refuse (unique_names.h) */
    const char *sheet; /* xlsx: name of the sheet; NULL = "query_result" */
};

/* Names of the codecs with '|' between them, for messages; and whether it is one. */
const char *render_codecs(void);
bool render_codec_known(const char *name);

/* (any) The rendering of result `ordinal` (UINT32_MAX: the shown one) of a FINISHED query: an equal one that
 * exists, or a new one that starts now. Texts of the spec are copied. The reference is the caller's.
 * ERR_CONFLICT (not finished, no rows), ERR_GONE, ERR_INVALID with 54000 (more rows or columns than the format
 * can hold), ERR_BUSY (too many wait: render.queue), ERR_NOMEM. */
int render_start(struct service *s, struct query *q, uint32_t ordinal, const struct render_spec *spec,
                 struct rendering **ret, struct err *e) MUST_USE;
/* (any) The same of a query that still RUNs, for somebody who will want all of its rows as that file: the process reads
 * rows as they are written, beside the query. Only while a render slot is free, and given up as soon as one is
 * wanted for a result that is complete, when the query ends badly, or when anything else fails: an attempt that costs
 * nobody anything. NULL: not now. The holder asks render_start once the query is FINISHED, which finds this
 * one or starts over, and closes this one after that. Nothing of it may be told before. */
struct rendering *render_follow(struct service *s, struct query *q, const struct render_spec *spec);
/* (any) 1 = ready: everything below may be asked; 0 = under way; < 0 why it failed (ERR_CANCELED, ERR_TIMEOUT,
 * ERR_LIMIT, ERR_ENGINE, ERR_CORRUPT, ...). A failed one is not kept: the next render_start tries again. */
int rendering_state(struct rendering *r, struct err *e) MUST_USE;
/* (any) 0..1000; -1 = waits for its turn. */
int rendering_permille(struct rendering *r);
/* (blocks) Until it is ready (0), failed, or the deadline (monotonic; ERR_WOULDBLOCK). */
int rendering_wait(struct rendering *r, int64_t deadline_ns, struct err *e) MUST_USE;
/* (any) Stops it for everybody. */
void rendering_cancel(struct rendering *r);
/* (any) Gives the reference back. NULL allowed. */
void rendering_close(struct rendering *r);

/* What a request parks on: the query whose version moves when it ends. Borrowed, lives as long as r. */
struct query *rendering_query(struct rendering *r);

/* ---- of one that is ready (any) ---- */
uint64_t rendering_size(const struct rendering *r);     /* bytes of the whole: Content-Length, file_status */
uint64_t rendering_unmapped(const struct rendering *r); /* characters that became '?' (GBK) */
/* "application/vnd...", with charset for text; lives as long as r. */
const char *rendering_media_type(const struct rendering *r);
const char *rendering_suffix(const struct rendering *r); /* ".xlsx" */
/* The part of an ETag that is this very file's: "" for text, whose bytes follow from the options. */
const char *rendering_tag(const struct rendering *r);
/* The options that go with encode_* (text). */
const struct render_spec *rendering_spec(const struct rendering *r);
/* File: its descriptor (owned by r; pread only). Text: -1. */
int rendering_fd(const struct rendering *r);
/* Text: the last row of the result that begins at or before byte `off`, and the byte where it begins. Row
 * `from` with byte 0 stands for the head. */
void rendering_seek(const struct rendering *r, uint64_t off, uint64_t *ret_row, uint64_t *ret_off);
/* (blocks) Gives all bytes in order to fn until it returns something else than 0, which is then returned. For
 * deliveries. */
int rendering_write(struct rendering *r, int (*fn)(void *arg, const void *p, size_t n, struct err *e),
                    void *arg, struct err *e) MUST_USE;

#endif
