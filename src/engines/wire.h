/*
 * wire: what daemon and engine process say to each other, over one SOCK_STREAM socketpair (descriptor 3 of
 * the child).
 *
 * Frame: u32 length of payload, u8 type, 3 zero bytes, payload. Little endian. Each type has a ceiling; a
 * longer frame, an unknown type, a type out of turn, or a payload that does not decode exactly is a lie: the
 * daemon kills the process and the query ends with "engine lied". Descriptors (SCM_RIGHTS) travel only from
 * the daemon to the child, one per MEMFD frame, sent with the frame's first byte.
 *
 *   daemon -> child                                         child -> daemon
 *   SETUP   once: sandbox, catalog, limits                   READY   after SETUP: versions, sandbox level
 *   JOB     one statement (plan only, or run)                PLANNED statement kind, parameter count, schema
 *   MEMFD   slot + descriptor, credit of two                 BATCH   slot, rows, index length, body length
 *   CANCEL  interrupt the job (may come late: ignored)       BEAT    every 250 ms while a job runs: progress
 *   QUIT    leave now                                        DONE    totals, small result inline; the job is over
 *   RENDER  make a file of a stored result (render process)
 *   MORE    one batch more of a result that grows, or: that was all
 *                                                            FAILED  error; the job is over
 *                                                            WANT    so many batches may be told (credit)
 *                                                            SCRIPT  the text holds not one statement but these; the job is over, nothing ran
 *
 * A memfd holds the batch index at offset 0 (index_len bytes), zero padding to the next multiple of 64, then
 * the body. The daemon reads all of it into memory of its own before it looks, and then passes the memfd again
 * for the next batch, its old bytes still in it: the child writes every byte. Memory given and not used stays
 * with the child for its next job. Payload encoding: u8/u32/u64/i64 fixed little endian; text = u32 length
 * + bytes; see wire.c. Hostile bytes allowed in both readers; fuzzed.
 */
#ifndef QUERN_ENGINES_WIRE_H
#define QUERN_ENGINES_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "encoders/schema.h"
#include "results/segment.h"

#define WIRE_FD         3
#define WIRE_VERSION    1
#define WIRE_BEAT_MS    250
#define WIRE_SLOTS      2
#define WIRE_INLINE_MAX (64u * 1024u)

enum wire_type {
    WIRE_SETUP = 1,
    WIRE_JOB,
    WIRE_MEMFD,
    WIRE_CANCEL,
    WIRE_QUIT,
    WIRE_RENDER,
    WIRE_MORE,
    WIRE_READY = 32,
    WIRE_PLANNED,
    WIRE_BATCH,
    WIRE_BEAT,
    WIRE_DONE,
    WIRE_FAILED,
    WIRE_SCRIPT,
    WIRE_WANT
};

/* Largest payload of a type, 0 for an unknown one. SETUP 1 MiB, JOB 64 MiB, MEMFD 16, CANCEL 8, QUIT 0, RENDER
 * 66 MiB, MORE 16 MiB; READY 4 KiB, PLANNED 32 MiB, BATCH 64, BEAT 64, DONE WIRE_INLINE_MAX + 1 MiB (index of many columns), FAILED 16
 * KiB, SCRIPT 1 MiB, WANT 16. */
uint32_t wire_ceiling(enum wire_type t);

struct wire_dataset {
    const char *name;
    const char *path;
    const char *format; /* "parquet" | "csv" | "json" */
    bool folder;
};

struct wire_setup {
    uint32_t version;
    const char *private_dir;  /* rw: spill and nothing else; exists, empty, 0700 */
    const char *catalog_path; /* the workspace's DuckDB file, "" = none */
    bool catalog_write;       /* open it read-write (a writer) */
    uint32_t ndatasets;
    const struct wire_dataset *datasets; /* files the process may read; a writer makes the views */
    uint64_t memory_wall;                /* RLIMIT_DATA */
    uint64_t spill_max;
    uint64_t batch_max; /* ceiling of one memfd */
    uint32_t threads;
    int32_t landlock_abi_max;
    bool selftest; /* run the hostile list instead of serving; see sandbox.h */
    bool render;   /* no SQL in this process: it takes one RENDER. spill_max is the largest file then */
};

struct wire_ready {
    uint32_t version;
    int32_t landlock_abi;
    bool seccomp;
    const char *library; /* engine and version */
};

enum wire_profile {
    WIRE_PROFILE_PLAIN,
    WIRE_PROFILE_TRINO,
    WIRE_PROFILE_PG
}; /* semantics profile, design.md section 7 */

/* A typed parameter; value as text in the type's usual form (binary: hex). */
struct wire_param {
    const char *name; /* "" = by position */
    const char *type; /* SQL type name the engine can cast to */
    bool is_null;
    const char *value;
    uint32_t value_len;
};

/* A script (JackDB) is one job that asks what the text holds, then one job a statement in one session, then
 * one that ends the session. */
enum wire_step {
    WIRE_STEP_ONLY,    /* exactly one statement, with a session of its own */
    WIRE_STEP_SCRIPT,  /* one statement: as ONLY. None or several: SCRIPT */
    WIRE_STEP_NEXT,    /* one statement; the session stays for the next one */
    WIRE_STEP_COMMIT,  /* no text: ends the session and, with one_transaction, commits it. DONE */
    WIRE_STEP_ROLLBACK /* no text: ends the session, an open transaction is undone. DONE */
};
#define WIRE_PIECES_MAX 100000u

struct wire_job {
    uint64_t job;   /* echoed in every answer */
    bool plan_only; /* answer PLANNED, then DONE, run nothing */
    uint8_t profile;
    const char *sql;
    uint32_t sql_len;
    const char *default_catalog, *default_schema; /* both "" = unqualified names do not resolve */
    uint32_t nparams;
    const struct wire_param *params;
    int64_t row_limit;            /* -1 none; 0 = schema only */
    uint64_t max_rows, max_bytes; /* result limits; passing one is FAILED with 54000 */
    uint32_t inline_max;          /* a result whose index + body fit travels in DONE */
    const char *timezone;         /* "" = UTC */
    bool
        allow_write; /* statement may be DDL/DML on data_catalog; without catalog_write it is only planned: PLANNED with `writes`, then DONE */
    uint8_t step;    /* enum wire_step */
    bool
        one_transaction; /* NEXT: all statements of the session in one transaction, until COMMIT or ROLLBACK */
};

enum wire_kind {
    WIRE_KIND_ROWS,
    WIRE_KIND_TEXT /* EXPLAIN */,
    WIRE_KIND_SHOW /* SHOW, DESCRIBE */,
    WIRE_KIND_UPDATE,
    WIRE_KIND_DDL
};

/* What a render process makes of a stored result. */
enum wire_render_format { WIRE_RENDER_NONE, WIRE_RENDER_XLSX, WIRE_RENDER_PARQUET };
#define WIRE_RENDER_OUT "out" /* name of the file in the private folder; the daemon made it, empty */

/* One file of rows [from, from + limit) of a result. The segment's descriptor (read only) goes with the frame;
 * a small result comes inside it instead: then schema_len is not 0. Of a result that still grows the schema
 * comes too, limit is all, rows and facts are 0: batches are asked for by WANT and told by MORE, until one says
 * `last`. Answered by BEATs and DONE (rows) or FAILED; then the process is of no more use. */
struct wire_render {
    uint64_t job;
    uint8_t format;   /* enum wire_render_format */
    bool header;      /* xlsx: column names in the first row */
    bool plain;       /* parquet: no dictionaries */
    bool underscores; /* parquet: in names (unique_names.h) */
    bool grows;       /* its query still runs */
    uint8_t version;
    const char *codec, *sheet;
    const char *zone;           /* xlsx: whose clocks show timestamps with time zone; "" = UTC */
    uint64_t from, limit, rows; /* rows: that the file will hold */
    struct qid id;              /* of the segment */
    uint32_t ordinal;
    struct segment_facts facts; /* all 0 for a small result */
    uint32_t schema_len, index_len, body_len;
    const uint8_t *schema, *index, *body;
};

/* The next batch as segment_tell tells it; or (last) all have been told. */
struct wire_more {
    uint64_t job;
    bool last;
    uint32_t record_len, blocks_len;
    const uint8_t *record, *blocks;
};

struct wire_planned {
    uint64_t job;
    uint8_t kind;
    bool writes; /* changes data: a process without catalog_write goes no further than this */
    uint32_t nparams;
    uint64_t plan_ns;
    struct schema *schema; /* no columns for UPDATE and DDL */
};

struct wire_batch {
    uint64_t job;
    uint32_t slot;
    uint64_t rows;
    uint32_t index_len;
    uint64_t body_len;
};

struct wire_beat {
    uint64_t job;
    uint64_t rows_scanned, rows_total;
    int32_t permille; /* -1 unknown */
    uint64_t memory;
};

struct wire_done {
    uint64_t job;
    uint64_t rows;        /* of all batches, inline included */
    int64_t update_count; /* -1 none */
    uint64_t rows_scanned, bytes_scanned, run_ns;
    bool scanned;                 /* read at least one table or file */
    bool reusable;                /* the process may take another job */
    bool cut;                     /* row_limit cut the result */
    uint32_t index_len, body_len; /* inline batch, both 0 when there is none */
    const uint8_t *index, *body;
};

/* Statements of a script: bytes [at, at + n) of the job's text, in order, none overlapping. */
struct wire_piece {
    uint32_t at, n;
};
struct wire_script {
    uint64_t job;
    uint32_t npieces; /* never 1 */
    const struct wire_piece *pieces;
};

struct wire_failed {
    uint64_t job;
    struct err error; /* sqlstate, text (scrubbed of paths), position */
    uint32_t kind;    /* enum wire_failure */
    bool reusable;
};

enum wire_failure {
    WIRE_FAIL_SQL,
    WIRE_FAIL_REFUSED /* policy */,
    WIRE_FAIL_MEMORY,
    WIRE_FAIL_LIMIT,
    WIRE_FAIL_CANCELED,
    WIRE_FAIL_FATAL
};

/* Writers append a whole frame. ERR_LIMIT over the ceiling. */
int wire_put_setup(struct buf *b, const struct wire_setup *m) MUST_USE;
int wire_put_render(struct buf *b, const struct wire_render *m) MUST_USE;
int wire_put_more(struct buf *b, const struct wire_more *m) MUST_USE;
int wire_put_want(struct buf *b, uint64_t job, uint64_t batches) MUST_USE;
int wire_put_ready(struct buf *b, const struct wire_ready *m) MUST_USE;
int wire_put_job(struct buf *b, const struct wire_job *m) MUST_USE;
int wire_put_memfd(struct buf *b, uint64_t job, uint32_t slot) MUST_USE;
int wire_put_cancel(struct buf *b, uint64_t job) MUST_USE;
int wire_put_quit(struct buf *b) MUST_USE;
int wire_put_planned(struct buf *b, const struct wire_planned *m) MUST_USE;
int wire_put_batch(struct buf *b, const struct wire_batch *m) MUST_USE;
int wire_put_beat(struct buf *b, const struct wire_beat *m) MUST_USE;
int wire_put_done(struct buf *b, const struct wire_done *m) MUST_USE;
int wire_put_failed(struct buf *b, const struct wire_failed *m) MUST_USE;
int wire_put_script(struct buf *b, const struct wire_script *m) MUST_USE;

/* Readers take one payload; everything they return lives in `a` (or points into p for DONE's index and body).
 * ERR_CORRUPT on any deviation. */
int wire_get_setup(const uint8_t *p, size_t n, struct arena *a, struct wire_setup *ret) MUST_USE;
int wire_get_ready(const uint8_t *p, size_t n, struct arena *a, struct wire_ready *ret) MUST_USE;
int wire_get_job(const uint8_t *p, size_t n, struct arena *a, struct wire_job *ret) MUST_USE;
int wire_get_render(const uint8_t *p, size_t n, struct arena *a, struct wire_render *ret) MUST_USE;
/* record and blocks point into p. */
int wire_get_more(const uint8_t *p, size_t n, struct wire_more *ret) MUST_USE;
int wire_get_want(const uint8_t *p, size_t n, uint64_t *ret_job, uint64_t *ret_batches) MUST_USE;
int wire_get_memfd(const uint8_t *p, size_t n, uint64_t *ret_job, uint32_t *ret_slot) MUST_USE;
int wire_get_cancel(const uint8_t *p, size_t n, uint64_t *ret_job) MUST_USE;
int wire_get_planned(const uint8_t *p, size_t n, struct arena *a, struct wire_planned *ret) MUST_USE;
int wire_get_batch(const uint8_t *p, size_t n, struct wire_batch *ret) MUST_USE;
int wire_get_beat(const uint8_t *p, size_t n, struct wire_beat *ret) MUST_USE;
int wire_get_done(const uint8_t *p, size_t n, struct wire_done *ret) MUST_USE;
int wire_get_failed(const uint8_t *p, size_t n, struct wire_failed *ret) MUST_USE;
int wire_get_script(const uint8_t *p, size_t n, struct arena *a, struct wire_script *ret) MUST_USE;

/* Reads the 8-byte header. ERR_CORRUPT when type is unknown, reserved bytes are not zero or the length is
 * over the ceiling. */
int wire_header(const uint8_t h[8], enum wire_type *ret_type, uint32_t *ret_len) MUST_USE;

#endif
