/*
 * audit_chain: reads the audit trail: where it ends (for going on), and whether it is whole (audit_verify).
 *
 * A record is one line: {"seq":N,"time":...,"event":...,...,"prev":"<hash>"}. prev is the BLAKE2b-256 of the
 * line before it without its line end (`b2sum -l 256` computes the same), zeros in record 1. audit.head holds
 * number and hash of the last record that was fsynced, so that a trail cut at its end is noticed. Threads:
 * any that may block.
 */
#include "core/audit_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json_write.h"
#include "base/sys.h"

#define HEX       (AUDIT_HASH_TEXT - 1)
#define LOOK_BACK 65536 /* bytes searched for the last start or stop */

static pthread_mutex_t files_mu = PTHREAD_MUTEX_INITIALIZER;

void audit__files_lock(void)
{
    pthread_mutex_lock(&files_mu);
}

void audit__files_unlock(void)
{
    pthread_mutex_unlock(&files_mu);
}

void audit__hash(const char *line, size_t n, char ret[AUDIT_HASH_TEXT])
{
    uint8_t h[CRYPTO_HASH_LEN];
    crypto_digest(line, n, h);
    for (size_t i = 0; i < sizeof h; i++)
        snprintf(ret + 2 * i, 3, "%02x", h[i]);
}

static bool is_hash(const char *p)
{
    for (size_t i = 0; i < HEX; i++)
        if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f')))
            return false;
    return true;
}

bool audit__parse(const char *line, size_t n, uint64_t *ret_seq, char ret_prev[AUDIT_HASH_TEXT])
{
    static const char front[] = "{\"seq\":", back[] = ",\"prev\":\"";
    const size_t nf = sizeof front - 1, nb = sizeof back - 1;
    if (n < nf + 2 + nb + HEX + 2 || memcmp(line, front, nf) != 0 || memcmp(line + n - 2, "\"}", 2) != 0)
        return false;
    uint64_t seq = 0;
    size_t i = nf;
    for (; i < nf + 18 && line[i] >= '0' && line[i] <= '9'; i++)
        seq = seq * 10 + (uint64_t)(line[i] - '0');
    const char *prev = line + n - 2 - HEX;
    if (i == nf || seq == 0 || line[i] != ',' || memcmp(prev - nb, back, nb) != 0 || !is_hash(prev))
        return false;
    memcpy(ret_prev, prev, HEX);
    ret_prev[HEX] = 0;
    *ret_seq = seq;
    return true;
}

/* ---- the end of a file ---- */

static int last_start_or_stop(const char *p, size_t n)
{
    static const char up[] = ",\"event\":\"sys_startup\"", down[] = ",\"event\":\"sys_shutdown\"";
    int found = 0;
    for (const char *at = p; (at = memmem(at, n - (size_t)(at - p), ",\"event\":\"sys_s", 15)); at++) {
        size_t left = n - (size_t)(at - p);
        if (left >= sizeof up - 1 && memcmp(at, up, sizeof up - 1) == 0)
            found = 1;
        else if (left >= sizeof down - 1 && memcmp(at, down, sizeof down - 1) == 0)
            found = 2;
    }
    return found;
}

int audit__tail(int dir, const char *name, struct audit_tail *ret, struct err *e)
{
    char first[32], prev[AUDIT_HASH_TEXT];
    struct stat st;
    *ret = (struct audit_tail){.last.hash = AUDIT_NO_HASH};
    CLEANUP_FD int fd = sys_openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0 && errno == ENOENT)
        return ERR_NOTFOUND;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, errno, "opening the audit log");
    CLEANUP_BUF struct buf b = BUF_INIT(LOOK_BACK);
    int64_t off = st.st_size > LOOK_BACK ? st.st_size - LOOK_BACK : 0;
    if (buf_reserve(&b, LOOK_BACK))
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    ssize_t n = sys_pread(fd, b.p, LOOK_BACK, off), m = sys_pread(fd, first, sizeof first - 1, 0);
    if (n < 0 || m < 0)
        return err_errno(e, errno, "reading the audit log");
    const char *text = (const char *)b.p, *end = n ? memrchr(text, '\n', (size_t)n) : NULL;
    ret->size = end ? off + (end + 1 - text) : off;
    ret->torn = st.st_size - ret->size;
    if (!end)
        return off ? err_set(e, ERR_CORRUPT, "XX001", "the end of the audit log is damaged") : 0;
    const char *begin = memrchr(text, '\n', (size_t)(end - text));
    begin = begin ? begin + 1 : text;
    first[m] = 0;
    if (!audit__parse(begin, (size_t)(end - begin), &ret->last.seq, prev) ||
        sscanf(first, "{\"seq\":%" SCNu64 ",", &ret->first_seq) != 1)
        return err_set(e, ERR_CORRUPT, "XX001", "the last record of the audit log is damaged");
    audit__hash(begin, (size_t)(end - begin), ret->last.hash);
    ret->previous = last_start_or_stop(text, (size_t)(end - text));
    return 0;
}

bool audit__head(int dir, struct audit_point *ret)
{
    char text[128];
    CLEANUP_FD int fd = sys_openat(dir, AUDIT_HEAD, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
    ssize_t n = fd < 0 ? -1 : sys_pread(fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return false;
    text[n] = 0;
    return sscanf(text, "%" SCNu64 " %64s", &ret->seq, ret->hash) == 2 && is_hash(ret->hash);
}

/* ---- names ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void audit__names_free(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

int audit__names(int dir, char ***ret, size_t *ret_n, struct err *e)
{
    int fd = sys_openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        int why = errno;
        if (fd >= 0)
            close(fd);
        return err_errno(e, why, "reading the audit folder");
    }
    char **names = NULL;
    size_t n = 0;
    bool failed = false;
    for (struct dirent *x; (x = readdir(d)) && !failed;) {
        size_t len = strlen(x->d_name);
        if (len < 11 || strncmp(x->d_name, "audit-", 6) != 0 || strcmp(x->d_name + len - 4, ".log") != 0)
            continue;
        char **p = realloc(names, (n + 1) * sizeof *p);
        if (p)
            names = p;
        char *copy = p ? strdup(x->d_name) : NULL;
        if (copy)
            names[n++] = copy;
        else
            failed = true;
    }
    closedir(d);
    if (failed) {
        audit__names_free(names, n);
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    }
    if (n)
        qsort(names, n, sizeof *names, by_name);
    *ret = names;
    *ret_n = n;
    return 0;
}

/* ---- verify ---- */

struct verify {
    struct audit_point at, head;
    uint64_t first, records;
    bool has_head;
    int64_t torn;
};

static int bad(struct err *e, const char *file, uint64_t line, const char *what)
{
    return err_set(e, ERR_CORRUPT, "XX001", "the audit trail is broken at line %llu of %s: %s",
                   (unsigned long long)line, file, what);
}

static int one_line(struct verify *v, const char *file, uint64_t number, const char *line, size_t n,
                    struct err *e)
{
    uint64_t seq;
    char prev[AUDIT_HASH_TEXT];
    if (!audit__parse(line, n, &seq, prev))
        return bad(e, file, number, "it is no record");
    if (v->records == 0) {
        v->first = seq;
        if (seq == 1 && strcmp(prev, AUDIT_NO_HASH) != 0)
            return bad(e, file, number, "the first record has something before it");
    } else {
        if (seq != v->at.seq + 1)
            return bad(e, file, number, "records are missing or out of order");
        if (strcmp(prev, v->at.hash) != 0)
            return bad(e, file, number, "the record before it was changed");
    }
    if (memmem(line, n, ",\"event\":\"audit_gap\"", 20))
        return bad(e, file, number, "it says that records before it were gone when the daemon started");
    v->at.seq = seq;
    v->records++;
    audit__hash(line, n, v->at.hash);
    if (v->has_head && v->head.seq == seq && strcmp(v->head.hash, v->at.hash) != 0)
        return bad(e, file, number, "it is not the record that was written (" AUDIT_HEAD ")");
    return 0;
}

static int one_file(struct verify *v, int dir, const char *name, bool last, struct err *e)
{
    int fd = sys_openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0 && errno == ENOENT && last)
        return 0;
    FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (!f) {
        int why = errno;
        if (fd >= 0)
            close(fd);
        return err_errno(e, why, "opening the audit log");
    }
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    int rc = 0;
    for (uint64_t number = 1; !rc && (n = getline(&line, &cap, f)) > 0; number++) {
        bool whole = line[n - 1] == '\n';
        if (whole)
            rc = one_line(v, name, number, line, (size_t)n - 1, e);
        else if (last)
            v->torn = n; /* being written, or cut off by a crash */
        else
            rc = bad(e, name, number, "it is cut off");
    }
    if (!rc && ferror(f))
        rc = err_errno(e, EIO, "reading the audit log");
    free(line);
    fclose(f);
    return rc;
}

static int chain(struct verify *v, int dir, size_t *ret_files, struct err *e)
{
    char **names = NULL;
    size_t n = 0;
    int rc = audit__names(dir, &names, &n, e);
    if (rc)
        return rc;
    v->has_head = audit__head(dir, &v->head); /* before the records: they only become more */
    for (size_t i = 0; i < n && !rc; i++)
        rc = one_file(v, dir, names[i], false, e);
    if (!rc)
        rc = one_file(v, dir, AUDIT_CURRENT, true, e);
    audit__names_free(names, n);
    *ret_files = n + 1;
    if (!rc && v->has_head && v->head.seq > v->at.seq)
        rc = err_set(e, ERR_CORRUPT, "XX001",
                     "the audit trail ends at record %llu, but record %llu was written: its end is missing",
                     (unsigned long long)v->at.seq, (unsigned long long)v->head.seq);
    return rc;
}

int audit_verify(const char *data_dir, struct buf *out, struct err *e)
{
    struct verify v = {.at.hash = AUDIT_NO_HASH};
    size_t files = 0;
    char path[4096];
    if (snprintf(path, sizeof path, "%s/audit", data_dir) >= (int)sizeof path)
        return err_set(e, ERR_INVALID, NULL, "the name of the data folder is too long");
    CLEANUP_FD int dir = sys_open(path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (dir < 0)
        return err_errno(e, errno, "the audit folder");
    audit__files_lock();
    int rc = chain(&v, dir, &files, e);
    audit__files_unlock();
    if (rc)
        return rc;
    struct json_write j = JSON_WRITE_INIT(out);
    json_object_begin(&j);
    json_kbool(&j, "ok", true);
    json_ki64(&j, "records", (int64_t)v.records);
    json_ki64(&j, "first", (int64_t)v.first);
    json_ki64(&j, "last", (int64_t)v.at.seq);
    json_kstr(&j, "lastHash", v.at.hash);
    json_ki64(&j, "files", (int64_t)files);
    json_ki64(&j, "tornBytes", v.torn);
    json_object_end(&j);
    return buf_failed(out) ? err_set(e, out->why, "54000", "the answer does not fit") : 0;
}

int audit_each_file(const char *data_dir, int (*fn)(void *arg, const char *name, struct err *e), void *arg,
                    struct err *e)
{
    char path[4096], **names = NULL;
    size_t n = 0;
    if (snprintf(path, sizeof path, "%s/audit", data_dir) >= (int)sizeof path)
        return err_set(e, ERR_INVALID, NULL, "the name of the data folder is too long");
    CLEANUP_FD int dir = sys_open(path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (dir < 0)
        return errno == ENOENT ? 0 : err_errno(e, errno, "the audit folder");
    audit__files_lock();
    int rc = audit__names(dir, &names, &n, e);
    if (!rc && faccessat(dir, AUDIT_HEAD, F_OK, 0) == 0)
        rc = fn(arg, AUDIT_HEAD, e);
    for (size_t i = 0; i < n && !rc; i++)
        rc = fn(arg, names[i], e);
    if (!rc && faccessat(dir, AUDIT_CURRENT, F_OK, 0) == 0)
        rc = fn(arg, AUDIT_CURRENT, e);
    audit__files_unlock();
    audit__names_free(names, n);
    return rc;
}
