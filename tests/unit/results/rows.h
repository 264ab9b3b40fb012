/*
 * Rows for the tests of results/: schemas with every physical type, random batches, and the text of a cell by
 * which windows are compared. One thread.
 */
#ifndef QUERN_TESTS_RESULTS_ROWS_H
#define QUERN_TESTS_RESULTS_ROWS_H

#include "results/segment.h"

struct rows { /* one batch, kept for comparison */
    struct batch_index ix;
    struct buf body;
    struct window window; /* of the body in memory */
    struct arena *arena;
};

/* "flat": int, text, double, date, bool. "all": every type, nested too. "none": no columns. */
struct schema *rows_schema(struct arena *a, const char *kind);
/* A random batch that passes batch_check. text_max: longest text. */
void rows_make(const struct schema *s, uint64_t n, unsigned text_max, uint64_t first_row, uint64_t *seed,
               struct rows *ret);
void rows_free(struct rows *r);
/* Appends the text of a cell, NULL and nested ones included. */
void rows_cell(const struct window_column *c, uint64_t row, struct buf *out);
/* The text of a whole row. */
void rows_text(const struct window *w, uint64_t row, struct buf *out);
uint64_t rows_random(uint64_t *seed, uint64_t below);

#endif
