/*
 * segment: one file of row batches, immutable once sealed.
 *
 * File format (little endian), version 1:
 *   [Arrow schema message, neutral flavour]            offset 0, so that [0, stream_len) is a complete Arrow IPC stream
 *   [per batch: Arrow record batch message header + body (encoders/batch.h), each a multiple of 8 long]
 *   [8 bytes end-of-stream marker]                     stream_len ends here
 *   [schema, encoders/schema.h form]
 *   [per batch: u64 first_row, u64 rows, u64 header_off, u64 body_off, u64 body_len, u32 index_len, u32 0, batch index (encoders/batch.h)]
 *   [block checksums: u32 crc32c per 64 KiB block of [0, stream_len), last block shorter]
 *   [footer, 96 bytes: magic "QUERNSEG", u32 version, u32 flags, query id 16, u64 rows, u64 stream_len, u64 schema_off,
 *    u64 batches_off, u64 nbatches, u64 blocks_off, u32 result ordinal, u32 crc32c of [stream_len, footer), u32 0, u32 crc32c of the footer before it]
 * The manifest (registry) holds file size and the footer's last checksum, so a file of another query is found
 * out too.
 *
 * Reading: exact-range pread; a block of the stream part is verified at its first touch (a bitmap per open
 * segment remembers) and never served unverified. A bad block is ERR_CORRUPT ("the stored result is corrupt
 * (...)"), so is EIO from the disk, and counts quern_result_corrupt_total; never a wrong cell.
 */
#ifndef QUERN_RESULTS_SEGMENT_H
#define QUERN_RESULTS_SEGMENT_H

#include "base/id.h"
#include "encoders/batch.h"

#define SEGMENT_BLOCK 65536u

struct segment_facts { /* what the manifest keeps */
    uint64_t file_size, stream_len, rows, nbatches;
    uint32_t footer_crc;
};

/* ---- writer: one thread (the query's run worker), but readers of early rows may run beside it (below) ---- */
struct segment_writer;

/* Makes dir_fd/name (must not exist: ERR_CONFLICT) and writes the schema message. `s` is copied; dir_fd must
 * stay open as long as the writer. */
int segment_create(int dir_fd, const char *name, const struct qid *id, uint32_t ordinal,
                   const struct schema *s, struct segment_writer **ret, struct err *e) MUST_USE;
/* Appends a checked batch (batch_check passed). After a failed write the writer is dead: only free it. After
 * return its rows are readable through segment_view(). */
int segment_append(struct segment_writer *w, const struct batch_index *ix, const uint8_t *body,
                   struct err *e) MUST_USE;
/* Writes index and footer, fsyncs the file; the caller renames it and fsyncs the folder. */
int segment_seal(struct segment_writer *w, struct segment_facts *ret, struct err *e) MUST_USE;
/* Frees the writer; an unsealed file is removed by the caller. NULL allowed. */
void segment_writer_free(struct segment_writer *w);
uint64_t segment_written_bytes(const struct segment_writer *w);

/* ---- reader: shared, reference counted; any number of threads ---- */
struct segment;

/* Opens a sealed file and checks footer, trailer checksum and index against `facts`. ERR_CORRUPT, ERR_IO,
 * ERR_GONE when absent. */
int segment_open(int dir_fd, const char *name, const struct qid *id, uint32_t ordinal,
                 const struct segment_facts *facts, struct segment **ret, struct err *e) MUST_USE;
/* The same of an open descriptor, which it takes (also when it fails). For a render process, which has no path. */
int segment_open_fd(int fd, const struct qid *id, uint32_t ordinal, const struct segment_facts *facts,
                    struct segment **ret, struct err *e) MUST_USE;
/* A reader over what the writer has appended so far and will append (early rows): same interface; row and
 * batch counts grow. Stays valid after the writer is gone (own descriptor). */
int segment_view(struct segment_writer *w, struct segment **ret, struct err *e) MUST_USE;

/* ---- follower: another process reads a file that still grows. The writer's process tells it batch by batch
 * (segment_tell), so that it looks at nothing in the file that was not checked and written before; a block is
 * verified as soon as it is complete ---- */

/* (any) Of batch i of a view: its record, and the checksums of the blocks from *inout_block on that end with it
 * or before; *inout_block becomes the first that was not told. Both are appended. */
int segment_tell(struct segment *s, uint64_t i, uint64_t *inout_block, struct buf *record, struct buf *blocks,
                 struct err *e) MUST_USE;
/* (any) A descriptor of its own of the same file, read only. */
int segment_reopen(const struct segment *s, int *ret_fd, struct err *e) MUST_USE;
/* The follower's end: a reader without any batch yet, over an open descriptor, which it takes (also when it
 * fails). `schema` in the form of encoders/schema.h. */
int segment_follow(int fd, const struct qid *id, uint32_t ordinal, const void *schema, size_t schema_len,
                   struct segment **ret, struct err *e) MUST_USE;
/* (one thread, readers may run beside it) The next batch, as segment_tell tells it. ERR_CORRUPT. */
int segment_learn(struct segment *s, const void *record, size_t record_len, const void *blocks,
                  size_t blocks_len, struct err *e) MUST_USE;
/* (any) Batches before number i are not read again: what is kept of them in memory goes. */
void segment_forget(struct segment *s, uint64_t i);

/* A segment from an inline result in memory: schema + one batch, checked (batch_check) and copied. index_len
 * 0: no rows. */
int segment_inline(const struct qid *id, uint32_t ordinal, const struct schema *s, const void *index,
                   size_t index_len, const void *body, size_t body_len, struct segment **ret,
                   struct err *e) MUST_USE;
struct segment *segment_ref(struct segment *s);
void segment_unref(struct segment *s);

const struct schema *segment_schema(const struct segment *s);
uint64_t segment_rows(const struct segment *s);
uint64_t segment_nbatches(const struct segment *s);
/* Counts damage that was found elsewhere: by a render process, whose counters nobody reads, or a missing file. */
void segment_count_corrupt(void);
bool segment_inline_held(const struct segment *s); /* an inline one: reading it never blocks */
uint64_t segment_memory(const struct segment *s);  /* anonymous bytes held */
/* Row range of batch i. */
void segment_batch_rows(const struct segment *s, uint64_t i, uint64_t *ret_first, uint64_t *ret_rows);
/* Where a whole batch message (header + body) lies in the stream; and the stream's length and the schema
 * message's length. Inline segments have a stream too (built in memory). */
void segment_batch_range(const struct segment *s, uint64_t i, uint64_t *ret_off, uint64_t *ret_len);
uint64_t segment_stream_len(const struct segment *s);
uint64_t segment_schema_len(const struct segment *s);
/* Reads verified bytes of the stream. */
int segment_read(struct segment *s, uint64_t off, void *p, size_t n, struct err *e) MUST_USE;
/* Verifies [off, off+n) and returns the descriptor (owned by the segment) for sendfile, or -1 for an inline
 * segment. */
int segment_sendfile(struct segment *s, uint64_t off, uint64_t n, int *ret_fd, struct err *e) MUST_USE;

/* The descriptor of a sealed file (owned by the segment, read only), -1 for an inline one. */
int segment_fd(const struct segment *s);

/* Scratch memory of one worker thread for windows; grows to the largest window and shrinks at the next one
 * that needs much less. */
struct segment_scratch;
struct segment_scratch *segment_scratch_new(void); /* NULL: out of memory */
/* Gives back what is over 1 MiB and what it remembers; ends the last window. For a worker that goes idle. */
void segment_scratch_trim(struct segment_scratch *x);
void segment_scratch_free(struct segment_scratch *x);
/* Loads rows [first, ...) into a window: at most max_rows, at most about max_bytes (at least one row), never
 * across a batch. Only the exact byte ranges are read. The window is valid until the next call with the same
 * scratch. ERR_END when first >= rows. */
int segment_window(struct segment *s, uint64_t first, uint64_t max_rows, size_t max_bytes,
                   struct segment_scratch *x, struct window *ret, struct err *e) MUST_USE;

#endif
