/* table: src/dialects/table.c with one more line. */
#include "dialects/dialect.h"

extern const struct dialect dialect_hello;

const struct dialect *const dialects[] = {
    &dialect_kakao, &dialect_canner,  &dialect_data360, &dialect_jackdb,
    &dialect_kylin, &dialect_neutral, &dialect_hello,   NULL,
};
