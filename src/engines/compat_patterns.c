/*
 * compat_patterns: patterns of dates and times in Joda-Time's letters as the engine's. Job thread (the main
 * thread before it starts one), and the engine's own.
 */
#include <string.h>

#include "engines/compat_arith.h"
#include "engines/compat_patterns.h"

/* By letter, then by how often it stands; the last one for more. NULL: none. */
static const struct letter {
    char letter;
    const char *by_count[5];
} letters[] = {
    {'y', {"%Y", "%y", "%Y", "%Y"}},
    {'Y', {"%Y", "%y", "%Y", "%Y"}},
    {'x', {"%G", NULL, "%G", "%G"}},
    {'M', {"%-m", "%m", "%b", "%B"}},
    {'d', {"%-d", "%d"}},
    {'D', {"%-j", NULL, "%j"}},
    {'H', {"%-H", "%H"}},
    {'h', {"%-I", "%I"}},
    {'m', {"%-M", "%M"}},
    {'s', {"%-S", "%S"}},
    {'S', {NULL, NULL, "%g", NULL, NULL}},
    {'E', {"%a", "%a", "%a", "%A"}},
    {'e', {"%u"}},
    {'w', {NULL, "%V"}},
    {'a', {"%p", "%p"}},
    {'Z', {"%z"}},
};

static const char *format_of(char c, size_t count)
{
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++) {
        if (letters[i].letter == c)
            return count > 5 ? NULL : letters[i].by_count[count - 1];
    }
    return NULL;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void plain(struct buf *out, char c)
{
    if (c == '%')
        (void)buf_char(out, '%');
    (void)buf_char(out, c);
}

/* '' is a quote; what stands between two quotes is text. */
static size_t quoted(struct buf *out, const char *p, size_t n, size_t i)
{
    if (i + 1 < n && p[i + 1] == '\'') {
        plain(out, '\'');
        return i + 2;
    }
    for (i++; i < n; i++) {
        if (p[i] != '\'') {
            plain(out, p[i]);
        } else if (i + 1 < n && p[i + 1] == '\'') {
            plain(out, '\'');
            i++;
        } else {
            return i + 1;
        }
    }
    return i;
}

bool compat_joda(const char *p, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n;) {
        if (p[i] == '\'') {
            i = quoted(out, p, n, i);
            continue;
        }
        if (!is_letter(p[i])) {
            plain(out, p[i++]);
            continue;
        }
        size_t count = 1;
        while (i + count < n && p[i + count] == p[i])
            count++;
        const char *format = format_of(p[i], count);
        if (!format)
            return false;
        (void)buf_str_add(out, format);
        i += count;
    }
    return !out->failed;
}

static void joda(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    duckdb_vector v = duckdb_data_chunk_get_vector(in, 0);
    duckdb_string_t *s = duckdb_vector_get_data(v);
    uint64_t *valid = duckdb_vector_get_validity(v);
    CLEANUP_BUF struct buf b = BUF_INIT(1u << 20);
    if (valid)
        duckdb_vector_ensure_validity_writable(out);
    uint64_t *nulls = duckdb_vector_get_validity(out);
    for (idx_t i = 0; i < duckdb_data_chunk_get_size(in); i++) {
        if (valid && !duckdb_validity_row_is_valid(valid, i)) {
            duckdb_validity_set_row_invalid(nulls, i);
            continue;
        }
        buf_reset(&b);
        if (!compat_joda(duckdb_string_t_data(&s[i]), duckdb_string_t_length(s[i]), &b)) {
            duckdb_scalar_function_set_error(info, "the pattern has a letter that is not supported here");
            return;
        }
        duckdb_vector_assign_string_element_len(out, i, b.p ? b.p : "", b.len);
    }
}

bool compat_patterns_install(duckdb_connection c)
{
    duckdb_scalar_function f = duckdb_create_scalar_function();
    duckdb_logical_type text = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
    duckdb_scalar_function_set_name(f, "quern_joda");
    duckdb_scalar_function_add_parameter(f, text);
    duckdb_scalar_function_set_return_type(f, text);
    duckdb_scalar_function_set_function(f, joda);
    bool ok = duckdb_register_scalar_function(c, f) == DuckDBSuccess;
    duckdb_destroy_logical_type(&text);
    duckdb_destroy_scalar_function(&f);
    return ok;
}
