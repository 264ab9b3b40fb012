/*
 * fake_wire: the fake engine's side of the wire: frames in and out, and messages as a good engine sends them. State
 * is of the one job that runs; one thread.
 */
#ifndef QUERN_FAKE_WIRE_H
#define QUERN_FAKE_WIRE_H

#include "encoders/batch.h"
#include "engines/wire.h"

#define BATCH_ROWS 1000

extern struct wire_job job;
extern struct arena *job_arena;
extern int slot_fd[WIRE_SLOTS];
extern bool canceled;
extern bool asked_to_quit;

struct made {
    struct buf index, body;
    uint64_t rows;
};

void put(const void *p, size_t n);
void put_frame(struct buf *b, int rc);
enum wire_type get_frame(uint8_t **ret_p, uint32_t *ret_len, int *ret_fd);
void pump(int ms);
void planned(uint8_t kind);
void beat(void);
struct made make_rows(uint64_t first, uint64_t rows, const char *flaw);
void send_batch(uint32_t slot, uint64_t rows, uint32_t index_len, uint64_t body_len);
uint32_t fill(const struct made *m);
void made_free(struct made *m);
void batch(uint64_t first, uint64_t rows, const char *flaw);
void done_with(struct wire_done *m);
void done(uint64_t rows);
void done_inline(uint64_t rows, uint64_t said, const char *flaw);
void failed(uint32_t kind, const char *sqlstate, const char *text, bool reusable);
void raw_header(uint32_t len, uint8_t type, uint8_t reserved);

#endif
