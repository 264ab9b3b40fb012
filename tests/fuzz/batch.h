/* The schema that the batch fuzzers use: one column of each kind of layout. (Batches with known cells are made by
 * tests/unit/encoders/sample.h; a fuzzer lays out what its input says.) */
#ifndef QUERN_TESTS_FUZZ_BATCH_H
#define QUERN_TESTS_FUZZ_BATCH_H

#include "../columns.h"

static struct column fuzz_item[] = {COL("item", PHYS_UTF8, SQLT_VARCHAR)};
static struct column fuzz_pair[] = {COL("key", PHYS_INT16, SQLT_SMALLINT),
                                    COL("value", PHYS_BOOL, SQLT_BOOLEAN)};
static struct column fuzz_entry[] = {{.name = "entries",
                                      .detail = "",
                                      .phys = PHYS_STRUCT,
                                      .sql = SQLT_STRUCT,
                                      .nchildren = 2,
                                      .children = fuzz_pair}};
static struct column fuzz_columns[] = {
    COL("t", PHYS_UTF8, SQLT_VARCHAR),
    COL("j", PHYS_UTF8, SQLT_JSON),
    COL("n", PHYS_UTF8, SQLT_UHUGEINT),
    COL("d", PHYS_FLOAT64, SQLT_DOUBLE),
    COL("date", PHYS_DATE, SQLT_DATE),
    COL("ts", PHYS_TIMESTAMP, SQLT_TIMESTAMP),
    COL("iv", PHYS_INTERVAL, SQLT_INTERVAL),
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
static struct schema fuzz_schema = {.ncolumns = COUNT(fuzz_columns), .columns = fuzz_columns};

#endif
