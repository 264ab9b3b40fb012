/* The Kylin dialect: its bodies, OFFSET behind a statement, older_than. First byte chooses; what is accepted
 * must keep the promises of the checks. */
#include <string.h>

#include "dialects/kylin_int.h"
#include "dialects/sql_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_file(const struct kylin_submit *s)
{
    const struct kylin_file *f = &s->file;
    ASSERT(f->separator && *f->separator && strlen(f->separator) <= 65536);
    ASSERT(s->limit >= 0 && s->offset >= 0);
    if (s->illegal)
        return;
    ASSERT(f->name && *f->name && strlen(f->name) <= 200 && !strstr(f->name, "..") &&
           !strpbrk(f->name, "/\\\r\n"));
    ASSERT(f->format <= KYLIN_PARQUET);
}

static void check_body(struct arena *a, enum kylin_body kind, const char *body, size_t n)
{
    struct kylin_submit s;
    struct err e;
    const char *project;
    if (!kylin__read_submit(a, kind, body, n, &s, &e)) {
        check_file(&s);
        for (uint32_t i = 0; i < s.nparams; i++)
            ASSERT(s.params[i].type && s.params[i].value);
    }
    (void)!kylin__read_word(a, body, n, "project", &project, &e);
}

/* The text as it was, or as it was with one line behind what it says. */
static void check_offset(struct arena *a, const char *sql, size_t n)
{
    size_t len;
    const char *out = kylin__with_offset(a, sql, n, 7, &len);
    if (!out || out == sql) {
        ASSERT(!out || len == n);
        return;
    }
    size_t end = len - strlen("\nOFFSET 7");
    ASSERT(len > strlen("\nOFFSET 7") && end <= n && memcmp(out, sql, end) == 0);
    ASSERT(memcmp(out + end, "\nOFFSET 7", 10) == 0);
    if (!strpbrk(sql, "'\"$/"))                                  /* nothing that may be open */
        ASSERT(kylin__with_offset(a, out, len, 7, &end) == out); /* it has one now */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct arena *a = arena_new(64u << 20);
    char *text = arena_strndup(a, (const char *)data + 1, size - 1);
    int64_t v;
    if (text && data[0] % 5 < 3) {
        check_body(a, (enum kylin_body)(data[0] % 5), text, size - 1);
    } else if (text && data[0] % 5 == 3 && !memchr(text, 0, size - 1)) {
        check_offset(a, text, size - 1);
    } else if (text) {
        if (kylin__time(text, &v))
            ASSERT(strlen(text) == 19);
        if (kylin__utc(text, 1000000000, &v))
            ASSERT(v >= 1000000000 - 15 * 3600 && v <= 1000000000 + 15 * 3600);
        const char *name;
        int jdbc, type_size, digits;
        kylin__type_of_name(text, &name, &jdbc, &type_size, &digits);
        ASSERT(name && *name);
    }
    arena_free(a);
    return 0;
}
