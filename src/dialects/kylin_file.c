/*
 * kylin_file: the file that a result becomes: its options, kept with the query as JSON text; its encoder; and
 * where it is delivered. One set of options makes the delivered file and the download, so that both have the
 * same bytes and file_status is the size of either. Any thread.
 *
 * A query that another dialect submitted has no options of its own and reads as plain CSV.
 */
#include <string.h>

#include "base/config.h"
#include "dialects/kylin_int.h"

const char *kylin__file_text(const struct kylin_file *f, struct arena *a)
{
    CLEANUP_BUF struct buf b = BUF_INIT((size_t)1 << 20);
    struct json_write w = JSON_WRITE_INIT(&b);
    json_object_begin(&w);
    json_kstr(&w, "format", kylin__format_name(f->format));
    json_kbool(&w, "gbk", f->gbk);
    json_kbool(&w, "header", f->header);
    json_kbool(&w, "bare", f->bare);
    json_kstr(&w, "name", f->name);
    json_kstr(&w, "separator", f->separator);
    json_object_end(&w);
    const char *text = buf_str(&b);
    return text ? arena_strdup(a, text) : NULL;
}

int kylin__file_of(const struct query_view *v, struct arena *a, struct kylin_file *ret, struct err *e)
{
    *ret = (struct kylin_file){.name = "result", .separator = ",", .bare = config.kylin_header_quoting == 1};
    if (v->dialect != DIALECT_KYLIN || !v->request)
        return 0;
    json_value root;
    int rc = body_object(a, v->request, strlen(v->request), NULL, &root, e);
    if (rc)
        return rc;
    const char *format = json_string(json_get(root, "format"), NULL);
    for (int f = KYLIN_CSV; format && f <= KYLIN_PARQUET; f++)
        if (!strcmp(kylin__format_name((enum kylin_format)f), format))
            ret->format = (enum kylin_format)f;
    (void)json_boolean(json_get(root, "gbk"), &ret->gbk);
    (void)json_boolean(json_get(root, "header"), &ret->header);
    (void)json_boolean(json_get(root, "bare"), &ret->bare);
    const char *name = json_string(json_get(root, "name"), NULL),
               *separator = json_string(json_get(root, "separator"), NULL);
    ret->name = name ? name : ret->name;
    ret->separator = separator ? separator : ret->separator;
    return 0;
}

bool kylin__has_file(const struct query_view *v)
{
    return v->dialect == DIALECT_KYLIN && v->stored;
}

bool kylin__is_text(const struct kylin_file *f)
{
    return f->format == KYLIN_CSV || f->format == KYLIN_JSON;
}

void kylin__spec(const struct kylin_file *f, struct render_spec *ret)
{
    *ret = (struct render_spec){.limit = UINT64_MAX, .options.profile = TEXT_KYLIN};
    if (!kylin__is_text(f)) {
        ret->file = f->format == KYLIN_XLSX ? WIRE_RENDER_XLSX : WIRE_RENDER_PARQUET;
        ret->options.header = f->format == KYLIN_XLSX && f->header;
        ret->underscores = f->format == KYLIN_PARQUET;
        return;
    }
    ret->encoder = encoder_find(f->format == KYLIN_JSON ? "strings" : "csv");
    ret->options.charset = f->gbk ? CHARSET_GBK : CHARSET_UTF8;
    ret->options.header = f->header;
    ret->options.separator = f->separator;
    ret->options.header_bare = f->bare;
}

/* A name that may be a folder of a bucket: bucket.c refuses a backslash and a leading ".quern-". */
static void add_folder(struct buf *b, const char *s)
{
    for (const char *p = s; *p; p++) {
        if (*p == '\\' || *p == '%' || (p == s && *p == '.'))
            buf_printf(b, "%%%02X", (unsigned)(unsigned char)*p);
        else
            buf_char(b, *p);
    }
}

const char *kylin__folder(const char *workspace, struct arena *a)
{
    CLEANUP_BUF struct buf b = BUF_INIT(4096);
    add_folder(&b, workspace);
    buf_str_add(&b, "/async_query_result");
    const char *text = buf_str(&b);
    return text ? arena_strdup(a, text) : NULL;
}

int kylin__plan(const struct query_view *v, struct arena *a, struct delivery_plan *ret, struct err *e)
{
    struct kylin_file f;
    char id[ID_TEXT_MAX];
    int rc = kylin__file_of(v, a, &f, e);
    if (rc)
        return rc;
    id_uuid(&v->id, id);
    ret->key = arena_printf(a, "%s/%s/%s.%s", v->path ? v->path : "", id, id, kylin__format_name(f.format));
    struct render_spec *spec = arena_alloc(a, sizeof *spec);
    if (!spec || !ret->key)
        return err_no_memory(e);
    kylin__spec(&f, spec);
    ret->encoder = spec->encoder;
    ret->options = spec->options;
    ret->render = spec->file ? spec : NULL;
    ret->owned = true;
    return 0;
}
