/*
 * xlsx: a stored result as one sheet, with libxlsxwriter in constant memory: a row goes to a temporary file in
 * the private folder as soon as the next one begins, and the ZIP is made at the end. Render thread.
 *
 * Typed cells (docs/formats.md has the table): integers and decimals while 15 digits hold them, else text; doubles with
 * all their digits (xlsx_stdio.h); dates and times from 1900-03-01 (before it the program's calendar is wrong) to 9999-12-31, else text; booleans; everything
 * else is text. Text is always a string cell, never looked at: what begins with "=" is no formula. The library
 * escapes control characters; what it does not know is escaped here (escape_text).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xlsxwriter.h>

#include "encoders/value_text.h"
#include "engines/render.h"
#include "engines/xlsx_stdio.h"

#define TEXT_MAX    (1u << 30)
#define CELL_UNITS  32767u /* UTF-16 */
#define DIGITS_MAX  15
#define EPOCH       25569 /* 1970-01-01 as a serial */
#define SERIAL_MIN  61    /* 1900-03-01 */
#define SERIAL_MAX  2958465
#define DAY_US      86400000000LL
#define DAY_END     (DAY_US - 500) /* from here on the milliseconds shown are those of the next day */
#define LEAST       2.2251e-308    /* numbers that the program keeps */
#define MOST        9.99999999999999e+307
#define ROWS_WEIGHT 600          /* permille of the work until the ZIP begins */
#define BIG_SHEET   4000000000LL /* bytes of rows: near what a ZIP of the old form can hold */
#define MADE_AT     946684800LL  /* 2000-01-01: the same result makes the same file */
#define WINDOW      (1u << 20)

struct sheet {
    struct render_job *job;
    lxw_workbook *book;
    lxw_worksheet *sheet;
    lxw_format *date, *stamp, *time;
    struct buf text, escaped;
    struct zone_span span; /* of the last instant; from == to: none yet */
    lxw_row_t row;
};

/* ---- text ---- */

static bool hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* The file's own escape: _x and four digits and _. */
static bool looks_escaped(const char *s, size_t n)
{
    return n >= 7 && s[0] == '_' && s[1] == 'x' && hex(s[2]) && hex(s[3]) && hex(s[4]) && hex(s[5]) &&
           s[6] == '_';
}

/* What neither the library nor XML would carry: NUL, U+FFFE, U+FFFF, and text that reads like an escape. */
static int escape_text(const char *s, size_t n, struct buf *out, size_t *ret_units)
{
    size_t units = 0;
    buf_reset(out);
    if (buf_reserve(out, n + 16))
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        units += (c & 0xc0) != 0x80;
        units += c >= 0xf0;
        if (c == 0) {
            (void)buf_str_add(out, "_x0000_");
        } else if (c == '_' && looks_escaped(s + i, n - i)) {
            (void)buf_str_add(out, "_x005F_");
        } else if (c == 0xef && n - i >= 3 && (unsigned char)s[i + 1] == 0xbf &&
                   (unsigned char)s[i + 2] >= 0xbe) {
            (void)buf_printf(out, "_xFFF%c_", (unsigned char)s[i + 2] == 0xbe ? 'E' : 'F');
            i += 2;
        } else {
            (void)buf_char(out, (char)c);
        }
    }
    *ret_units = units;
    return buf_char(out, '\0');
}

static int library_error(lxw_error rc, struct err *e)
{
    if (rc == LXW_NO_ERROR)
        return 0;
    if (rc == LXW_ERROR_MEMORY_MALLOC_FAILED)
        return err_set(e, ERR_NOMEM, "53200", "rendering needs more memory than render.memory allows");
    return err_set(e, ERR_ENGINE, "XX000", "%s", lxw_strerror(rc));
}

static int put_text(struct sheet *s, lxw_col_t col, const char *name, const char *p, size_t n, struct err *e)
{
    size_t units;
    int rc = escape_text(p, n, &s->escaped, &units);
    if (rc)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    lxw_error x = units > CELL_UNITS ? LXW_ERROR_MAX_STRING_LENGTH_EXCEEDED
                                     : worksheet_write_string(s->sheet, s->row, col, s->escaped.p, NULL);
    if (x == LXW_ERROR_MAX_STRING_LENGTH_EXCEEDED)
        return err_set(
            e, ERR_INVALID, "54000",
            "a cell of an XLSX sheet holds at most 32,767 characters; row %llu, column \"%.100s\" has more%s",
            (unsigned long long)s->job->rows_done + 1, name,
            units > CELL_UNITS ? "" : " (a character that has to be escaped counts as seven)");
    return library_error(x, e);
}

/* ---- values ---- */

/* A number that the sheet holds with all its digits; zeros that end a fraction are none. */
static bool short_number(const char *p, size_t n)
{
    size_t digits = 0, i = n > 0 && p[0] == '-';
    bool lead = true;
    if (memchr(p, '.', n))
        while (p[n - 1] == '0')
            n--;
    if (i == n)
        return false;
    for (; i < n; i++) {
        if (p[i] == '.')
            continue;
        if (p[i] < '0' || p[i] > '9')
            return false;
        lead = lead && p[i] == '0';
        digits += !lead;
    }
    return digits <= DIGITS_MAX;
}

static bool digits_text(const struct column *c)
{
    return c->phys == PHYS_INT64 || c->phys == PHYS_DECIMAL || c->sql == SQLT_UHUGEINT ||
           c->sql == SQLT_BIGNUM;
}

static int64_t get64(const struct window_column *c, uint64_t row)
{
    int64_t v;
    memcpy(&v, c->values + row * sizeof v, sizeof v);
    return v;
}

/* What a clock of the zone shows at the instant. False: out of range. */
static bool on_clock(struct sheet *s, int64_t *inout)
{
    int64_t at = *inout / 1000000 - (*inout % 1000000 < 0);
    if (at < s->span.from || at >= s->span.to)
        zone_at(s->job->zone, at, &s->span);
    return !__builtin_add_overflow(*inout, (int64_t)s->span.offset * 1000000, inout);
}

/* Typed dates and times; false: only text can say it. */
static bool put_moment(struct sheet *s, lxw_col_t col, const struct window_column *c, uint64_t row,
                       lxw_error *ret)
{
    int64_t v = get64(c, row), day = 0, us = 0;
    lxw_format *format = s->stamp;
    if (c->column->phys == PHYS_TIME) {
        if (v >= DAY_END)
            return false;
        *ret = worksheet_write_number(s->sheet, s->row, col, (double)v / (double)DAY_US, s->time);
        return true;
    }
    if (c->column->phys == PHYS_DATE) {
        day = v / (DAY_US / 1000);
        format = s->date;
    } else {
        bool finite = v != INT64_MAX && v != -INT64_MAX;
        if (c->column->phys == PHYS_TIMESTAMPTZ && finite && !on_clock(s, &v))
            return false;
        day = v / DAY_US - (v % DAY_US < 0);
        us = v - day * DAY_US;
    }
    if (v == INT64_MAX || v == -INT64_MAX || day + EPOCH < SERIAL_MIN || day + EPOCH > SERIAL_MAX ||
        (day + EPOCH == SERIAL_MAX && us >= DAY_END))
        return false;
    double serial = (double)(day + EPOCH) + (double)us / (double)DAY_US;
    *ret = worksheet_write_number(s->sheet, s->row, col, serial, format);
    return true;
}

/* The program drops what is smaller, and takes a file with what is larger for damaged. */
static bool in_range(double v)
{
    return v == 0 || (fabs(v) >= LEAST && fabs(v) <= MOST); /* NaN is not */
}

static bool put_fixed(struct sheet *s, lxw_col_t col, const struct window_column *c, uint64_t row,
                      lxw_error *ret)
{
    double v;
    switch (c->column->phys) {
    case PHYS_BOOL: {
        uint64_t bit = row + c->values_shift;
        *ret = worksheet_write_boolean(s->sheet, s->row, col, (c->values[bit >> 3] >> (bit & 7)) & 1, NULL);
        return true;
    }
    case PHYS_INT16: {
        int16_t i;
        memcpy(&i, c->values + row * sizeof i, sizeof i);
        v = i;
        break;
    }
    case PHYS_INT32: {
        int32_t i;
        memcpy(&i, c->values + row * sizeof i, sizeof i);
        v = i;
        break;
    }
    case PHYS_INT64: {
        int64_t i = get64(c, row);
        if (i > 999999999999999 || i < -999999999999999)
            return false;
        v = (double)i;
        break;
    }
    case PHYS_FLOAT64:
        memcpy(&v, c->values + row * sizeof v, sizeof v);
        if (!in_range(v))
            return false;
        break;
    case PHYS_DATE:
    case PHYS_TIME:
    case PHYS_TIMESTAMP:
    case PHYS_TIMESTAMPTZ:
        return put_moment(s, col, c, row, ret);
    default:
        return false;
    }
    *ret = worksheet_write_number(s->sheet, s->row, col, v, NULL);
    return true;
}

static int put_value(struct sheet *s, lxw_col_t col, const struct window_column *c, uint64_t row,
                     struct err *e)
{
    lxw_error x;
    const struct column *k = c->column;
    if (window_is_null(c, row))
        return 0;
    if (put_fixed(s, col, c, row, &x))
        return library_error(x, e);
    if (k->phys == PHYS_UTF8 && !digits_text(k)) {
        int32_t from = c->offsets[row] - c->offset_base, to = c->offsets[row + 1] - c->offset_base;
        return put_text(s, col, k->name, (const char *)c->data + from, (size_t)(to - from), e);
    }
    buf_reset(&s->text);
    if (value_text_in(TEXT_NEUTRAL, s->job->zone, c, row, &s->text) || buf_reserve(&s->text, 1))
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    size_t n = s->text.len;
    s->text.p[n] = 0;
    float f = 0;
    if (k->phys == PHYS_FLOAT32)
        memcpy(&f, c->values + row * sizeof f, sizeof f);
    if ((k->phys == PHYS_FLOAT32 && isfinite(f)) || (digits_text(k) && short_number(s->text.p, n)))
        return library_error(worksheet_write_number(s->sheet, s->row, col, strtod(s->text.p, NULL), NULL), e);
    return put_text(s, col, k->name, s->text.p, n, e);
}

/* ---- the sheet ---- */

static int put_rows(struct sheet *s, struct err *e)
{
    struct render_job *j = s->job;
    struct segment_scratch *x = segment_scratch_new();
    int rc = x ? 0 : err_set(e, ERR_NOMEM, "53200", "out of memory");
    for (uint64_t at = j->first; !rc && render_has(j, at);) {
        struct window w;
        rc = segment_window(j->segment, at, j->end - at, WINDOW, x, &w, e);
        for (uint64_t row = 0; !rc && row < w.rows; row++, s->row++) {
            for (uint32_t i = 0; !rc && i < w.schema->ncolumns; i++)
                rc = put_value(s, (lxw_col_t)i, &w.columns[i], row, e);
            j->rows_done++;
        }
        at += w.rows;
    }
    segment_scratch_free(x);
    return rc;
}

static double width_of(enum phys p)
{
    return p == PHYS_DATE ? 11 : p == PHYS_TIME ? 13 : p == PHYS_TIMESTAMP || p == PHYS_TIMESTAMPTZ ? 24 : 0;
}

static int put_head(struct sheet *s, struct err *e)
{
    const struct schema *schema = segment_schema(s->job->segment);
    int rc = 0;
    for (uint32_t i = 0; !rc && i < schema->ncolumns; i++) {
        const struct column *c = &schema->columns[i];
        const char *name = c->name ? c->name : "";
        double width = width_of(c->phys); /* the default shows them as #### */
        if (width > 0)
            rc = library_error(worksheet_set_column(s->sheet, (lxw_col_t)i, (lxw_col_t)i, width, NULL), e);
        if (!rc && s->job->order.header)
            rc = put_text(s, (lxw_col_t)i, name, name, strlen(name), e);
    }
    if (s->job->order.header)
        s->row++;
    return rc;
}

static int open_book(struct sheet *s, struct err *e)
{
    static char here[] = ".";
    lxw_workbook_options options = {.constant_memory = LXW_TRUE, .tmpdir = here};
    lxw_doc_properties properties = {.created = MADE_AT};
    s->book = workbook_new_opt(WIRE_RENDER_OUT, &options);
    s->sheet = s->book ? workbook_add_worksheet(s->book, s->job->order.sheet) : NULL;
    if (!s->sheet)
        return err_set(e, s->book ? ERR_INVALID : ERR_NOMEM, "22023",
                       "the sheet cannot be made: its name must be 1 to 31 characters without []:*?/\\");
    (void)workbook_set_properties(s->book, &properties);
    s->date = workbook_add_format(s->book);
    s->stamp = workbook_add_format(s->book);
    s->time = workbook_add_format(s->book);
    if (!s->date || !s->stamp || !s->time)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    format_set_num_format(s->date, "yyyy-mm-dd");
    format_set_num_format(s->stamp, "yyyy-mm-dd hh:mm:ss.000");
    format_set_num_format(s->time, "hh:mm:ss.000");
    return 0;
}

static int close_book(struct sheet *s, struct err *e)
{
    FILE *rows = s->sheet->optimize_tmpfile;
    if (rows && (fflush(rows) != 0 || ferror(rows)))
        return err_set(e, ERR_IO, "58030", "the rows could not be written");
    struct stat st;
    s->book->options.use_zip64 = rows && fstat(fileno(rows), &st) == 0 && st.st_size > BIG_SHEET;
    int rc = library_error(workbook_close(s->book), e);
    int unwritten = xlsx_unwritten();
    if (unwritten == ERR_UNAVAILABLE)
        return err_set(e, ERR_UNAVAILABLE, "53100", "the disk is full");
    return unwritten ? err_set(e, unwritten, "54000", "too large") : rc;
}

int render_xlsx(struct render_job *j, struct err *e)
{
    struct sheet s = {.job = j};
    buf_init(&s.text, TEXT_MAX);
    buf_init(&s.escaped, TEXT_MAX);
    j->weight = ROWS_WEIGHT;
    int rc = open_book(&s, e);
    if (!rc)
        rc = put_head(&s, e);
    if (!rc)
        rc = put_rows(&s, e);
    if (!rc)
        rc = close_book(&s, e);
    buf_free(&s.text);
    buf_free(&s.escaped);
    return rc;
}
