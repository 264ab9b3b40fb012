/* Columns for tests and fuzzers of batches, written short. */
#ifndef QUERN_TESTS_COLUMNS_H
#define QUERN_TESTS_COLUMNS_H

#include "encoders/encoder.h"

#define COL(n, p, q)                                                                                         \
    {                                                                                                        \
        .name = (n), .detail = "", .phys = (p), .sql = (q), .nullable = true                                 \
    }
#define COLUMNS(...)                                                                                         \
    (struct column[])                                                                                        \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define COUNT(x) ((uint32_t)(sizeof(x) / sizeof *(x)))

#endif
