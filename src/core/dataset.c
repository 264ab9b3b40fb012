/*
 * dataset: see dataset.h.
 *
 * Invariant: what passes can be granted to an engine process without giving it anything of the daemon's own.
 * Messages name what the administrator wrote, never more of the machine. Suffixes count as the engine's
 * reader sees them: in a folder it takes lower case only.
 */
#include "core/dataset.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/sys.h"
#include "base/utf8.h"

#define DEPTH_MAX   16
#define ENTRIES_MAX 100000u

static const struct {
    const char *suffix, *format;
} kinds[] = {
    {".parquet", "parquet"}, {".csv", "csv"},       {".csv.gz", "csv"},
    {".json", "json"},       {".jsonl", "json"},    {".ndjson", "json"},
    {".json.gz", "json"},    {".jsonl.gz", "json"}, {".ndjson.gz", "json"},
};

int dataset_name_check(const char *name, struct err *e)
{
    size_t n = strlen(name);
    bool ok = n > 0 && n <= 128 && !(name[0] >= '0' && name[0] <= '9');
    for (size_t i = 0; i < n && ok; i++) {
        char c = name[i];
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    }
    return ok ? 0
              : err_set(e, ERR_INVALID, "42602",
                        "a dataset's name is a letter or _ and up to 127 more letters, digits or _");
}

/* ---- the URL ---- */

static int bad_url(struct err *e, const char *why)
{
    return err_set(e, ERR_INVALID, "22023", "the dataset's URL %s", why);
}

static int url_path(const char *url, char out[DATASET_PATH_MAX], struct err *e)
{
    if (strncmp(url, "s3://", 5) == 0)
        return bad_url(e, "is of a kind that is not enabled yet: s3://; known: file:///PATH");
    if (strncmp(url, "file://", 7) != 0)
        return bad_url(e, "is of no known kind; known: file:///PATH");
    size_t n = 0;
    for (const char *p = url + 7; *p; p++) {
        char c = *p;
        if (c == '?' || c == '#')
            return bad_url(e, "has a query or a fragment");
        if (c == '%') {
            int hi = hex_digit(p[1]), lo = hi < 0 ? -1 : hex_digit(p[2]);
            if (lo < 0)
                return bad_url(e, "has a broken % sequence");
            c = (char)(hi * 16 + lo);
            if (c == '/' || c == 0)
                return bad_url(e, "has a % sequence that is not allowed");
            p += 2;
        }
        if (n + 1 >= DATASET_PATH_MAX)
            return bad_url(e, "is too long");
        if (c != '/' || n == 0 || out[n - 1] != '/')
            out[n++] = c;
    }
    out[n] = 0;
    if (out[0] != '/')
        return bad_url(e, "is not file:///PATH with an absolute path and no host");
    if (!utf8_valid(out, n))
        return bad_url(e, "is not UTF-8");
    while (n > 1 && out[n - 1] == '/')
        out[--n] = 0;
    if (n == 1)
        return bad_url(e, "names the root folder");
    for (const char *p = out; p; p = strchr(p + 1, '/')) {
        size_t len = strcspn(p + 1, "/");
        if ((len == 1 && p[1] == '.') || (len == 2 && p[1] == '.' && p[2] == '.'))
            return bad_url(e, "has a \".\" or \"..\" step");
    }
    for (const char *p = out; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return bad_url(e, "holds a control character");
    return 0;
}

int dataset_url(struct buf *out, const char *path)
{
    buf_str_add(out, "file://");
    for (const char *p = path; *p; p++) {
        if (*p == ' ' || *p == '%' || *p == '?' || *p == '#')
            buf_printf(out, "%%%02X", (unsigned)*p);
        else
            buf_char(out, *p);
    }
    return out->failed ? out->why : 0;
}

/* ---- what lies there ---- */

static const char *format_of(const char *name, bool any_case)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t k = strlen(kinds[i].suffix);
        if (n <= k)
            continue;
        if (any_case ? strcasecmp(name + n - k, kinds[i].suffix) == 0
                     : strcmp(name + n - k, kinds[i].suffix) == 0)
            return kinds[i].format;
    }
    return NULL;
}

struct walk {
    const char *format;
    unsigned entries;
};

static int walk_folder(int fd, struct walk *w, int depth, struct err *e);

static int walk_entry(int dir, const char *name, struct walk *w, int depth, struct err *e)
{
    struct stat st;
    if (++w->entries > ENTRIES_MAX)
        return err_set(e, ERR_INVALID, "54000", "the folder holds more than %u files", ENTRIES_MAX);
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0; /* gone meanwhile */
    if (S_ISDIR(st.st_mode)) {
        if (depth == DEPTH_MAX)
            return err_set(e, ERR_INVALID, "54000", "the folder is nested deeper than %d", DEPTH_MAX);
        int fd = sys_openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
        if (fd < 0)
            return err_set(e, ERR_DENIED, "42501", "a folder below the dataset's cannot be read");
        return walk_folder(fd, w, depth + 1, e);
    }
    const char *format = format_of(name, true);
    if (!format)
        return 0; /* a README, a _SUCCESS: not data */
    if (!format_of(name, false))
        return err_set(e, ERR_INVALID, "22023",
                       "the suffix of \"%.200s\" must be in lower case to be read from a folder", name);
    if (w->format && strcmp(w->format, format) != 0)
        return err_set(e, ERR_INVALID, "22023", "the folder holds files of two kinds, %s and %s", w->format,
                       format);
    w->format = format;
    if (S_ISREG(st.st_mode) && faccessat(dir, name, R_OK, AT_EACCESS) < 0)
        return err_set(e, ERR_DENIED, "42501", "the file \"%.200s\" in the folder cannot be read", name);
    return 0;
}

/* Closes fd. */
static int walk_folder(int fd, struct walk *w, int depth, struct err *e)
{
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return err_errno(e, errno, "reading the dataset's folder");
    }
    int rc = 0;
    for (struct dirent *x; !rc && (x = readdir(d));)
        if (x->d_name[0] != '.')
            rc = walk_entry(dirfd(d), x->d_name, w, depth, e);
    closedir(d);
    return rc;
}

/* a is b or below it */
static bool within(const char *a, const char *b)
{
    size_t n = strlen(b);
    return strncmp(a, b, n) == 0 && (a[n] == 0 || a[n] == '/' || b[n - 1] == '/');
}

static int there(int errnum, struct err *e)
{
    if (errnum == ENOENT || errnum == ENOTDIR)
        return err_set(e, ERR_NOTFOUND, "58P01", "there is no file or folder at the dataset's URL");
    if (errnum == EACCES || errnum == EPERM)
        return err_set(e, ERR_DENIED, "42501", "the daemon's user may not read what is at the dataset's URL");
    return err_errno(e, errnum, "the dataset's URL");
}

int dataset_look(const char *url, const char *data_dir, struct dataset_place *ret, struct err *e)
{
    struct dataset_place p = {.format = NULL};
    struct stat st;
    int rc = url_path(url, p.path, e);
    if (rc)
        return rc;
    char *real = realpath(p.path, NULL);
    if (!real || stat(real, &st) < 0) {
        rc = there(errno, e);
        free(real);
        return rc;
    }
    p.folder = S_ISDIR(st.st_mode);
    bool ours = within(real, data_dir) || (p.folder && within(data_dir, real));
    free(real);
    if (ours)
        return bad_url(e, "names the daemon's own data folder, or a folder that holds it");
    if (!p.folder) {
        if (!S_ISREG(st.st_mode))
            return bad_url(e, "names neither a file nor a folder");
        if (faccessat(AT_FDCWD, p.path, R_OK, AT_EACCESS) < 0)
            return there(errno, e);
        p.format = format_of(p.path, true);
        if (!p.format)
            return bad_url(e, "has no known suffix: .parquet, .csv, .json, .jsonl, .ndjson (text also .gz)");
    } else {
        struct walk w = {0};
        int fd = sys_open(p.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        if (fd < 0)
            return there(errno, e);
        rc = walk_folder(fd, &w, 0, e);
        if (rc)
            return rc;
        if (!w.format)
            return bad_url(e, "names a folder that holds no .parquet, .csv, .json, .jsonl or .ndjson file");
        p.format = w.format;
    }
    *ret = p;
    return 0;
}
