/*
 * log: see log.h. Any thread.
 *
 * Invariants: one line is one write of at most LINE_MAX bytes; a line is either whole and well formed (valid
 * UTF-8, in JSON mode valid JSON) or not there. Nothing here blocks: descriptor 2 is shared with other
 * processes, so it is not switched to O_NONBLOCK; instead it is asked for room first, under a mutex so that
 * two threads do not both take the last room. Values are escaped here, for everyone: a line cannot be forged
 * from outside.
 */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/sys_wait.h"
#include "base/utf8.h"

#define LINE_MAX_BYTES 4096 /* PIPE_BUF: a pipe takes it in one piece or not at all */
#define VALUE_MAX      1500 /* bytes of one value before escaping */
#define TAIL           32   /* room kept for the end of a line that was cut */

static atomic_int min_level = LOG_INFO;
static atomic_bool as_json;
static _Atomic(struct metric *) dropped;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct line {
    char text[LINE_MAX_BYTES];
    size_t len, room; /* room: how far pairs may go */
    bool json, over;
};

void log_init(enum log_level min, bool json)
{
    atomic_store(&min_level, (int)min);
    atomic_store(&as_json, json);
    atomic_store(&dropped,
                 metrics_get(METRIC_COUNTER, "quern_log_dropped_total", "", "Log lines that found no room."));
}

void log_set_level(enum log_level min)
{
    atomic_store(&min_level, (int)min);
}

static void put(struct line *l, const char *s, size_t n)
{
    if (l->over || n > l->room - l->len) {
        l->over = true;
        return;
    }
    memcpy(l->text + l->len, s, n);
    l->len += n;
}

static void put_escaped(struct line *l, const char *s, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < n && !l->over;) {
        uint32_t cp = 0; /* gcc sees no value after a failed step when ThreadSanitizer is on */
        int k = utf8_next(s + i, n - i, &cp);
        if (k < 0) {
            put(l, UTF8_REPLACEMENT, 3);
            i += (size_t)-k;
            continue;
        }
        if (cp == '"' || cp == '\\') {
            char two[2] = {'\\', (char)cp};
            put(l, two, 2);
        } else if (cp == '\n' || cp == '\t') {
            put(l, cp == '\n' ? "\\n" : "\\t", 2);
        } else if (utf8_hidden(cp)) {
            uint32_t units[2] = {cp, 0};
            int count = 1;
            if (cp > 0xFFFF) { /* JSON knows only \uXXXX: a surrogate pair */
                units[0] = 0xD800 + ((cp - 0x10000) >> 10);
                units[1] = 0xDC00 + ((cp - 0x10000) & 0x3FF);
                count = 2;
            }
            for (int u = 0; u < count; u++) {
                char six[6] = {'\\',
                               'u',
                               hex[units[u] >> 12],
                               hex[units[u] >> 8 & 15],
                               hex[units[u] >> 4 & 15],
                               hex[units[u] & 15]};
                put(l, six, 6);
            }
        } else {
            put(l, s + i, (size_t)k);
        }
        i += (size_t)k;
    }
}

static bool is_bare(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] <= ' ' || (unsigned char)s[i] >= 0x7F || strchr("\"\\=", s[i]))
            return false;
    return n > 0;
}

/* Adds key=value, or nothing when it does not fit whole. */
static bool pair(struct line *l, const char *key, const char *value)
{
    size_t before = l->len, n = value ? utf8_cut(value, strlen(value), VALUE_MAX) : 0;
    if (l->json) {
        put(l, before == 0 ? "{\"" : ",\"", 2);
        put_escaped(l, key, strlen(key));
        put(l, "\":\"", 3);
    } else {
        if (before > 0)
            put(l, " ", 1);
        put(l, key, strlen(key));
        put(l, "=", 1);
    }
    bool quotes = !l->json && !is_bare(value, n);
    if (quotes)
        put(l, "\"", 1);
    if (n > 0)
        put_escaped(l, value, n);
    if (quotes || l->json)
        put(l, "\"", 1);
    if (!l->over)
        return true;
    l->len = before;
    l->over = false;
    return false;
}

static void begin(struct line *l, enum log_level level, const char *module, const char *msg)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    char time[40];
    l->len = 0;
    l->room = LINE_MAX_BYTES - TAIL;
    l->over = false;
    l->json = atomic_load_explicit(&as_json, memory_order_relaxed);
    pair(l, "time", clock_iso_ms(sys_wall_ms(), time, sizeof time));
    pair(l, "level", names[level]);
    pair(l, "module", module);
    pair(l, "msg", msg);
}

/* True when the whole line went out. */
static bool deliver(const char *text, size_t n)
{
    static atomic_bool no_socket;
    if (!atomic_load_explicit(&no_socket, memory_order_relaxed)) {
        ssize_t r = sys_send(STDERR_FILENO, text, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (r >= 0 || errno != ENOTSOCK)
            return r == (ssize_t)n;
        atomic_store_explicit(&no_socket, true, memory_order_relaxed);
    }
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (sys_poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT) || p.revents & POLLERR)
        return false;
    return sys_send(STDERR_FILENO, text, n, 0) == (ssize_t)n;
}

static void finish(struct line *l, bool cut)
{
    l->room = LINE_MAX_BYTES;
    if (cut)
        pair(l, "cut", "true");
    if (l->json)
        put(l, "}", 1);
    put(l, "\n", 1);
    int saved = errno;
    pthread_mutex_lock(&lock);
    bool out = deliver(l->text, l->len);
    pthread_mutex_unlock(&lock);
    errno = saved;
    struct metric *m = out ? NULL : atomic_load(&dropped);
    if (m)
        metric_add(m, 1);
}

static bool wanted(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&min_level, memory_order_relaxed);
}

void log_event(enum log_level level, const char *module, const char *msg, ...)
{
    if (!wanted(level))
        return;
    struct line l;
    bool cut = false;
    begin(&l, level, module, msg);
    va_list ap;
    va_start(ap, msg);
    for (const char *key; (key = va_arg(ap, const char *));) {
        const char *value = va_arg(ap, const char *);
        cut |= !pair(&l, key, value);
    }
    va_end(ap);
    finish(&l, cut);
}

void log_line(enum log_level level, const char *module, const char *fmt, ...)
{
    if (!wanted(level))
        return;
    char msg[VALUE_MAX + 8];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    struct line l;
    begin(&l, level, module, n < 0 ? fmt : msg);
    finish(&l, n > VALUE_MAX);
}
