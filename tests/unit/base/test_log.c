/* log and metrics: lines that cannot be forged, a full pipe that does not block, the exposition text. */
#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/json_read.h"
#include "base/log.h"
#include "base/metrics.h"

static int out_end, saved_stderr;

static void capture(void)
{
    int p[2];
    assert_int_equal(pipe(p), 0);
    saved_stderr = dup(2);
    dup2(p[1], 2);
    close(p[1]);
    out_end = p[0];
    fcntl(out_end, F_SETFL, O_NONBLOCK);
}

static size_t captured(char *out, size_t n)
{
    dup2(saved_stderr, 2);
    close(saved_stderr);
    size_t got = 0;
    for (ssize_t r; got < n - 1 && (r = read(out_end, out + got, n - 1 - got)) > 0;)
        got += (size_t)r;
    out[got] = 0;
    close(out_end);
    return got;
}

static char text[1 << 20];

static void logfmt(void **state)
{
    (void)state;
    log_init(LOG_INFO, false);
    capture();
    log_event(LOG_DEBUG, "base", "unseen", NULL);
    log_event(LOG_WARN, "base", "two words", "plain", "abc", "empty", "", "evil",
              "a\nlevel=info \"x\" \xE2\x80\xAE\x1b[31m\xFF\x7f", NULL);
    log_line(LOG_INFO, "base", "port %d", 80);
    captured(text, sizeof text);
    const char *rest = strchr(text, ' ');
    assert_memory_equal(text, "time=2", 6);
    assert_non_null(strstr(rest,
                           " level=warn module=base msg=\"two words\" plain=abc empty=\"\" "
                           "evil=\"a\\nlevel=info \\\"x\\\" \\u202e\\u001b[31m\xEF\xBF\xBD\\u007f\"\n"));
    assert_non_null(strstr(rest, " level=info module=base msg=\"port 80\"\n"));
    assert_null(strstr(text, "unseen"));
}

static void json_lines(void **state)
{
    (void)state;
    log_init(LOG_DEBUG, true);
    capture();
    char huge[9000], bytes[512];
    memset(huge, 'x', sizeof huge - 1);
    huge[sizeof huge - 1] = 0;
    for (size_t i = 0; i < sizeof bytes - 1; i++)
        bytes[i] = (char)(i % 255 + 1);
    bytes[sizeof bytes - 1] = 0;
    log_event(LOG_DEBUG, "base", "m", "k", bytes, "emoji", "\xF0\x9F\x98\x80 \xF3\xA0\x80\x81", NULL);
    log_event(LOG_ERROR, "base", "m", "a", huge, "b", huge, "c", huge, "d", huge, "last", "here", NULL);
    log_line(LOG_ERROR, "base", "%s", huge);
    captured(text, sizeof text);
    int lines = 0;
    for (char *line = text, *nl; (nl = strchr(line, '\n')); line = nl + 1, lines++) {
        CLEANUP_JSON struct json_doc *d = NULL;
        struct err e;
        assert_true(nl - line < 4096);
        if (json_parse(line, (size_t)(nl - line), &d, &e) < 0)
            fail_msg("%s", e.text);
        bool cut = json_get(json_root(d), "cut") != NULL;
        assert_int_equal(cut, lines > 0);
        if (lines == 1)
            assert_string_equal(json_string(json_get(json_root(d), "last"), NULL), "here");
    }
    assert_int_equal(lines, 3);
}

static void full_pipe(void **state)
{
    (void)state;
    log_init(LOG_INFO, false);
    struct metric *dropped = metrics_get(METRIC_COUNTER, "quern_log_dropped_total", "", NULL);
    int64_t before = metric_value(dropped);
    capture();
    for (int i = 0; i < 5000; i++) /* far more than a pipe holds: would hang if it blocked */
        log_event(LOG_INFO, "base", "filling", "with", "something that takes room", NULL);
    size_t n = captured(text, sizeof text);
    assert_true(metric_value(dropped) > before);
    assert_true(n > 4096 && text[n - 1] == '\n');
    int64_t lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    assert_int_equal(lines + metric_value(dropped) - before, 5000);
}

static void *count_up(void *arg)
{
    for (int i = 0; i < 10000; i++) {
        metric_add(arg, 1);
        metric_add(metrics_get(METRIC_COUNTER, "t_shared_total", "k=\"v\"", "x"), 1);
    }
    return NULL;
}

static void exposition(void **state)
{
    (void)state;
    struct metric *a = metrics_get(METRIC_COUNTER, "t_one_total", "state=\"A\"", "Help \\ with\nnewline");
    struct metric *h = metrics_get(METRIC_HISTOGRAM, "t_seconds", "route=\"r\"", "Time");
    struct metric *g = metrics_get(METRIC_GAUGE, "t_gauge", "", "Now");
    struct metric *b = metrics_get(METRIC_COUNTER, "t_one_total", "state=\"B\"", "");
    assert_ptr_equal(a, metrics_get(METRIC_COUNTER, "t_one_total", "state=\"A\"", NULL));
    assert_ptr_not_equal(a, b);
    metric_add(a, 2);
    metric_add(b, 3);
    metric_set(g, -4);
    metric_observe_ns(h, 0);
    metric_observe_ns(h, 500000);
    metric_observe_ns(h, 500001);
    metric_observe_ns(h, INT64_C(700000000000));
    CLEANUP_BUF struct buf out = BUF_INIT(1 << 20);
    assert_int_equal(metrics_render(&out), 0);
    const char *s = buf_str(&out);
    assert_non_null(strstr(s, "# HELP t_one_total Help \\\\ with\\nnewline\n# TYPE t_one_total counter\n"
                              "t_one_total{state=\"A\"} 2\nt_one_total{state=\"B\"} 3\n"));
    assert_non_null(strstr(s, "# TYPE t_gauge gauge\nt_gauge -4\n"));
    assert_non_null(strstr(
        s, "t_seconds_bucket{route=\"r\",le=\"0.0005\"} 2\nt_seconds_bucket{route=\"r\",le=\"0.001\"} 3\n"));
    assert_non_null(
        strstr(s, "t_seconds_bucket{route=\"r\",le=\"600\"} 3\nt_seconds_bucket{route=\"r\",le=\"+Inf\"} 4\n"
                  "t_seconds_sum{route=\"r\"} 700.001000001\nt_seconds_count{route=\"r\"} 4\n"));

    pthread_t threads[4];
    struct metric *c = metrics_get(METRIC_COUNTER, "t_threads_total", "", "x");
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, c), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metric_value(c), 40000);
    assert_int_equal(metric_value(metrics_get(METRIC_COUNTER, "t_shared_total", "k=\"v\"", "x")), 40000);
}

static void too_many_series(void **state)
{
    (void)state;
    struct metric *last = NULL, *previous = NULL;
    for (int i = 0; i < 5000; i++) {
        char labels[32];
        snprintf(labels, sizeof labels, "n=\"%d\"", i);
        previous = last;
        last = metrics_get(METRIC_HISTOGRAM, "t_many_seconds", labels, "x");
        metric_observe_ns(last, 1);
    }
    assert_ptr_equal(last, previous);
    metric_set(last, 99);
    assert_true(metric_value(last) > 500 && metric_value(last) < 1000);
    CLEANUP_BUF struct buf out = BUF_INIT(64 << 20);
    assert_int_equal(metrics_render(&out), 0);
    assert_non_null(strstr(buf_str(&out), "quern_metrics_overflow_total "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logfmt),     cmocka_unit_test(json_lines),      cmocka_unit_test(full_pipe),
        cmocka_unit_test(exposition), cmocka_unit_test(too_many_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
