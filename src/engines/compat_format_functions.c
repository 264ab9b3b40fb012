/*
 * compat_format_functions: compat_format.h as functions of the engine: quern_format(format, list of texts) and quern_format_pg.
 * Job thread (the main thread before it starts one), and the engine's own.
 */
#include <stdlib.h>

#include "engines/compat_format.h"
#include "engines/compat_rows.h"

/* Room for n arguments, at least one; NULL: out of memory, and the old one is freed. */
static struct format_arg *enough(struct format_arg *args, size_t *room, size_t n)
{
    if (args && n <= *room)
        return args;
    free(args);
    *room = n ? n : 1;
    return calloc(*room, sizeof *args);
}

static void run(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    const bool *java = duckdb_scalar_function_get_extra_info(info);
    struct operands o = operands_of(in, out);
    duckdb_vector lists = duckdb_data_chunk_get_vector(in, 1), child = duckdb_list_vector_get_child(lists);
    const duckdb_list_entry *entries = o.b;
    duckdb_string_t *texts = duckdb_vector_get_data(child);
    uint64_t *valid = duckdb_vector_get_validity(child);
    CLEANUP_BUF struct buf b = BUF_INIT(64u << 20);
    struct format_arg *args = NULL;
    size_t room = 0;
    const char *message = NULL;
    operands_nulls(&o, out);
    for (idx_t i = 0; i < o.n && !message; i++) {
        size_t n;
        if (!operands_valid(&o, i))
            continue;
        const char *p = row_bytes(o.a, i, &n);
        args = enough(args, &room, entries[i].length);
        if (!args) {
            message = "out of memory";
            break;
        }
        for (idx_t k = 0; k < entries[i].length; k++) {
            idx_t at = entries[i].offset + k;
            args[k] = (struct format_arg){0};
            if (!valid || duckdb_validity_row_is_valid(valid, at))
                args[k].p = row_bytes(texts, at, &args[k].n);
        }
        buf_reset(&b);
        message = format_text(p, n, args, entries[i].length, *java, &b);
        if (!message)
            duckdb_vector_assign_string_element_len(out, i, b.p ? b.p : "", b.len);
    }
    free(args);
    if (message)
        duckdb_scalar_function_set_error(info, message);
}

static bool add(duckdb_connection c, const char *name, const bool *java)
{
    duckdb_scalar_function f = duckdb_create_scalar_function();
    duckdb_logical_type text = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR),
                        list = duckdb_create_list_type(text);
    duckdb_scalar_function_set_name(f, name);
    duckdb_scalar_function_add_parameter(f, text);
    duckdb_scalar_function_add_parameter(f, list);
    duckdb_scalar_function_set_return_type(f, text);
    duckdb_scalar_function_set_extra_info(f, (void *)(uintptr_t)java, NULL);
    duckdb_scalar_function_set_function(f, run);
    bool ok = duckdb_register_scalar_function(c, f) == DuckDBSuccess;
    duckdb_destroy_logical_type(&text);
    duckdb_destroy_logical_type(&list);
    duckdb_destroy_scalar_function(&f);
    return ok;
}

bool compat_format_install(duckdb_connection c)
{
    static const bool yes = true, no = false;
    return add(c, "quern_format", &yes) && add(c, "quern_format_pg", &no);
}
