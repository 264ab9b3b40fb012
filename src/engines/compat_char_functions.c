/*
 * compat_char_functions: compat_char.h as functions of the engine: quern_to_char(text of the value, template),
 * quern_read_time(text, template), quern_read_number(text, template). Job thread (the main thread before it starts one),
 * and the engine's own.
 */
#include <string.h>

#include "engines/compat_char.h"
#include "engines/compat_rows.h"

static const char *to_char(const struct operands *o, idx_t i, duckdb_vector out)
{
    size_t n, t;
    const char *p = row_bytes(o->a, i, &n), *template = row_bytes(o->b, i, &t);
    CLEANUP_BUF struct buf b = BUF_INIT(16u << 20);
    if (!char_of(p, n, template, t, &b))
        return row_say("to_char: \"", p, n, "\" is no date, time, interval or number");
    duckdb_vector_assign_string_element_len(out, i, b.p ? b.p : "", b.len);
    return NULL;
}

static const char *read_time(const struct operands *o, idx_t i, duckdb_vector out)
{
    size_t n, t;
    const char *p = row_bytes(o->a, i, &n), *template = row_bytes(o->b, i, &t);
    (void)out;
    return char_read(p, n, template, t, (int64_t *)o->out + i);
}

static const char *read_number(const struct operands *o, idx_t i, duckdb_vector out)
{
    size_t n, t;
    const char *p = row_bytes(o->a, i, &n), *template = row_bytes(o->b, i, &t);
    CLEANUP_BUF struct buf b = BUF_INIT(16u << 20);
    const char *message = char_read_number(p, n, template, t, &b);
    if (!message)
        duckdb_vector_assign_string_element_len(out, i, b.p ? b.p : "", b.len);
    return message;
}

bool compat_char_install(duckdb_connection c)
{
    static const struct row_function functions[] = {
        {to_char, "quern_to_char", DUCKDB_TYPE_VARCHAR, DUCKDB_TYPE_VARCHAR, DUCKDB_TYPE_VARCHAR},
        {read_time, "quern_read_time", DUCKDB_TYPE_VARCHAR, DUCKDB_TYPE_VARCHAR, DUCKDB_TYPE_TIMESTAMP},
        {read_number, "quern_read_number", DUCKDB_TYPE_VARCHAR, DUCKDB_TYPE_VARCHAR, DUCKDB_TYPE_VARCHAR},
    };
    return rows_install(c, functions, sizeof functions / sizeof *functions);
}
