/*
 * audit: see audit.h. A bounded queue, one thread that writes it down.
 *
 * Invariants: records are numbered and chained by the thread alone, in the order of the queue; a group is
 * written with one write and cut off again when that failed, so that the file holds whole records; audit.head
 * is written after the fsync, so that it never names a record that could be lost. What was written survives
 * the process's death at once, the machine's after audit.flush. Threads: events on any, under `lock` for the
 * queue only; files by the thread (and by open and close while it does not run).
 */
#include "core/audit_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/json_write.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/sys.h"
#include "base/utf8.h"
#include "core/keyring.h"

#define VALUE_MAX 512        /* bytes of one value; longer ones are cut */
#define GROUP_MAX (1u << 20) /* bytes written at once */
#define GATHER_MS 10         /* pause between groups, so that a busy daemon writes few large ones */
#define RETRY_MS  1000       /* after a failed write */
#define REFUSALS  100        /* a second */

struct event {
    struct event *next;
    size_t len;
    char text[]; /* members between number and prev */
};

static struct {
    pthread_mutex_t lock; /* guards the queue */
    pthread_cond_t wake, done;
    struct event *head, **tail;
    int64_t queued;            /* in the queue or being written */
    uint64_t put, out;         /* events ever queued; events ever written and fsynced */
    int64_t dropped, left_out; /* since the last record that said so */
    bool stop, hurry, resting; /* resting: between groups, not to be woken by an event */
    atomic_bool open, failing;
    pthread_t thread;
    /* the thread's */
    int dir, fd;
    struct audit_point at;
    uint64_t first_seq; /* of the current file; 0 empty */
    int64_t size;
    bool dirty;
    int64_t synced_ns;
    const char *previous;
    uint8_t statement_key[CRYPTO_KEY_LEN];
    int64_t second, in_second; /* refusals; guarded by lock */
    struct metric *m_records, *m_dropped, *m_failed;
} trail = {.lock = PTHREAD_MUTEX_INITIALIZER, .dir = -1, .fd = -1, .previous = "none"};

/* ---- events ---- */

static void pair(struct json_write *j, const char *key, const char *value)
{
    if (!value)
        return;
    json_key(j, key);
    json_strn(j, value, utf8_cut(value, strlen(value), VALUE_MAX));
}

/* What is left of text[at, n) as JSON of the same meaning in which nothing hides or turns around on a terminal: names
 * may hold any character. */
static void escape_hidden(struct buf *b, const char *text, size_t n)
{
    size_t begun = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        int k = utf8_next(text + i, n - i, &cp);
        if (k > 1 && utf8_hidden(cp)) {
            (void)buf_add(b, text + begun, i - begun);
            if (cp > 0xFFFF)
                (void)buf_printf(b, "\\u%04x\\u%04x", (unsigned)(0xD800 + ((cp - 0x10000) >> 10)),
                                 (unsigned)(0xDC00 + ((cp - 0x10000) & 0x3FF)));
            else
                (void)buf_printf(b, "\\u%04x", (unsigned)cp);
            begun = i + (size_t)k;
        }
        i += k > 0 ? (size_t)k : (size_t)-k;
    }
    (void)buf_add(b, text + begun, n - begun);
}

/* {"time":..,...} without the braces. */
static struct event *event_new(const char *word, va_list ap)
{
    char time[40];
    CLEANUP_BUF struct buf b = BUF_INIT(AUDIT_LINE_MAX - 256);
    struct json_write j = JSON_WRITE_INIT(&b);
    json_object_begin(&j);
    json_kstr(&j, "time", clock_iso_ms(sys_wall_ms(), time, sizeof time));
    json_kstr(&j, "event", word);
    for (const char *key; (key = va_arg(ap, const char *));)
        pair(&j, key, va_arg(ap, const char *));
    CLEANUP_BUF struct buf plain = BUF_INIT(AUDIT_LINE_MAX - 256);
    if (!buf_failed(&b) && b.len >= 2)
        escape_hidden(&plain, b.p + 1, b.len - 1);
    struct event *v = buf_failed(&plain) || plain.len == 0 ? NULL : malloc(sizeof *v + plain.len);
    if (!v)
        return NULL;
    v->next = NULL;
    v->len = plain.len;
    memcpy(v->text, plain.p, v->len);
    return v;
}

/* Lock held. */
static void append(struct event *v)
{
    bool idle = trail.head == NULL;
    *trail.tail = v;
    trail.tail = &v->next;
    trail.queued++;
    trail.put++;
    if (idle && !trail.resting)
        pthread_cond_signal(&trail.wake);
}

static void queue(struct event *v)
{
    pthread_mutex_lock(&trail.lock);
    bool room = v && atomic_load(&trail.open) && trail.queued < config.audit_queue;
    if (room)
        append(v);
    else
        trail.dropped++;
    pthread_mutex_unlock(&trail.lock);
    if (room)
        return;
    free(v);
    metric_add(trail.m_dropped, 1);
}

void audit_event(const char *word, ...)
{
    if (!atomic_load_explicit(&trail.open, memory_order_acquire))
        return;
    va_list ap;
    va_start(ap, word);
    struct event *v = event_new(word, ap);
    va_end(ap);
    queue(v);
}

void audit_refusal(const char *word, ...)
{
    if (!atomic_load_explicit(&trail.open, memory_order_acquire))
        return;
    int64_t second = sys_mono_ns() / 1000000000;
    pthread_mutex_lock(&trail.lock);
    if (second != trail.second)
        trail.in_second = 0;
    trail.second = second;
    bool room = trail.in_second++ < REFUSALS;
    if (!room)
        trail.left_out++;
    pthread_mutex_unlock(&trail.lock);
    if (!room)
        return;
    va_list ap;
    va_start(ap, word);
    struct event *v = event_new(word, ap);
    va_end(ap);
    queue(v);
}

void audit_statement(const char *sql, size_t n, char ret[AUDIT_HASH_TEXT])
{
    uint8_t h[CRYPTO_HASH_LEN];
    crypto_hash(trail.statement_key, sql, n, h);
    for (size_t i = 0; i < sizeof h; i++) {
        ret[2 * i] = "0123456789abcdef"[h[i] >> 4];
        ret[2 * i + 1] = "0123456789abcdef"[h[i] & 15];
    }
    ret[2 * sizeof h] = 0;
}

int audit_admit(struct err *e)
{
    if (!config.audit_required || !atomic_load(&trail.open))
        return 0;
    if (atomic_load(&trail.failing))
        return err_set(
            e, ERR_UNAVAILABLE, "58030",
            "the audit log cannot be written, and queries are refused without it (audit.required)");
    pthread_mutex_lock(&trail.lock);
    bool room = trail.queued + 16 <= config.audit_queue;
    pthread_mutex_unlock(&trail.lock);
    return room ? 0
                : err_set(e, ERR_UNAVAILABLE, "53400",
                          "%lld events wait for the audit log (audit.queue), and queries are refused without "
                          "it (audit.required)",
                          (long long)config.audit_queue);
}

const char *audit_previous(void)
{
    return trail.previous;
}

/* ---- the file (the thread's) ---- */

static int open_current(struct err *e)
{
    trail.fd =
        sys_openat(trail.dir, AUDIT_CURRENT, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    return trail.fd < 0 ? err_errno(e, errno, "opening the audit log") : 0;
}

static void write_head(void)
{
    char text[128];
    int n = snprintf(text, sizeof text, "%020" PRIu64 " %s\n", trail.at.seq, trail.at.hash);
    CLEANUP_FD int fd = sys_openat(trail.dir, AUDIT_HEAD, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void)!pwrite(fd, text, (size_t)n, 0); /* always the same length; a lost one only weakens the check */
}

static bool sync_file(void)
{
    if (!trail.dirty)
        return true;
    if (sys_fsync(trail.fd) != 0)
        return false;
    trail.dirty = false;
    trail.synced_ns = sys_mono_ns();
    write_head();
    return true;
}

static void remove_oldest(void)
{
    char **names = NULL;
    size_t n = 0;
    if (config.audit_keep == 0 || audit__names(trail.dir, &names, &n, NULL))
        return;
    for (size_t i = 0; n > (size_t)config.audit_keep && i < n - (size_t)config.audit_keep; i++)
        if (sys_unlinkat(trail.dir, names[i], 0) == 0)
            audit_event("audit_file_removed", "file", names[i], NULL);
    audit__names_free(names, n);
}

static void rotate(void)
{
    char name[64];
    struct err e;
    err_clear(&e);
    if (!sync_file())
        return;
    snprintf(name, sizeof name, "audit-%016" PRIu64 ".log", trail.first_seq);
    audit__files_lock();
    bool moved = sys_renameat(trail.dir, AUDIT_CURRENT, name) == 0;
    int old = trail.fd;
    if (moved && open_current(&e)) { /* back: better a large file than none */
        (void)!sys_renameat(trail.dir, name, AUDIT_CURRENT);
        trail.fd = old;
        moved = false;
    }
    if (moved) {
        close(old);
        int d = sys_openat(trail.dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        if (d >= 0)
            (void)!sys_fsync(d);
        if (d >= 0)
            close(d);
        trail.size = 0;
        trail.first_seq = 0;
        remove_oldest();
    }
    audit__files_unlock();
}

static void add_record(struct buf *b, const char *text, size_t n)
{
    size_t begin = b->len;
    buf_printf(b, "{\"seq\":%" PRIu64 ",", trail.at.seq + 1);
    buf_add(b, text, n);
    buf_printf(b, ",\"prev\":\"%s\"}", trail.at.hash);
    audit__hash(b->p + begin, b->len - begin, trail.at.hash);
    trail.at.seq++;
    buf_char(b, '\n');
}

/* Writes as many of the list as make a group; they are off the list then. False: nothing was written. */
static bool write_group(struct event **list, int64_t *ret_n)
{
    CLEANUP_BUF struct buf b = BUF_INIT(GROUP_MAX + 2 * AUDIT_LINE_MAX);
    struct audit_point before = trail.at;
    struct event *v = *list;
    int64_t n = 0;
    for (; v && b.len < GROUP_MAX && trail.size + (int64_t)b.len < config.audit_max_file; v = v->next, n++)
        add_record(&b, v->text, v->len);
    bool ok = !buf_failed(&b) && sys_write_all(trail.fd, b.p, b.len) == 0;
    if (!ok) {
        if (sys_ftruncate(trail.fd, trail.size) != 0)
            log_event(LOG_ERROR, "core", "the audit log holds a torn record", NULL);
        trail.at = before;
        return false;
    }
    if (trail.first_seq == 0)
        trail.first_seq = before.seq + 1;
    trail.size += (int64_t)b.len;
    trail.dirty = true;
    metric_add(trail.m_records, n);
    while (*list != v) {
        struct event *old = *list;
        *list = old->next;
        free(old);
    }
    *ret_n = n;
    return true;
}

static void failed(bool now)
{
    if (now)
        metric_add(trail.m_failed, 1);
    if (atomic_exchange(&trail.failing, now) == now)
        return;
    if (now)
        log_event(LOG_ERROR, "core", "the audit log cannot be written; events wait", "error",
                  strerrorname_np(errno), NULL);
    else
        log_event(LOG_INFO, "core", "the audit log can be written again", NULL);
}

/* ---- the thread ---- */

/* Lock held. */
static void wait_ms(int64_t ms)
{
    int64_t until = sys_mono_ns() + ms * 1000000;
    struct timespec ts = {until / 1000000000, until % 1000000000};
    pthread_cond_timedwait(&trail.wake, &trail.lock, &ts);
}

/* Lock held. A record in the place of those that found no room. */
static void tell(const char *word, int64_t *count)
{
    if (*count == 0)
        return;
    char text[160], time[40];
    int n = snprintf(text, sizeof text, "\"time\":\"%s\",\"event\":\"%s\",\"count\":\"%" PRId64 "\"",
                     clock_iso_ms(sys_wall_ms(), time, sizeof time), word, *count);
    struct event *v = malloc(sizeof *v + (size_t)n);
    if (!v)
        return;
    v->next = NULL;
    v->len = (size_t)n;
    memcpy(v->text, text, (size_t)n);
    *count = 0;
    append(v);
}

static bool sync_due(void)
{
    return trail.dirty &&
           (trail.hurry || trail.stop || sys_mono_ns() >= trail.synced_ns + config.audit_flush * 1000000);
}

static void *trail_main(void *arg)
{
    (void)arg;
    pthread_setname_np(pthread_self(), "q-audit");
    struct event *list = NULL;
    uint64_t written = 0;
    pthread_mutex_lock(&trail.lock);
    for (;;) {
        if (!list) {
            tell("audit_dropped", &trail.dropped);
            if (sys_mono_ns() / 1000000000 != trail.second)
                tell("refusals_left_out", &trail.left_out);
            list = trail.head;
            trail.head = NULL;
            trail.tail = &trail.head;
        }
        bool sync = sync_due();
        if (!list && !sync) {
            trail.hurry = false;
            if (trail.stop)
                break;
            pthread_cond_broadcast(&trail.done);
            if (trail.dirty)
                wait_ms(config.audit_flush / 4 + 1);
            else if (trail.left_out)
                wait_ms(RETRY_MS);
            else
                pthread_cond_wait(&trail.wake, &trail.lock);
            continue;
        }
        pthread_mutex_unlock(&trail.lock);
        int64_t n = 0;
        bool ok = !list || write_group(&list, &n);
        if (ok && trail.size >= config.audit_max_file)
            rotate();
        written += (uint64_t)n;
        if (ok && sync && !list)
            ok = sync_file();
        failed(!ok);
        pthread_mutex_lock(&trail.lock);
        trail.queued -= n;
        if (!trail.dirty)
            trail.out = written;
        if (!ok && trail.stop)
            break; /* what cannot be written is lost with the process */
        if (!ok) {
            trail.hurry = false;
            pthread_cond_broadcast(&trail.done);
            wait_ms(RETRY_MS);
        } else if (!list && !trail.stop && !trail.hurry) {
            trail.resting = true;
            wait_ms(GATHER_MS);
            trail.resting = false;
        }
    }
    pthread_cond_broadcast(&trail.done);
    pthread_mutex_unlock(&trail.lock);
    while (list) {
        struct event *v = list;
        list = v->next;
        free(v);
    }
    return NULL;
}

bool audit_flush(void)
{
    if (!atomic_load(&trail.open))
        return false;
    pthread_mutex_lock(&trail.lock);
    uint64_t want = trail.put;
    while (trail.out < want && !atomic_load(&trail.failing) && !trail.stop) {
        trail.hurry = true;
        pthread_cond_signal(&trail.wake);
        pthread_cond_wait(&trail.done, &trail.lock);
    }
    bool ok = trail.out >= want;
    pthread_mutex_unlock(&trail.lock);
    return ok;
}

/* ---- open and close ---- */

/* Where the chain goes on: in the current file, or behind the newest full one. *ret_cut: bytes of a torn
 * record that were cut off; *ret_lost: the newest record that was fsynced once and is not there. */
static int find_end(int64_t *ret_cut, uint64_t *ret_lost, struct err *e)
{
    struct audit_tail t;
    struct audit_point head;
    char **names = NULL;
    size_t n = 0;
    int rc = audit__tail(trail.dir, AUDIT_CURRENT, &t, e);
    if (rc == ERR_NOTFOUND)
        rc = 0;
    if (rc)
        return rc;
    if (t.torn > 0)
        *ret_cut = t.torn;
    trail.size = t.size;
    trail.first_seq = t.first_seq;
    trail.at = t.last;
    int previous = t.previous;
    if (t.last.seq == 0 || previous == 0) {
        rc = audit__names(trail.dir, &names, &n, e);
        struct audit_tail older = {0};
        if (!rc && n > 0)
            rc = audit__tail(trail.dir, names[n - 1], &older, e);
        if (!rc && n > 0 && t.last.seq == 0)
            trail.at = older.last;
        if (!rc && n > 0)
            previous = older.previous ? older.previous : 1;
        audit__names_free(names, n);
    }
    trail.previous = previous == 0 ? "none" : previous == 1 ? "unclean" : "clean";
    if (!rc && audit__head(trail.dir, &head) && head.seq > trail.at.seq)
        *ret_lost = head.seq;
    return rc;
}

/* A damaged end: the file is kept under another name, and a new chain says so in its first record. */
static int set_aside(char name[64], struct err *e)
{
    snprintf(name, 64, "damaged-%lld.log", (long long)sys_wall_ms());
    if (sys_renameat(trail.dir, AUDIT_CURRENT, name) != 0)
        return err_errno(e, errno, "setting the damaged audit log aside");
    if (!audit__head(trail.dir, &trail.at))
        trail.at = (struct audit_point){.hash = AUDIT_NO_HASH};
    trail.size = 0;
    trail.first_seq = 0;
    return 0;
}

static int start_thread(struct err *e)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&trail.wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_cond_init(&trail.done, NULL);
    trail.tail = &trail.head;
    trail.put = trail.out = 0;
    trail.queued = trail.dropped = trail.left_out = 0;
    trail.resting = false;
    trail.stop = trail.hurry = trail.dirty = false;
    atomic_store(&trail.failing, false);
    trail.m_records =
        metrics_get(METRIC_COUNTER, "quern_audit_records_total", "", "Records written to the audit log.");
    trail.m_dropped = metrics_get(METRIC_COUNTER, "quern_audit_dropped_total", "",
                                  "Audit events that found no room (audit.queue).");
    trail.m_failed = metrics_get(METRIC_COUNTER, "quern_audit_failures_total", "",
                                 "Failed writes and fsyncs of the audit log.");
    if (pthread_create(&trail.thread, NULL, trail_main, NULL))
        return err_set(e, ERR_NOMEM, "53000", "cannot start the audit thread");
    atomic_store_explicit(&trail.open, true, memory_order_release);
    return 0;
}

static void close_files(void)
{
    if (trail.fd >= 0)
        close(trail.fd);
    if (trail.dir >= 0)
        close(trail.dir);
    trail.fd = trail.dir = -1;
}

int audit_open(const char *data_dir, struct err *e)
{
    static const char purpose[] = "audit: statements";
    uint8_t keyring[CRYPTO_KEY_LEN];
    char path[4096], aside[64] = "", number[32];
    int64_t cut = 0;
    uint64_t lost = 0;
    if (snprintf(path, sizeof path, "%s/audit", data_dir) >= (int)sizeof path)
        return err_set(e, ERR_INVALID, NULL, "the name of the data folder is too long");
    int rc = keyring_open(data_dir, false, keyring, e);
    if (rc)
        return rc;
    crypto_hash(keyring, purpose, sizeof purpose - 1, trail.statement_key);
    crypto_wipe(keyring, sizeof keyring);
    if (sys_mkdir_p(path, 0700) < 0)
        return err_errno(e, errno, "making the audit folder");
    trail.dir = sys_open(path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (trail.dir < 0)
        return err_errno(e, errno, "the audit folder");
    trail.at = (struct audit_point){.hash = AUDIT_NO_HASH};
    rc = find_end(&cut, &lost, e);
    if (rc == ERR_CORRUPT) {
        log_event(LOG_ERROR, "core", "the audit log is set aside, a new chain begins", "error", e->text,
                  NULL);
        err_clear(e);
        rc = set_aside(aside, e);
    }
    if (!rc)
        rc = open_current(e);
    if (!rc && cut > 0 && sys_ftruncate(trail.fd, trail.size) != 0)
        rc = err_errno(e, errno, "mending the audit log");
    if (!rc)
        rc = start_thread(e);
    if (rc) {
        close_files();
        return rc;
    }
    if (aside[0])
        audit_event("audit_gap", "damaged_file", aside, NULL);
    if (lost) {
        snprintf(number, sizeof number, "%" PRIu64, lost);
        log_event(LOG_ERROR, "core", "records are missing at the end of the audit log", "last", number, NULL);
        audit_event("audit_gap", "last_written", number, NULL);
    }
    if (cut) {
        snprintf(number, sizeof number, "%" PRId64, cut);
        audit_event("audit_mended", "torn_bytes", number, NULL);
    }
    return 0;
}

void audit_close(void)
{
    if (!atomic_exchange(&trail.open, false))
        return;
    pthread_mutex_lock(&trail.lock);
    trail.stop = true;
    pthread_cond_signal(&trail.wake);
    pthread_mutex_unlock(&trail.lock);
    pthread_join(trail.thread, NULL);
    while (trail.head) {
        struct event *v = trail.head;
        trail.head = v->next;
        free(v);
    }
    pthread_cond_destroy(&trail.wake);
    pthread_cond_destroy(&trail.done);
    close_files();
    crypto_wipe(trail.statement_key, sizeof trail.statement_key);
}
