/*
 * backup: see backup.h.
 *
 * Stored results never change, so they are hard links where the file system allows it. From the snapshot of
 * the registry until all links are made, service->files_lock keeps the janitor from removing what the
 * snapshot names. On another file system the links are made beside the originals first and copied afterwards,
 * so that the janitor is held for the links only.
 */
#include "core/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_write.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/audit.h"
#include "core/catalog.h"
#include "core/service_int.h"

#define PATH_BYTES 4096
#define PIECE      (1u << 20)
#define STAGE      "backup.tmp" /* in DIR, when TO is on another file system */

struct file {
    struct qid id;
    uint32_t ordinal;
};

struct backup {
    const char *from, *to;
    char stage[PATH_BYTES]; /* where links are made: to, or DIR/backup.tmp */
    bool staged;
    struct file *files;
    size_t n, cap;
    bool failed;
    int64_t queries, bytes, catalogs;
};

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static int path(char out[PATH_BYTES], const char *dir, const char *name, struct err *e)
{
    return snprintf(out, PATH_BYTES, "%s/%s", dir, name) < PATH_BYTES
               ? 0
               : err_set(e, ERR_INVALID, NULL, "a path is too long");
}

static int copy_file(const char *from, const char *to, int64_t *bytes, struct err *e)
{
    CLEANUP_FD int in = sys_open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
    CLEANUP_FD int out =
        in < 0 ? -1 : sys_open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    char *piece = malloc(PIECE);
    int rc = !piece              ? err_set(e, ERR_NOMEM, "53200", "out of memory")
             : in < 0 || out < 0 ? err_errno(e, errno, "copying into the backup")
                                 : 0;
    for (int64_t off = 0; !rc;) {
        ssize_t n = sys_pread(in, piece, PIECE, off);
        if (n < 0 || sys_write_all(out, piece, (size_t)n) < 0)
            rc = err_errno(e, errno, "copying into the backup");
        else
            off += n;
        if (rc || n < (ssize_t)PIECE) {
            *bytes += off;
            break;
        }
    }
    if (!rc && sys_fsync(out) < 0)
        rc = err_errno(e, errno, "copying into the backup");
    free(piece);
    return rc;
}

static int copy_named(const struct backup *b, const char *name, int64_t *bytes, struct err *e)
{
    char from[PATH_BYTES], to[PATH_BYTES];
    int rc = path(from, b->from, name, e);
    if (!rc)
        rc = path(to, b->to, name, e);
    return rc ? rc : copy_file(from, to, bytes, e);
}

/* ---- stored results ---- */

static void want(void *arg, const struct qid *id, uint32_t ordinal)
{
    struct backup *b = arg;
    if (b->n == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 256;
        struct file *p = realloc(b->files, cap * sizeof *p);
        if (!p) {
            b->failed = true;
            return;
        }
        b->files = p;
        b->cap = cap;
    }
    b->files[b->n++] = (struct file){*id, ordinal};
}

/* from/spool/xx/NAME and to/spool/xx/NAME; makes the folder. */
static int places(const char *from, const char *to, const struct file *f, char a[PATH_BYTES],
                  char z[PATH_BYTES], struct err *e)
{
    char name[SPOOL_NAME_MAX], full[SPOOL_NAME_MAX + 8];
    spool_name(&f->id, f->ordinal, name);
    snprintf(full, sizeof full, "spool/%s", name);
    int rc = path(a, from, full, e);
    if (!rc)
        rc = path(z, to, full, e);
    if (rc)
        return rc;
    char *slash = strrchr(z, '/');
    *slash = 0;
    int made = sys_mkdir_p(z, 0700);
    *slash = '/';
    return made < 0 ? err_errno(e, errno, "making a folder of the backup") : 0;
}

static int link_all(struct backup *b, struct err *e)
{
    char a[PATH_BYTES], z[PATH_BYTES];
    int rc = 0;
    for (size_t i = 0; i < b->n && !rc; i++) {
        struct stat st;
        rc = places(b->from, b->stage, &b->files[i], a, z, e);
        if (rc)
            break;
        if (sys_linkat(AT_FDCWD, a, z) == 0) {
            if (!b->staged && stat(a, &st) == 0)
                b->bytes += st.st_size;
        } else if (errno == EPERM || errno == EOPNOTSUPP || errno == EMLINK || errno == EXDEV) {
            rc = copy_file(a, z, b->staged ? &(int64_t){0} : &b->bytes, e);
        } else {
            rc = err_errno(e, errno, "a stored result");
        }
    }
    return rc;
}

static int stage_drop(const char *name, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)at;
    return sys_unlinkat(AT_FDCWD, name, kind == FTW_DP ? AT_REMOVEDIR : 0);
}

/* Its links would hold the room of results that have gone. */
void backup_sweep(const char *data_dir)
{
    char stage[PATH_BYTES];
    struct err e;
    err_clear(&e);
    if (path(stage, data_dir, STAGE, NULL) || nftw(stage, stage_drop, 16, FTW_DEPTH | FTW_PHYS) == 0 ||
        errno == ENOENT)
        return;
    (void)err_errno(&e, errno, "removing what an unfinished backup left");
    log_event(LOG_WARN, "core", "what an unfinished backup left cannot be removed", "error", e.text, NULL);
}

static int results(struct registry *r, struct service *s, struct backup *b, struct err *e)
{
    char copy[PATH_BYTES], a[PATH_BYTES], z[PATH_BYTES];
    struct stat here, there;
    if (stat(b->from, &here) < 0 || stat(b->to, &there) < 0)
        return err_errno(e, errno, "the backup's folder");
    b->staged = here.st_dev != there.st_dev;
    backup_sweep(b->from);
    int rc = b->staged ? path(b->stage, b->from, STAGE, e) : path(b->stage, b->to, ".", e);
    if (!rc)
        rc = path(copy, b->to, "registry.db", e);
    if (rc)
        return rc;
    if (s)
        pthread_mutex_lock(&s->files_lock);
    rc = registry_backup(r, copy, e);
    if (!rc)
        rc = registry_backup_each(copy, want, b, &b->queries, e);
    if (!rc && b->failed)
        rc = err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (!rc)
        rc = link_all(b, e);
    if (s)
        pthread_mutex_unlock(&s->files_lock);
    for (size_t i = 0; b->staged && i < b->n && !rc; i++) {
        rc = places(b->stage, b->to, &b->files[i], a, z, e);
        if (!rc)
            rc = copy_file(a, z, &b->bytes, e);
    }
    backup_sweep(b->from);
    return rc;
}

/* ---- the rest ---- */

static int audit_file(void *arg, const char *name, struct err *e)
{
    struct backup *b = arg;
    char full[512];
    int64_t bytes = 0;
    snprintf(full, sizeof full, "audit/%s", name);
    return copy_named(b, full, &bytes, e);
}

/* ---- catalogs ---- */

struct reader {
    struct catalog_claim claim;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool told;
    enum catalog_answer answer;
};

static void reader_answer(struct catalog_claim *c, enum catalog_answer a)
{
    struct reader *r = (struct reader *)(void *)c;
    pthread_mutex_lock(&r->lock);
    r->told = true;
    r->answer = a;
    pthread_cond_signal(&r->cond);
    pthread_mutex_unlock(&r->lock);
}

/* Copies the files of one workspace's catalog ("catalog/N"). */
static int copy_folder(struct backup *b, const char *folder, struct err *e)
{
    char from[PATH_BYTES], to[PATH_BYTES], name[600];
    int rc = path(from, b->from, folder, e);
    if (!rc)
        rc = path(to, b->to, folder, e);
    if (!rc && sys_mkdir_p(to, 0700) < 0)
        rc = err_errno(e, errno, "making a folder of the backup");
    DIR *d = rc ? NULL : opendir(from);
    if (!rc && !d)
        rc = err_errno(e, errno, "a catalog's folder");
    for (struct dirent *x; d && !rc && (x = readdir(d));) {
        if (x->d_type != DT_REG)
            continue;
        snprintf(name, sizeof name, "%s/%s", folder, x->d_name);
        rc = copy_named(b, name, &b->bytes, e);
    }
    if (d)
        closedir(d);
    return rc;
}

/* The same while no writer has it; other readers go on. */
static int copy_catalog(struct service *s, struct backup *b, int64_t workspace, const char *folder,
                        struct err *e)
{
    struct reader r = {.claim.answer = reader_answer, .answer = CATALOG_GRANTED};
    int rc = 0;
    if (s) {
        pthread_mutex_init(&r.lock, NULL);
        pthread_cond_init(&r.cond, NULL);
        if (!catalog_take(s->catalog, &r.claim, workspace, false)) {
            pthread_mutex_lock(&r.lock);
            while (!r.told)
                pthread_cond_wait(&r.cond, &r.lock);
            pthread_mutex_unlock(&r.lock);
        }
        if (r.answer == CATALOG_EXPIRED)
            rc = err_set(e, ERR_TIMEOUT, "55P03",
                         "a workspace's catalog was in use for too long (catalog.wait)");
        if (r.answer == CATALOG_CLOSED)
            rc = err_set(e, ERR_UNAVAILABLE, "57P01", "the daemon is stopping");
    }
    if (!rc)
        rc = copy_folder(b, folder, e);
    if (!s)
        return rc;
    if (r.answer == CATALOG_GRANTED)
        catalog_release(s->catalog, &r.claim);
    pthread_mutex_destroy(&r.lock);
    pthread_cond_destroy(&r.cond);
    return rc;
}

static int catalogs(struct service *s, struct backup *b, struct err *e)
{
    char dir[PATH_BYTES], to[PATH_BYTES], name[300];
    int rc = path(dir, b->from, "catalog", e);
    if (!rc)
        rc = path(to, b->to, "catalog", e);
    if (!rc && sys_mkdir_p(to, 0700) < 0)
        rc = err_errno(e, errno, "making a folder of the backup");
    DIR *d = rc ? NULL : opendir(dir);
    if (!rc && !d && errno != ENOENT)
        rc = err_errno(e, errno, "the catalogs' folder");
    for (struct dirent *x; d && !rc && (x = readdir(d));) {
        char *end;
        int64_t workspace = strtoll(x->d_name, &end, 10);
        if (workspace <= 0 || *end)
            continue;
        snprintf(name, sizeof name, "catalog/%s", x->d_name);
        rc = copy_catalog(s, b, workspace, name, e);
        b->catalogs++;
    }
    if (d)
        closedir(d);
    return rc;
}

/* In the data folder a copy would be searched for orphans, or copied by the next backup. */
static bool inside(const char *data_dir, const char *to)
{
    char *data = realpath(data_dir, NULL), *real = realpath(to, NULL);
    size_t n = data ? strlen(data) : 0;
    bool yes = data && real && strncmp(real, data, n) == 0 && (real[n] == '/' || real[n] == 0);
    free(data);
    free(real);
    return yes;
}

static int make_folder(const char *data_dir, const char *to, struct err *e)
{
    if (to[0] != '/')
        return err_set(e, ERR_INVALID, "42601", "--to must be an absolute path");
    bool fresh = access(to, F_OK) < 0;
    if (sys_mkdir_p(to, 0700) < 0)
        return err_errno(e, errno, "making the backup's folder");
    if (inside(data_dir, to)) {
        if (fresh)
            (void)rmdir(to);
        return err_set(e, ERR_INVALID, "42601", "--to must be outside the data folder");
    }
    DIR *d = opendir(to);
    if (!d)
        return err_errno(e, errno, "the backup's folder");
    bool empty = true;
    for (struct dirent *x; (x = readdir(d));)
        empty = empty && (strcmp(x->d_name, ".") == 0 || strcmp(x->d_name, "..") == 0);
    closedir(d);
    return empty ? 0 : err_set(e, ERR_CONFLICT, "58030", "the backup's folder is not empty");
}

static void write_answer(const struct backup *b, struct buf *out)
{
    char time[40];
    struct json_write j = JSON_WRITE_INIT(out);
    json_object_begin(&j);
    json_kstr(&j, "folder", b->to);
    json_kstr(&j, "version", QUERN_VERSION);
    json_kstr(&j, "madeAt", clock_iso_ms(sys_wall_ms(), time, sizeof time));
    json_ki64(&j, "queries", b->queries);
    json_ki64(&j, "results", (int64_t)b->n);
    json_ki64(&j, "bytes", b->bytes);
    json_kstr(&j, "linked", b->staged ? "no" : "yes");
    json_ki64(&j, "catalogs", b->catalogs);
    json_object_end(&j);
}

static int finish(const struct backup *b, const struct buf *answer, struct err *e)
{
    char file[PATH_BYTES];
    int rc = path(file, b->to, "backup.json", e);
    if (rc)
        return rc;
    CLEANUP_FD int dir = sys_open(b->to, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (dir < 0 || sys_syncfs(dir) < 0)
        return err_errno(e, errno, "writing the backup down");
    CLEANUP_FD int fd = sys_open(file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || sys_write_all(fd, answer->p, answer->len) < 0 || sys_fsync(fd) < 0 || sys_fsync(dir) < 0)
        return err_errno(e, errno, "finishing the backup");
    return 0;
}

static int make(struct registry *r, struct service *s, struct backup *b, struct buf *out, struct err *e)
{
    char audit[PATH_BYTES], copy[PATH_BYTES];
    int64_t small = 0;
    int rc = make_folder(b->from, b->to, e);
    if (!rc)
        rc = results(r, s, b, e);
    if (!rc)
        rc = catalogs(s, b, e);
    if (!rc)
        rc = path(copy, b->to, "registry.db", e);
    if (!rc && s)
        rc = registry_backup_since(r, copy, e);
    if (!rc)
        rc = copy_named(b, "keyring", &small, e);
    if (!rc)
        rc = path(audit, b->to, "audit", e);
    if (!rc && sys_mkdir_p(audit, 0700) < 0)
        rc = err_errno(e, errno, "making a folder of the backup");
    if (!rc)
        (void)audit_flush();
    if (!rc)
        rc = audit_each_file(b->from, audit_file, b, e);
    if (rc)
        return rc;
    CLEANUP_BUF struct buf answer = BUF_INIT(16384);
    write_answer(b, &answer);
    rc = finish(b, &answer, e);
    if (!rc)
        rc = buf_add(out, answer.p, answer.len);
    return rc;
}

int backup_make(struct registry *r, struct service *s, const char *data_dir, const char *to, struct buf *out,
                struct err *e)
{
    struct backup b = {.from = data_dir, .to = to};
    if (pthread_mutex_trylock(&one_at_a_time))
        return err_set(e, ERR_BUSY, "55006", "another backup is being made");
    int64_t start = sys_mono_ns();
    int rc = make(r, s, &b, out, e);
    free(b.files);
    pthread_mutex_unlock(&one_at_a_time);
    audit_event(rc ? "backup_failed" : "backup_made", "folder", to, "error", rc ? e->text : NULL, "by",
                "admin", NULL);
    if (!rc)
        log_line(LOG_INFO, "core", "backup made in %lld ms", (long long)((sys_mono_ns() - start) / 1000000));
    return rc;
}
