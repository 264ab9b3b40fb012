/*
 * Tests of encoders/arrow: the streams it writes are read back by pyarrow (read_arrow.py prints what it
 * sees), whole and cut into slices at every row; both flavours; the message lengths add up. Without the
 * Python environment the reading is skipped, and says so.
 */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sample.h"

#define SLICED_ROWS 203

/* Runs `python read_arrow.py FILE MODE` and gives its output. False when there is no Python. */
static bool read_back(const struct buf *stream, const char *mode, struct buf *out)
{
    const char *cache = getenv("QUERN_CACHE"), *source = getenv("QUERN_SOURCE");
    char python[4096], script[4096], file[] = "/tmp/quern-arrow-XXXXXX";
    int pipes[2];
    snprintf(python, sizeof python, "%s/venv/bin/python", cache ? cache : "");
    snprintf(script, sizeof script, "%s/tests/unit/encoders/read_arrow.py", source ? source : ".");
    if (access(python, X_OK) != 0) {
        print_message("skipped: no Python environment to read Arrow with\n");
        return false;
    }
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, stream->p, stream->len), (ssize_t)stream->len);
    close(fd);
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (!pid) {
        dup2(pipes[1], 1);
        close(pipes[0]);
        execl(python, python, script, file, mode, (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    char part[4096];
    ssize_t n;
    while ((n = read(pipes[0], part, sizeof part)) > 0)
        assert_int_equal(buf_add(out, part, (size_t)n), 0);
    close(pipes[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    unlink(file);
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        fail_msg("pyarrow does not read the stream");
    return true;
}

static void expect_lines(const struct buf *stream, const char *mode, const char *want)
{
    struct buf out = BUF_INIT(1 << 22);
    if (read_back(stream, mode, &out) && strcmp(buf_str(&out), want) != 0)
        fail_msg("pyarrow reads\n%s\nshould be\n%s", out.p, want);
    buf_free(&out);
}

static void schemas(void **state)
{
    (void)state;
    struct sample s = every_type();
    struct buf b = BUF_INIT(1 << 20);
    every_column[7].sql = SQLT_JSON;
    every_column[1].nullable = false;
    for (int f = ARROW_NEUTRAL; f <= ARROW_DATA360; f++) {
        buf_reset(&b);
        assert_int_equal(arrow_schema_message(s.schema, (enum arrow_flavour)f, &b, NULL), 0);
        assert_int_equal(b.len % 8, 0);
        const char *zone = f ? "Utc" : "UTC", *item = f ? "$element" : "item";
        char want[2000];
        snprintf(want, sizeof want,
                 "b: bool\ni16: int16 not null\ni32: int32\ni64: int64\nf: float\nd: double\ndec: "
                 "decimal128(18, 4)\nt: string%s\nbin: binary\n"
                 "date: date64[ms]\ntime: time64[us]\nts: timestamp[us]\ntz: timestamp[us, tz=%s]\niv: "
                 "month_day_nano_interval\n"
                 "l: list<%s: int32>\ns: struct<x: string, y: decimal128(5, 2)>\nm: map<string, double>\n",
                 f ? " {hyper:type=Json}" : "", zone, item);
        expect_lines(&b, "schema", want);
    }
    every_column[7].sql = SQLT_VARCHAR;
    every_column[1].nullable = true;
    buf_free(&b);
    sample_free(&s);
}

/* Schema, then the body as it lies behind arrow_batch_header: what a segment file holds. */
static void stored(void **state)
{
    (void)state;
    struct sample s = every_type();
    struct buf b = BUF_INIT(1 << 20);
    assert_int_equal(arrow_schema_message(s.schema, ARROW_NEUTRAL, &b, NULL), 0);
    size_t before = b.len;
    assert_int_equal(arrow_batch_header(s.schema, s.ix, &b, NULL), 0);
    assert_int_equal((b.len - before) % 8, 0);
    assert_int_equal(buf_add(&b, s.body.p, s.body.len), 0);
    assert_int_equal(arrow_end(&b), 0);
    expect_lines(&b, "rows",
                 "[true, -32768, -2147483648, -9223372036854775808, 0.10000000149011612, 100.0, '-123.4567', "
                 "'it\\'s \"quoted\", \\ud55c\\n', '01ab',"
                 " 847497600000, 52200000000, 1732583928000000, 1732583928000000, '14 3 14706500000000', [1, "
                 "None, 3], {'x': 'a', 'y': '1.50'},"
                 " [('k1', 1.5), ('k\\n2', -0.0)]]\n"
                 "[false, 7, 12345, 9223372036854775807, 10000000000.0, 91063.82, '0.0005', '', '', "
                 "-185542587100800000, 86399999999,"
                 " 1732583928123456, 1732583928123456, '0 0 0', [], {'x': 'b\"', 'y': '-0.01'}, []]\n"
                 "[None, None, None, None, None, None, None, None, None, None, None, None, None, None, None, "
                 "None, None]\n");
    buf_free(&b);
    sample_free(&s);
}

static void empty(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    struct column c[] = {COL("a", PHYS_UTF8, SQLT_VARCHAR)};
    struct sample s = pack(c, 1, &(struct cells){.texts = none}, 0);
    struct buf b = BUF_INIT(1 << 20);
    struct encode_options o = {.stream_end = true};
    struct encode_state st = {0};
    const struct encoder *k = encoder_find("arrow");
    assert_int_equal(k->head(&o, s.schema, &b, NULL), 0);
    assert_int_equal(k->tail(&o, &st, s.schema, &b, NULL), 0);
    expect_lines(&b, "rows", "");
    buf_reset(&b);
    o = (struct encode_options){.no_schema = true};
    assert_int_equal(k->head(&o, s.schema, &b, NULL), 0);
    assert_int_equal(k->tail(&o, &st, s.schema, &b, NULL), 0);
    assert_int_equal(b.len, 0);
    buf_free(&b);
    sample_free(&s);
}

/* A batch with NULLs at odd places, lists of texts, and bits: the window over it may begin anywhere. */
static struct sample sliced(void)
{
    static struct column kid[] = {COL("item", PHYS_UTF8, SQLT_VARCHAR)};
    static struct column c[] = {COL("n", PHYS_INT32, SQLT_INTEGER),
                                COL("b", PHYS_BOOL, SQLT_BOOLEAN),
                                COL("t", PHYS_UTF8, SQLT_VARCHAR),
                                {.name = "l",
                                 .detail = "",
                                 .phys = PHYS_LIST,
                                 .sql = SQLT_LIST,
                                 .nullable = true,
                                 .nchildren = 1,
                                 .children = kid}};
    static int32_t n[SLICED_ROWS], offsets[SLICED_ROWS + 1];
    static char nulls[SLICED_ROWS], bits[SLICED_ROWS], some[2 * SLICED_ROWS];
    static char text[2 * SLICED_ROWS][8];
    static const char *t[2 * SLICED_ROWS];
    for (int i = 0; i < 2 * SLICED_ROWS; i++) {
        snprintf(text[i], sizeof text[i], "t%d", i * 7 % 100);
        t[i] = text[i];
        some[i] = i % 5 ? '1' : '0';
    }
    for (int i = 0; i < SLICED_ROWS; i++) {
        n[i] = i;
        nulls[i] = i % 3 ? '1' : '0';
        bits[i] = i % 7 < 3 ? '1' : '0';
        offsets[i + 1] = offsets[i] + i % 3;
    }
    static struct cells child[1];
    child[0] = (struct cells){.length = (uint64_t)offsets[SLICED_ROWS], .texts = t, .nulls = some};
    const struct cells v[] = {{.length = SLICED_ROWS, .values = n},
                              {.length = SLICED_ROWS, .bools = bits, .nulls = nulls},
                              {.length = SLICED_ROWS, .texts = t, .nulls = nulls},
                              {.length = SLICED_ROWS, .offsets = offsets, .children = child}};
    return pack(c, COUNT(c), v, SLICED_ROWS);
}

static void slices(void **state)
{
    (void)state;
    struct sample s = sliced();
    struct err e;
    if (sample_check(&s, &e))
        fail_msg("%s", e.text);
    struct window w = sample_window(&s);
    const struct encoder *k = encoder_find("arrow");
    struct encode_options o = {.stream_end = true};
    struct buf whole = BUF_INIT(1 << 22), b = BUF_INIT(1 << 22);
    if (!(assert_int_equal(k->head(&o, s.schema, &b, NULL), 0),
          assert_int_equal(arrow_batch_header(s.schema, s.ix, &b, NULL), 0),
          assert_int_equal(buf_add(&b, s.body.p, s.body.len), 0), read_back(&b, "rows", &whole)))
        skip();
    assert_int_equal(whole.p[0], '[');
    for (size_t soft = 1; soft < 6000; soft = soft * 3 + 1) { /* from one row a message to all in one */
        struct encode_state st = {0};
        struct buf part = BUF_INIT(1 << 20);
        buf_reset(&b);
        assert_int_equal(k->head(&o, s.schema, &b, NULL), 0);
        for (uint64_t row = 0; row < w.rows;) {
            uint64_t from = row;
            buf_reset(&part);
            assert_int_equal(k->put_rows(&o, &st, &w, row, w.rows, soft, &part, &row, NULL), 0);
            assert_true(row > from && (row == w.rows || part.len >= soft));
            assert_int_equal(buf_add(&b, part.p, part.len), 0);
        }
        assert_int_equal(k->tail(&o, &st, s.schema, &b, NULL), 0);
        expect_lines(&b, "rows", buf_str(&whole));
        buf_free(&part);
    }
    /* a slice is itself a batch that passes the check, and its rows are those of the whole */
    for (uint64_t from = 0; from < 40; from++) {
        struct encode_state st = {0};
        uint64_t to = from + 1 + from * 3, next;
        buf_reset(&b);
        assert_int_equal(k->put_rows(&o, &st, &w, from, to, SIZE_MAX, &b, &next, NULL), 0);
        assert_int_equal(next, to);
        size_t head = 8 + 80 + 16 * (s.ix->nnodes + s.ix->nbuffers);
        struct batch_index ix = *s.ix;
        ix.rows = to - from;
        ix.body_len = b.len - head;
        ix.nodes = (struct batch_node *)(void *)(b.p + 8 + 72);
        ix.buffers = (struct batch_buffer *)(void *)(b.p + 8 + 80 + 16 * s.ix->nnodes);
        struct sample cut = s;
        cut.ix = &ix;
        cut.body.p = b.p + head;
        if (sample_check(&cut, &e))
            fail_msg("rows %d to %d: %s", (int)from, (int)to, e.text);
        struct window x = sample_window(&cut);
        for (uint64_t r = from; r < to; r++) {
            for (uint32_t i = 0; i < s.schema->ncolumns; i++) {
                struct buf p = BUF_INIT(1000), q = BUF_INIT(1000);
                assert_int_equal(value_json(TEXT_NEUTRAL, &w.columns[i], r, &p), 0);
                assert_int_equal(value_json(TEXT_NEUTRAL, &x.columns[i], r - from, &q), 0);
                assert_string_equal(buf_str(&p), buf_str(&q));
                buf_free(&p);
                buf_free(&q);
            }
        }
    }
    /* a window that begins inside: shifted bits, offsets with another base */
    struct window_column moved[4];
    memcpy(moved, w.columns, sizeof moved);
    const uint64_t skip_rows = 29;
    for (int i = 0; i < 4; i++) {
        moved[i].length -= skip_rows;
        moved[i].validity_shift += (uint32_t)skip_rows;
        moved[i].values_shift += (uint32_t)skip_rows;
        if (i == 0)
            moved[i].values += 4 * skip_rows;
        if (moved[i].offsets)
            moved[i].offsets += skip_rows;
    }
    moved[2].data += moved[2].offsets[0];
    moved[2].offset_base = moved[2].offsets[0];
    struct window late = {s.schema, skip_rows, w.rows - skip_rows, moved};
    struct encode_state st = {0};
    struct buf p = BUF_INIT(1 << 20), q = BUF_INIT(1 << 20);
    uint64_t next;
    assert_int_equal(k->put_rows(&o, &st, &w, skip_rows, w.rows, SIZE_MAX, &p, &next, NULL), 0);
    assert_int_equal(k->put_rows(&o, &st, &late, 0, late.rows, SIZE_MAX, &q, &next, NULL), 0);
    assert_int_equal(p.len, q.len);
    assert_memory_equal(p.p, q.p, p.len);
    buf_free(&p);
    buf_free(&q);
    buf_free(&b);
    buf_free(&whole);
    sample_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schemas),
        cmocka_unit_test(stored),
        cmocka_unit_test(empty),
        cmocka_unit_test(slices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
