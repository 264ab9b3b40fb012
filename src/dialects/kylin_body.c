/*
 * kylin_body: the bodies of the Kylin dialect (specs 1.5): fields in their mixed spelling, unknown fields
 * ignored, null as absent (but for format and encode), numbers and booleans also as text, as Kylin's own
 * reader takes them. A format, encode or file name that is not allowed is no bad body: the submit answers it
 * in a shape of its own. Pure; any thread; hostile bytes allowed, fuzzed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "dialects/kylin_int.h"

#define TAG_MAX        256   /* characters */
#define SEPARATOR_MAX  65536 /* bytes */
#define NAME_BYTES     200   /* of file_name: a suffix and a header line fit behind it */
#define PARAMS_MAX     10000
#define DECIMAL_DIGITS 38

static const char *const formats[] = {"csv", "json", "xlsx", "parquet"};

const char *kylin__format_name(enum kylin_format f)
{
    return formats[f];
}

static bool given(json_value v)
{
    return json_kind(v) != JSON_ABSENT && json_kind(v) != JSON_NULL;
}

static int wrong(const char *key, const char *what, json_value v, struct err *e)
{
    return err_set(e, ERR_INVALID, "22023", "%s must be %s, not %s", key, what, json_kind_name(json_kind(v)));
}

bool kylin__truth(const char *s, bool *ret)
{
    static const char *const words[] = {"false", "off", "no", "0", "true", "on", "yes", "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(words[i], s) == 0) {
            *ret = i >= 4;
            return true;
        }
    return false;
}

bool kylin__blank(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] != ' ' && (s[i] < '\t' || s[i] > '\r'))
            return false;
    return true;
}

/* A text; numbers and booleans are taken as their text. NULL and absent leave *ret as it is. */
static int read_text(struct arena *a, json_value root, const char *key, const char **ret, size_t *ret_len,
                     struct err *e)
{
    json_value v = json_get(root, key);
    char number[512];
    bool truth;
    size_t n;
    if (!given(v))
        return 0;
    const char *s = json_string(v, &n);
    if (!s && json_boolean(v, &truth)) {
        s = truth ? "true" : "false";
        n = strlen(s);
    } else if (!s && json_number_text(v, number, sizeof number) >= 0) {
        s = arena_strdup(a, number);
        n = strlen(number);
    } else if (!s) {
        return wrong(key, "a string", v, e);
    }
    if (!s)
        return err_no_memory(e);
    *ret = s;
    if (ret_len)
        *ret_len = n;
    return 0;
}

static bool all_digits(const char *s)
{
    s += *s == '-' || *s == '+';
    return *s && !s[strspn(s, "0123456789")];
}

/* Of a number with digits only it is the size that is wrong, not the kind. */
static int wrong_count(const char *key, json_value v, struct err *e)
{
    char number[512];
    const char *s = json_string(v, NULL);
    if (!s && json_number_text(v, number, sizeof number) >= 0)
        s = number;
    if (s && all_digits(s))
        return err_set(e, ERR_INVALID, "22023", "%s must be at most 9223372036854775807", key);
    if (json_string(v, NULL))
        return err_set(e, ERR_INVALID, "22023", "%s must be an integer", key);
    return wrong(key, "an integer", v, e);
}

/* Negative counts as none. */
static int read_count(json_value root, const char *key, int64_t *ret, struct err *e)
{
    json_value v = json_get(root, key);
    const char *s = json_string(v, NULL);
    char *end;
    if (!given(v))
        return 0;
    if (s) {
        errno = 0;
        long long n = strtoll(s, &end, 10);
        if (!*s || *end || errno)
            return wrong_count(key, v, e);
        *ret = n;
    } else if (!json_int(v, ret)) {
        return wrong_count(key, v, e);
    }
    if (*ret < 0)
        *ret = 0;
    return 0;
}

static int read_truth(json_value root, const char *key, bool *ret, struct err *e)
{
    json_value v = json_get(root, key);
    const char *s = json_string(v, NULL);
    int64_t n;
    if (!given(v) || json_boolean(v, ret))
        return 0;
    if (s && kylin__truth(s, ret))
        return 0;
    if (s)
        return err_set(e, ERR_INVALID, "22023", "%s must be a boolean: true or false", key);
    if (!json_int(v, &n))
        return wrong(key, "a boolean", v, e);
    *ret = n != 0;
    return 0;
}

static int illegal(struct arena *a, struct kylin_submit *out, struct err *e, const char *before,
                   const char *value, const char *after)
{
    size_t n = strlen(value);
    out->illegal = arena_printf(a, "%s%.*s%s", before, (int)utf8_cut(value, n, 1024), value, after);
    return out->illegal ? 0 : err_no_memory(e);
}

/* A word that may be left out, but not be null (specs 1.4). */
static int read_word(struct arena *a, json_value root, const char *key, const char **ret, struct err *e)
{
    if (json_kind(json_get(root, key)) == JSON_NULL)
        return err_set(e, ERR_INVALID, "22023", "%s must not be null", key);
    return read_text(a, root, key, ret, NULL, e);
}

/* Encode is looked at before format, the name last. */
static int read_format(struct arena *a, json_value root, struct kylin_submit *out, struct err *e)
{
    const char *encode = "utf-8", *format = "csv";
    int r = read_word(a, root, "encode", &encode, e);
    if (!r)
        r = read_word(a, root, "format", &format, e);
    if (r)
        return r;
    out->file.gbk = strcasecmp(encode, "gbk") == 0;
    if (!out->file.gbk && strcasecmp(encode, "utf-8") != 0)
        return illegal(a, out, e, "Encode ", encode, " unsupported. Only [utf-8, gbk] are supported");
    for (int f = KYLIN_CSV; f <= KYLIN_PARQUET; f++)
        if (strcasecmp(kylin__format_name((enum kylin_format)f), format) == 0) {
            out->file.format = (enum kylin_format)f;
            return 0;
        }
    return illegal(a, out, e, "Format ", format,
                   " unsupported. Only [csv, json, xlsx, parquet] are supported");
}

/* Valid UTF-8 begins here with a character that is not seen but acts: U+0080 to U+009F, line and paragraph ends, what
 * turns the direction of writing ("gpj.exe" shown as "exe.jpg"). */
static bool acts(const unsigned char *s)
{
    if (s[0] == 0xc2)
        return s[1] < 0xa0;
    if (s[0] != 0xe2)
        return false;
    return (s[1] == 0x80 && ((s[2] >= 0xa8 && s[2] <= 0xae) || s[2] == 0x8e || s[2] == 0x8f)) ||
           (s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9);
}

static bool name_allowed(const char *s, size_t n)
{
    bool dots = false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < 0x20 || c == 0x7f || c == '/' || c == '\\' || acts((const unsigned char *)s + i))
            return false;
        dots |= c == '.' && i + 1 < n && s[i + 1] == '.';
    }
    return n > 0 && n <= NAME_BYTES && !dots;
}

static int read_file(struct arena *a, json_value root, struct kylin_submit *out, struct err *e)
{
    size_t name_len = strlen(out->file.name);
    int r = read_format(a, root, out, e);
    if (!r)
        r = read_text(a, root, "file_name", &out->file.name, &name_len, e);
    if (r)
        return r;
    if (!out->illegal && !name_allowed(out->file.name, name_len))
        return illegal(a, out, e, "file_name", "",
                       " must be 1 to 200 bytes without \"/\", \"\\\", \"..\" and control characters");
    return 0;
}

static int read_separator(struct arena *a, json_value root, struct kylin_submit *out, struct err *e)
{
    size_t n = 1;
    int r = read_text(a, root, "separator", &out->file.separator, &n, e);
    if (!r && n > SEPARATOR_MAX)
        return err_set(e, ERR_INVALID, "54000", "separator is longer than %d bytes", SEPARATOR_MAX);
    if (!r && !n)
        out->file.separator = ",";
    return r;
}

/* ---- prepared statements of the JDBC drivers ---- */

static const struct {
    const char *class_name, *type;
} classes[] = {
    {"java.lang.String", "VARCHAR"},     {"java.lang.Character", "VARCHAR"}, {"java.lang.Byte", "TINYINT"},
    {"java.lang.Short", "SMALLINT"},     {"java.lang.Integer", "INTEGER"},   {"java.lang.Long", "BIGINT"},
    {"java.lang.Float", "FLOAT"},        {"java.lang.Double", "DOUBLE"},     {"java.lang.Boolean", "BOOLEAN"},
    {"java.math.BigInteger", "HUGEINT"}, {"java.sql.Date", "DATE"},          {"java.sql.Time", "TIME"},
    {"java.sql.Timestamp", "TIMESTAMP"}, {"java.math.BigDecimal", NULL},
};

/* DECIMAL wide enough for the number's text, which may have an exponent as Java prints it ("1E+3", "0E-10"); what is wider, or
 * no number, is left to DOUBLE. */
static const char *decimal_type(struct arena *a, const char *s)
{
    long whole = 0, scale = 0, exponent = 0; /* digits before and behind the point */
    bool point = false;
    for (s += *s == '-' || *s == '+'; *s == '.' || (*s >= '0' && *s <= '9'); s++) {
        whole += *s != '.' && !point;
        scale += *s != '.' && point;
        point |= *s == '.';
    }
    bool digits = whole + scale > 0;
    if (*s == 'e' || *s == 'E') {
        char *end;
        exponent = strtol(s + 1, &end, 10);
        s = end;
    }
    if (*s || !digits || exponent > DECIMAL_DIGITS || exponent < -DECIMAL_DIGITS)
        return "DOUBLE";
    whole += exponent > 0 ? exponent : 0;
    scale = scale > exponent ? scale - exponent : 0;
    if (whole + scale > DECIMAL_DIGITS)
        return "DOUBLE";
    return arena_printf(a, "DECIMAL(%ld,%ld)", whole + scale, scale);
}

static int read_param(struct arena *a, json_value item, size_t i, struct wire_param *ret, struct err *e)
{
    const char *class_name = "java.lang.String", *value = NULL;
    size_t n = 0;
    if (json_kind(item) != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "22023", "params[%zu] must be an object", i);
    int r = read_text(a, item, "className", &class_name, NULL, e);
    if (!r)
        r = read_text(a, item, "value", &value, &n, e);
    if (r)
        return r;
    *ret = (struct wire_param){
        .name = "", .is_null = !value, .value = value ? value : "", .value_len = (uint32_t)n};
    for (size_t k = 0; k < sizeof classes / sizeof *classes; k++)
        if (!strcmp(classes[k].class_name, class_name)) {
            ret->type = classes[k].type ? classes[k].type : decimal_type(a, ret->value);
            return ret->type ? 0 : err_no_memory(e);
        }
    return err_set(e, ERR_INVALID, "22023", "params[%zu].className %.100s is not supported", i, class_name);
}

static int read_params(struct arena *a, json_value root, struct kylin_submit *out, struct err *e)
{
    json_value list = json_get(root, "params");
    if (!given(list))
        return 0;
    if (json_kind(list) != JSON_ARRAY)
        return wrong("params", "an array", list, e);
    size_t n = json_size(list);
    if (n > PARAMS_MAX)
        return err_set(e, ERR_INVALID, "54000", "params holds more than %d elements", PARAMS_MAX);
    struct wire_param *p = arena_alloc(a, n * sizeof *p);
    if (!p)
        return err_no_memory(e);
    for (size_t i = 0; i < n; i++) {
        int r = read_param(a, json_at(list, i), i, &p[i], e);
        if (r)
            return r;
    }
    out->params = p;
    out->nparams = (uint32_t)n;
    return 0;
}

/* setMaxRows of the older JDBC driver; the newer one sends it as limit too. */
static int read_max_rows(json_value root, struct kylin_submit *out, struct err *e)
{
    int64_t most = 0;
    json_value toggles = json_get(root, "backdoorToggles");
    if (json_kind(toggles) != JSON_OBJECT)
        return 0;
    int r = read_count(toggles, "ATTR_STATEMENT_MAX_ROWS", &most, e);
    if (!r && most > 0 && (out->limit == 0 || most < out->limit))
        out->limit = most;
    return r;
}

/* ---- whole bodies ---- */

static int read_tag(struct arena *a, json_value root, struct err *e)
{
    const char *tag = "";
    size_t n = 0;
    int r = read_text(a, root, "user_defined_tag", &tag, &n, e);
    if (!r && utf8_length(tag, n) > TAG_MAX)
        return err_set(e, ERR_LIMIT, "54000", "user_defined_tag is longer than %d characters", TAG_MAX);
    return r;
}

int kylin__read_submit(struct arena *a, enum kylin_body kind, const char *body, size_t n,
                       struct kylin_submit *ret, struct err *e)
{
    json_value root;
    int r = body_object(a, body, n, NULL, &root, e);
    if (r)
        return r;
    struct kylin_submit out = {.file = {.name = "result", .separator = ","}};
    r = read_text(a, root, "sql", &out.sql, &out.sql_len, e);
    if (!r)
        r = read_text(a, root, "project", &out.project, NULL, e);
    if (!r)
        r = read_count(root, "offset", &out.offset, e);
    if (!r)
        r = read_count(root, "limit", &out.limit, e);
    if (!r && kind == KYLIN_BODY_SYNC)
        r = read_params(a, root, &out, e);
    if (!r && kind == KYLIN_BODY_SYNC)
        r = read_max_rows(root, &out, e);
    if (!r && kind != KYLIN_BODY_SYNC)
        r = read_separator(a, root, &out, e);
    if (!r && kind != KYLIN_BODY_SYNC)
        r = read_truth(root, "includeHeader", &out.file.header, e);
    if (!r && kind != KYLIN_BODY_SYNC)
        r = read_truth(root, "include_header", &out.file.header, e);
    if (!r && kind == KYLIN_BODY_V4)
        r = read_text(a, root, "queryId", &out.query_id, NULL, e);
    if (!r && kind == KYLIN_BODY_V4)
        r = read_file(a, root, &out, e);
    if (!r)
        r = read_tag(a, root, e);
    if (!r)
        *ret = out;
    return r;
}

int kylin__read_word(struct arena *a, const char *body, size_t n, const char *key, const char **ret,
                     struct err *e)
{
    json_value root;
    const char *word = NULL;
    int r = body_object(a, body, n, NULL, &root, e);
    if (!r)
        r = read_text(a, root, key, &word, NULL, e);
    if (!r)
        *ret = word;
    return r;
}
