/*
 * spool: names and folders of stored results. Layout and life in docs/spool.md.
 *
 * Invariants: a sealed file appears under its final name only after its bytes are on the disk (fsync, rename,
 * fsync of the folder); everything in tmp/ that no writer of this process holds is rubbish. The set of such
 * writers is the only state, under one lock. Any thread; one thread per result.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/sys.h"
#include "results/spool.h"

#define NAME_MAX_LEN 64 /* UUID, '-', ten digits, suffix, folder */

struct active {
    struct active *next;
    struct qid id;
    uint32_t ordinal;
};

struct spool {
    char *path;
    int fd, tmp_fd;
    pthread_mutex_t lock;
    struct active *active; /* results being written by this process; few */
};

/* ---- names ---- */

static void tmp_name(char *out, const struct qid *id, uint32_t ordinal)
{
    char text[ID_TEXT_MAX];
    (void)snprintf(out, NAME_MAX_LEN, "%s-%u.tmp", id_uuid(id, text), ordinal);
}

static void tmp_path(char *out, const struct qid *id, uint32_t ordinal)
{
    char text[ID_TEXT_MAX];
    (void)snprintf(out, NAME_MAX_LEN, "tmp/%s-%u.tmp", id_uuid(id, text), ordinal);
}

static void folder_name(char *out, const struct qid *id)
{
    (void)snprintf(out, NAME_MAX_LEN, "%02x", id->b[15]);
}

static void sealed_path(char *out, const struct qid *id, uint32_t ordinal)
{
    char text[ID_TEXT_MAX];
    (void)snprintf(out, NAME_MAX_LEN, "%02x/%s-%u.seg", id->b[15], id_uuid(id, text), ordinal);
}

/* The exact inverse of what is written above: another spelling of the same id is no file of ours. */
static bool parse_name(const char *name, const char *suffix, struct qid *ret_id, uint32_t *ret_ordinal)
{
    struct qid id;
    size_t n = strlen(name), k = ID_UUID_LEN + 1;
    if (n <= k || n >= NAME_MAX_LEN || name[ID_UUID_LEN] != '-' || !id_parse(name, ID_UUID_LEN, &id))
        return false;
    uint64_t ordinal = 0;
    for (; name[k] >= '0' && name[k] <= '9' && ordinal <= UINT32_MAX; k++)
        ordinal = ordinal * 10 + (uint64_t)(name[k] - '0');
    if (ordinal > UINT32_MAX || strcmp(name + k, suffix) != 0)
        return false;
    char text[ID_TEXT_MAX], again[NAME_MAX_LEN];
    (void)snprintf(again, sizeof again, "%s-%u%s", id_uuid(&id, text), (uint32_t)ordinal, suffix);
    if (strcmp(again, name) != 0)
        return false;
    *ret_id = id;
    *ret_ordinal = (uint32_t)ordinal;
    return true;
}

/* ---- writers of this process ---- */

static bool active_find(struct spool *s, const struct qid *id, uint32_t ordinal)
{
    pthread_mutex_lock(&s->lock);
    const struct active *a = s->active;
    while (a && !(a->ordinal == ordinal && id_equal(&a->id, id)))
        a = a->next;
    pthread_mutex_unlock(&s->lock);
    return a != NULL;
}

static int active_add(struct spool *s, const struct qid *id, uint32_t ordinal)
{
    struct active *a = malloc(sizeof *a);
    if (!a)
        return ERR_NOMEM;
    a->id = *id;
    a->ordinal = ordinal;
    pthread_mutex_lock(&s->lock);
    a->next = s->active;
    s->active = a;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static void active_remove(struct spool *s, const struct qid *id, uint32_t ordinal)
{
    pthread_mutex_lock(&s->lock);
    struct active **at = &s->active;
    while (*at && !((*at)->ordinal == ordinal && id_equal(&(*at)->id, id)))
        at = &(*at)->next;
    struct active *gone = *at;
    if (gone)
        *at = gone->next;
    pthread_mutex_unlock(&s->lock);
    free(gone);
}

/* ---- open and close ---- */

static int make_folder(struct spool *s, const char *name)
{
    CLEANUP_BUF struct buf path = BUF_INIT(8192);
    (void)buf_printf(&path, "%s/%s", s->path, name);
    const char *p = buf_str(&path);
    if (!p) {
        errno = ENOMEM;
        return -1;
    }
    return sys_mkdir_p(p, 0700);
}

static int make_folders(struct spool *s)
{
    if (make_folder(s, "tmp") < 0)
        return -1;
    for (unsigned i = 0; i < 256; i++) {
        char name[NAME_MAX_LEN];
        (void)snprintf(name, sizeof name, "%02x", i);
        struct stat st;
        if (fstatat(s->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
            continue;
        if (make_folder(s, name) < 0)
            return -1;
    }
    return sys_fsync(s->fd);
}

int spool_open(const char *data_dir, struct spool **ret, struct err *e)
{
    CLEANUP_BUF struct buf path = BUF_INIT(4096);
    (void)buf_printf(&path, "%s/spool", data_dir);
    const char *p = buf_str(&path);
    struct spool *s = calloc(1, sizeof *s);
    if (!s || !p || !(s->path = strdup(p))) {
        free(s);
        return err_set(e, ERR_NOMEM, "53200", "out of memory while opening the spool");
    }
    s->fd = s->tmp_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    bool ok = sys_mkdir_p(p, 0700) == 0;
    if (ok)
        ok = (s->fd = sys_open(p, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)) >= 0;
    if (ok)
        ok = make_folders(s) == 0 && sys_fsync_dir(data_dir) == 0;
    if (ok)
        ok = (s->tmp_fd = sys_openat(s->fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)) >= 0;
    if (!ok) {
        int rc = err_errno(e, errno, "opening the spool");
        spool_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void spool_close(struct spool *s)
{
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    if (s->tmp_fd >= 0)
        close(s->tmp_fd);
    while (s->active) {
        struct active *next = s->active->next;
        free(s->active);
        s->active = next;
    }
    pthread_mutex_destroy(&s->lock);
    free(s->path);
    free(s);
}

/* ---- one result ---- */

int spool_create(struct spool *s, const struct qid *id, uint32_t ordinal, const struct schema *schema,
                 struct segment_writer **ret, struct err *e)
{
    char name[NAME_MAX_LEN];
    tmp_name(name, id, ordinal);
    if (active_find(s, id, ordinal))
        return err_set(e, ERR_CONFLICT, "58P02", "the result is being written already");
    if (active_add(s, id, ordinal) < 0)
        return err_set(e, ERR_NOMEM, "53200", "out of memory while storing the result");
    /* Nobody of this process writes it: what lies there was left by an earlier run. */
    (void)sys_unlinkat(s->tmp_fd, name, 0);
    int rc = segment_create(s->tmp_fd, name, id, ordinal, schema, ret, e);
    if (rc < 0)
        active_remove(s, id, ordinal);
    return rc;
}

static int fsync_folder(struct spool *s, const char *name)
{
    CLEANUP_FD int fd = sys_openat(s->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    return fd < 0 ? -1 : sys_fsync(fd);
}

int spool_seal(struct spool *s, const struct qid *id, uint32_t ordinal, struct segment_writer *w,
               struct segment_facts *ret, struct err *e)
{
    struct segment_facts facts;
    int rc = segment_seal(w, &facts, e);
    if (rc < 0)
        return rc;
    char from[NAME_MAX_LEN], to[NAME_MAX_LEN], folder[NAME_MAX_LEN];
    tmp_path(from, id, ordinal);
    sealed_path(to, id, ordinal);
    folder_name(folder, id);
    int moved = sys_renameat(s->fd, from, to);
    if (moved < 0 && errno == ENOENT && make_folder(s, folder) == 0 && sys_fsync(s->fd) == 0)
        moved = sys_renameat(s->fd, from, to);
    if (moved < 0)
        return err_errno(e, errno, "storing the result");
    if (fsync_folder(s, folder) < 0) {
        rc = err_errno(e, errno, "storing the result");
        /* Not durable, so not there: a later sweep would find a file that no record names. */
        (void)sys_unlinkat(s->fd, to, 0);
        return rc;
    }
    active_remove(s, id, ordinal);
    *ret = facts;
    return 0;
}

void spool_abort(struct spool *s, const struct qid *id, uint32_t ordinal)
{
    char name[NAME_MAX_LEN];
    tmp_name(name, id, ordinal);
    (void)sys_unlinkat(s->tmp_fd, name, 0); /* what stays behind is swept */
    active_remove(s, id, ordinal);
}

int spool_open_result(struct spool *s, const struct qid *id, uint32_t ordinal, const struct qid *origin,
                      const struct segment_facts *facts, struct segment **ret, struct err *e)
{
    char path[NAME_MAX_LEN];
    sealed_path(path, id, ordinal);
    return segment_open(s->fd, path, origin, ordinal, facts, ret, e);
}

int spool_link(struct spool *s, const struct qid *from, const struct qid *to, uint32_t ordinal, struct err *e)
{
    char old[NAME_MAX_LEN], new[NAME_MAX_LEN], folder[NAME_MAX_LEN];
    sealed_path(old, from, ordinal);
    sealed_path(new, to, ordinal);
    folder_name(folder, to);
    (void)sys_unlinkat(s->fd, new, 0); /* left by an attempt that was cut off */
    int r = sys_linkat(s->fd, old, new);
    if (r < 0 && errno == ENOENT && make_folder(s, folder) == 0 && sys_fsync(s->fd) == 0)
        r = sys_linkat(s->fd, old, new);
    if (r < 0 && errno == ENOENT)
        return err_set(e, ERR_GONE, "02000", "the result is gone");
    if (r < 0)
        return err_errno(e, errno, "sharing the result");
    if (fsync_folder(s, folder) == 0)
        return 0;
    r = err_errno(e, errno, "sharing the result");
    (void)sys_unlinkat(s->fd, new, 0);
    return r;
}

void spool_name(const struct qid *id, uint32_t ordinal, char ret[SPOOL_NAME_MAX])
{
    char text[ID_TEXT_MAX];
    (void)snprintf(ret, SPOOL_NAME_MAX, "%02x/%s-%u.seg", id->b[15], id_uuid(id, text), ordinal);
}

int spool_remove(struct spool *s, const struct qid *id, uint32_t ordinal, uint64_t *ret_bytes, struct err *e)
{
    char path[NAME_MAX_LEN];
    struct stat st;
    sealed_path(path, id, ordinal);
    if (ret_bytes)
        *ret_bytes = 0;
    bool there = fstatat(s->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (sys_unlinkat(s->fd, path, 0) == 0) {
        if (ret_bytes && there)
            *ret_bytes = (uint64_t)st.st_size;
        return 0;
    }
    if (errno == ENOENT)
        return 0;
    return err_errno(e, errno, "removing a stored result");
}

/* ---- sweep ---- */

struct sweep {
    struct spool *s;
    bool (*keep)(void *arg, const struct qid *id, uint32_t ordinal);
    void *arg;
    int64_t removed;
    int failure;
};

static bool sweep_wants(struct sweep *w, bool tmp, const char *name)
{
    struct qid id;
    uint32_t ordinal;
    if (!tmp)
        return parse_name(name, ".seg", &id, &ordinal) && !w->keep(w->arg, &id, ordinal);
    if (parse_name(name, ".tmp", &id, &ordinal) || parse_name(name, ".tmp.ix", &id, &ordinal))
        return !active_find(w->s, &id, ordinal);
    return name[0] != '.';
}

static void sweep_folder(struct sweep *w, const char *name, bool tmp)
{
    int fd = sys_openat(w->s->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0) {
        if (errno != ENOENT)
            w->failure = err_errno(NULL, errno, "");
        return;
    }
    DIR *d = fdopendir(fd);
    if (!d) {
        w->failure = err_errno(NULL, errno, "");
        close(fd);
        return;
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(d);
        if (!entry)
            break;
        if (!sweep_wants(w, tmp, entry->d_name))
            continue;
        if (sys_unlinkat(fd, entry->d_name, 0) == 0)
            w->removed++;
        else if (errno != ENOENT)
            w->failure = err_errno(NULL, errno, "");
    }
    if (errno != 0)
        w->failure = err_errno(NULL, errno, "");
    closedir(d);
}

int64_t spool_sweep(struct spool *s, bool (*keep)(void *arg, const struct qid *id, uint32_t ordinal),
                    void *arg)
{
    struct sweep w = {s, keep, arg, 0, 0};
    sweep_folder(&w, "tmp", true);
    for (unsigned i = 0; i < 256; i++) {
        char name[NAME_MAX_LEN];
        (void)snprintf(name, sizeof name, "%02x", i);
        sweep_folder(&w, name, false);
    }
    return w.failure < 0 ? w.failure : w.removed;
}

uint64_t spool_free_bytes(struct spool *s)
{
    struct statvfs st;
    if (fstatvfs(s->fd, &st) < 0)
        return 0;
    return (uint64_t)st.f_bavail * (uint64_t)st.f_frsize;
}
