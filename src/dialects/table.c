/* table: all dialects. A new dialect is one new file and one line here. Alone in this file, so that a test
 * can bring its own table. */
#include "dialects/dialect.h"

const struct dialect *const dialects[] = {
    &dialect_kakao, &dialect_canner, &dialect_data360, &dialect_jackdb, &dialect_kylin, &dialect_neutral,
    NULL,
};
