/*
 * driver: a small parent for tests of quern-engine: spawns it, speaks the wire, keeps the rows that come back
 * (checked by batch_check). Not for anything but tests: it asserts instead of handling errors. One thread.
 */
#ifndef QUERN_TESTS_ENGINES_DRIVER_H
#define QUERN_TESTS_ENGINES_DRIVER_H

#include <sys/types.h>

#include "base/arena.h"
#include "encoders/batch.h"
#include "engines/wire.h"

#define DRIVER_BATCH_MAX (16u << 20)

struct driver_batch {
    uint8_t *index, *body;
    uint32_t index_len;
    uint64_t body_len, rows;
};

struct driver {
    pid_t pid;
    int fd;
    struct arena *arena; /* of the engine's life */
    struct buf rx;
    size_t used;
    char private_dir[64];
    struct wire_ready ready;
    /* the last job */
    struct arena *job_arena;
    uint64_t job;
    struct wire_planned planned;
    struct wire_done done;
    struct wire_failed failed;
    struct wire_script script; /* npieces 1: the job did not end with SCRIPT */
    bool ok;                   /* ended with DONE */
    bool dead;                 /* the socket closed */
    struct driver_batch batches[512];
    unsigned nbatches, nbeats;
    bool keep;    /* keep and check batches, else count only */
    uint64_t sum; /* of the first INT64 column, when not kept */
    uint32_t slot;
};

struct driver_options {
    const char *catalog;
    bool write;
    uint32_t ndatasets;
    const struct wire_dataset *datasets;
    uint64_t memory_wall, spill_max, batch_max;
    int landlock_abi_max;
    bool selftest;
};

void driver_start(struct driver *d, const struct driver_options *o);
void driver_stop(struct driver *d);
/* Sends the job (job id filled in), runs it to its end. */
void driver_run(struct driver *d, struct wire_job *job);
/* driver_run of a text with the defaults data_catalog.main. */
void driver_sql(struct driver *d, const char *sql);
void driver_send_job(struct driver *d, struct wire_job *job);
/* Takes one frame; false when the job ended or the process is gone. */
bool driver_step(struct driver *d, int timeout_ms);
void driver_cancel(struct driver *d);
/* Value of the only INT-like column of the first row; text of a value as the neutral text. */
const char *driver_text(struct driver *d, uint32_t column, uint64_t row);
struct wire_job driver_job(const char *sql);

#endif
