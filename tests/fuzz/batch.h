/* The schema that the batch fuzzers use: one column of each kind of layout. */
#ifndef QUERN_TESTS_FUZZ_BATCH_H
#define QUERN_TESTS_FUZZ_BATCH_H

#include "encoders/encoder.h"

#define FUZZ_COLUMN(n, p, q)                                                                                 \
    {                                                                                                        \
        .name = (n), .detail = "", .phys = (p), .sql = (q), .nullable = true                                 \
    }

static struct column fuzz_item[] = {FUZZ_COLUMN("item", PHYS_UTF8, SQLT_VARCHAR)};
static struct column fuzz_pair[] = {FUZZ_COLUMN("key", PHYS_INT16, SQLT_SMALLINT),
                                    FUZZ_COLUMN("value", PHYS_BOOL, SQLT_BOOLEAN)};
static struct column fuzz_entry[] = {{.name = "entries",
                                      .detail = "",
                                      .phys = PHYS_STRUCT,
                                      .sql = SQLT_STRUCT,
                                      .nchildren = 2,
                                      .children = fuzz_pair}};
static struct column fuzz_columns[] = {
    FUZZ_COLUMN("t", PHYS_UTF8, SQLT_VARCHAR),
    FUZZ_COLUMN("j", PHYS_UTF8, SQLT_JSON),
    FUZZ_COLUMN("n", PHYS_UTF8, SQLT_UHUGEINT),
    FUZZ_COLUMN("d", PHYS_FLOAT64, SQLT_DOUBLE),
    FUZZ_COLUMN("date", PHYS_DATE, SQLT_DATE),
    FUZZ_COLUMN("ts", PHYS_TIMESTAMP, SQLT_TIMESTAMP),
    FUZZ_COLUMN("iv", PHYS_INTERVAL, SQLT_INTERVAL),
    {.name = "dec",
     .detail = "",
     .phys = PHYS_DECIMAL,
     .sql = SQLT_DECIMAL,
     .nullable = true,
     .precision = 20,
     .scale = 3},
    {.name = "l",
     .detail = "",
     .phys = PHYS_LIST,
     .sql = SQLT_LIST,
     .nullable = true,
     .nchildren = 1,
     .children = fuzz_item},
    {.name = "m",
     .detail = "",
     .phys = PHYS_MAP,
     .sql = SQLT_MAP,
     .nullable = true,
     .nchildren = 1,
     .children = fuzz_entry},
};
static struct schema fuzz_schema = {.ncolumns = sizeof fuzz_columns / sizeof *fuzz_columns,
                                    .columns = fuzz_columns};

#endif
