/*
 * zone: see zone.h.
 *
 * A file's second data block (64-bit times, version 2 and later) holds the transitions up to a year, its footer
 * a POSIX TZ text for all later instants. Invariants of a zone that was read: transitions ascend, each has the
 * offset that begins there, offsets are within a day and a little. Names that are links to one file share one
 * zone's transitions.
 */
#include "base/zone.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"

#define FILE_MAX   (64u * 1024)
#define ZONES_MAX  4096u
#define DEPTH_MAX  4
#define NAME_BYTES 256
#define HEADER     44u
#define DAY        86400
#define OFFSET_MAX (26 * 3600)        /* RFC 8536: below 26 hours */
#define FAR        (INT64_C(1) << 40) /* seconds: 34,000 years; the rule is not worked out beyond */

struct day_rule { /* of a POSIX TZ text */
    char kind;    /* 'M', 'J' or 'n' (a number alone) */
    int month, week, day;
    int32_t time; /* seconds after local midnight */
};

struct posix_rule {
    bool there, summer;
    int32_t offset, summer_offset;
    struct day_rule start, end;
};

struct zone_data {
    size_t n;
    int64_t *at;     /* ascending */
    int32_t *offset; /* from at[i] on */
    int32_t before;  /* before the first */
    struct posix_rule rule;
    dev_t dev;
    ino_t ino;
};

struct zone {
    char *name;
    struct zone_data *data;
    bool owns;
};

static struct {
    struct zone *all; /* by name, without regard to case */
    size_t n;
} zones;

static struct zone_data utc_data = {.rule = {.there = true}};
static char utc_name[] = "UTC";
static const struct zone utc = {.name = utc_name, .data = &utc_data};

/* ---- the footer ---- */

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool take_number(const char **p, int most, int *ret)
{
    int v = 0;
    if (!digit(**p))
        return false;
    while (digit(**p)) {
        v = v * 10 + (*(*p)++ - '0');
        if (v > most)
            return false;
    }
    *ret = v;
    return true;
}

/* [+-]h[h][h][:mm[:ss]] */
static bool take_hms(const char **p, int hours, int32_t *ret)
{
    int sign = **p == '-' ? -1 : 1, h, m = 0, s = 0;
    if (**p == '-' || **p == '+')
        (*p)++;
    if (!take_number(p, hours, &h))
        return false;
    if (**p == ':' && ((*p)++, !take_number(p, 59, &m)))
        return false;
    if (**p == ':' && ((*p)++, !take_number(p, 59, &s)))
        return false;
    *ret = sign * (h * 3600 + m * 60 + s);
    return true;
}

/* CET, <+09> */
static bool take_abbreviation(const char **p)
{
    const char *from = *p;
    if (**p == '<') {
        while (**p && **p != '>')
            (*p)++;
        return *(*p)++ == '>';
    }
    while ((**p >= 'a' && **p <= 'z') || (**p >= 'A' && **p <= 'Z'))
        (*p)++;
    return *p > from;
}

static bool take_day_rule(const char **p, struct day_rule *r)
{
    *r = (struct day_rule){.kind = 'n', .time = 7200};
    if (**p == 'M') {
        (*p)++;
        r->kind = 'M';
        if (!take_number(p, 12, &r->month) || r->month < 1 || *(*p)++ != '.' ||
            !take_number(p, 5, &r->week) || r->week < 1 || *(*p)++ != '.' || !take_number(p, 6, &r->day))
            return false;
    } else {
        if (**p == 'J') {
            (*p)++;
            r->kind = 'J';
        }
        if (!take_number(p, 365, &r->day) || (r->kind == 'J' && r->day < 1))
            return false;
    }
    return **p != '/' || ((*p)++, take_hms(p, 167, &r->time));
}

static bool read_rule(const char *text, struct posix_rule *ret)
{
    struct posix_rule r = {.there = true};
    const char *p = text;
    if (!take_abbreviation(&p) || !take_hms(&p, 24, &r.offset))
        return false;
    r.offset = -r.offset; /* POSIX counts to the west */
    if (*p) {
        r.summer = true;
        if (!take_abbreviation(&p))
            return false;
        r.summer_offset = r.offset + 3600;
        if (*p && *p != ',') {
            if (!take_hms(&p, 24, &r.summer_offset))
                return false;
            r.summer_offset = -r.summer_offset;
        }
        if (*p++ != ',' || !take_day_rule(&p, &r.start) || *p++ != ',' || !take_day_rule(&p, &r.end) || *p)
            return false;
    }
    *ret = r;
    return true;
}

static bool leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Local seconds since 1970 of the rule's moment in that year. */
static int64_t moment(const struct day_rule *r, int64_t year)
{
    int64_t days = clock_days_from_civil(year, 1, 1);
    if (r->kind == 'n') {
        days += r->day;
    } else if (r->kind == 'J') { /* the 29th of February has no number */
        days += r->day - 1 + (r->day >= 60 && leap(year));
    } else {
        days = clock_days_from_civil(year, r->month, 1);
        int64_t next = r->month == 12 ? clock_days_from_civil(year + 1, 1, 1)
                                      : clock_days_from_civil(year, r->month + 1, 1);
        int64_t first = ((days + 4) % 7 + 7) % 7; /* 1970-01-01 was a Thursday */
        int64_t day = days + (r->day - first + 7) % 7 + 7 * (r->week - 1);
        days = day < next ? day : day - 7;
    }
    return days * DAY + r->time;
}

/* Narrows *s, which holds at t, to the rule's part of it. */
static void by_rule(const struct posix_rule *r, int64_t t, struct zone_span *s)
{
    s->offset = r->offset;
    if (!r->summer || t > FAR || t < -FAR)
        return;
    struct civil c;
    clock_civil(t + r->offset, &c);
    int64_t last = INT64_MIN;
    for (int64_t year = c.year - 1; year <= c.year + 1; year++) {
        const struct {
            int64_t at;
            int32_t offset;
        } turns[2] = {{moment(&r->start, year) - r->offset, r->summer_offset},
                      {moment(&r->end, year) - r->summer_offset, r->offset}};
        for (int i = 0; i < 2; i++) {
            if (turns[i].at <= t && turns[i].at > last) {
                last = turns[i].at;
                s->offset = turns[i].offset;
            }
            if (turns[i].at > t && turns[i].at < s->to)
                s->to = turns[i].at;
        }
    }
    if (last > s->from)
        s->from = last;
}

/* ---- the file ---- */

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t be64(const uint8_t *p)
{
    return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

struct block { /* counts of one data block */
    uint32_t ut, std, leaps, times, types, chars;
};

static bool read_header(const uint8_t *p, size_t n, struct block *b)
{
    if (n < HEADER || memcmp(p, "TZif", 4) != 0 || p[4] < '2')
        return false;
    *b = (struct block){be32(p + 20), be32(p + 24), be32(p + 28), be32(p + 32), be32(p + 36), be32(p + 40)};
    return b->ut < FILE_MAX && b->std < FILE_MAX && b->leaps < FILE_MAX && b->times < FILE_MAX &&
           b->types > 0 && b->types <= 256 && b->chars < FILE_MAX;
}

static size_t block_size(const struct block *b, size_t time)
{
    return b->times * (time + 1) + b->types * 6u + b->chars + b->leaps * (time + 4) + b->std + b->ut;
}

/* p: a block with 64-bit times, `size` bytes, of which all are there. */
static bool read_block(const uint8_t *p, const struct block *b, struct zone_data *d)
{
    const uint8_t *which = p + b->times * 8u, *types = which + b->times;
    d->n = b->times;
    d->at = calloc(d->n + 1, sizeof *d->at);
    d->offset = calloc(d->n + 1, sizeof *d->offset);
    if (!d->at || !d->offset)
        return false;
    d->before = (int32_t)be32(types);
    for (uint32_t i = 0; i < b->types; i++) {
        int32_t offset = (int32_t)be32(types + i * 6u);
        if (offset > OFFSET_MAX || offset < -OFFSET_MAX)
            return false;
    }
    for (size_t i = 0; i < d->n; i++) {
        d->at[i] = be64(p + i * 8);
        if (which[i] >= b->types || (i > 0 && d->at[i] <= d->at[i - 1]))
            return false;
        d->offset[i] = (int32_t)be32(types + which[i] * 6u);
    }
    return true;
}

static bool parse(const uint8_t *p, size_t n, struct zone_data *d)
{
    struct block b;
    if (!read_header(p, n, &b) || n - HEADER < block_size(&b, 4))
        return false;
    size_t at = HEADER + block_size(&b, 4);
    if (!read_header(p + at, n - at, &b) || n - at - HEADER < block_size(&b, 8))
        return false;
    at += HEADER;
    if (!read_block(p + at, &b, d))
        return false;
    at += block_size(&b, 8);
    char text[256];
    const uint8_t *end = n > at + 1 && p[at] == '\n' ? memchr(p + at + 1, '\n', n - at - 1) : NULL;
    size_t len = end ? (size_t)(end - (p + at + 1)) : 0;
    if (!end || len >= sizeof text)
        return false;
    memcpy(text, p + at + 1, len);
    text[len] = 0;
    return len == 0 || read_rule(text, &d->rule); /* without a text the last offset goes on */
}

static void data_free(struct zone_data *d)
{
    if (!d)
        return;
    free(d->at);
    free(d->offset);
    free(d);
}

int zone_read(const char *name, const uint8_t *p, size_t n, struct zone **ret)
{
    struct zone *z = calloc(1, sizeof *z);
    struct zone_data *d = calloc(1, sizeof *d);
    char *copy = strdup(name);
    int rc = !z || !d || !copy ? ERR_NOMEM : parse(p, n, d) ? 0 : ERR_INVALID;
    if (rc) {
        free(z);
        free(copy);
        data_free(d);
        return rc;
    }
    *z = (struct zone){copy, d, true};
    *ret = z;
    return 0;
}

void zone_free_one(struct zone *z)
{
    if (!z)
        return;
    if (z->owns)
        data_free(z->data);
    free(z->name);
    free(z);
}

/* ---- the folder ---- */

static int unread; /* see zones_unread */

struct walk {
    size_t cap;
    char name[NAME_BYTES];
};

/* The zone's transitions when an earlier name leads to the same file. */
static struct zone_data *same_file(const struct stat *st)
{
    for (size_t i = 0; i < zones.n; i++)
        if (zones.all[i].owns && zones.all[i].data->ino == st->st_ino && zones.all[i].data->dev == st->st_dev)
            return zones.all[i].data;
    return NULL;
}

static struct zone_data *read_file(int fd, const struct stat *st)
{
    static uint8_t bytes[FILE_MAX];
    ssize_t n = sys_pread(fd, bytes, sizeof bytes, 0);
    unread += n < 0;
    struct zone_data *d = n > 4 && n < (ssize_t)sizeof bytes ? calloc(1, sizeof *d) : NULL;
    if (!d)
        return NULL;
    d->dev = st->st_dev;
    d->ino = st->st_ino;
    if (parse(bytes, (size_t)n, d))
        return d;
    data_free(d);
    return NULL;
}

static void add(struct walk *w, int fd, const struct stat *st)
{
    if (zones.n == ZONES_MAX)
        return;
    if (zones.n == w->cap) {
        size_t cap = w->cap ? w->cap * 2 : 1024;
        struct zone *p = realloc(zones.all, cap * sizeof *p);
        if (!p)
            return;
        zones.all = p;
        w->cap = cap;
    }
    struct zone_data *shared = same_file(st), *d = shared ? shared : read_file(fd, st);
    char *name = d ? strdup(w->name) : NULL;
    if (name)
        zones.all[zones.n++] = (struct zone){name, d, !shared};
    else if (!shared)
        data_free(d);
}

/* Closes dir. */
static void walk_folder(struct walk *w, int dir, size_t len, int depth)
{
    DIR *d = fdopendir(dir);
    if (!d) {
        unread++;
        close(dir);
        return;
    }
    for (struct dirent *x; (x = readdir(d));) {
        struct stat st;
        size_t n = strlen(x->d_name);
        bool other = depth == 0 && (strcmp(x->d_name, "posix") == 0 || strcmp(x->d_name, "right") == 0);
        if (x->d_name[0] == '.' || other || len + n + 2 > sizeof w->name)
            continue;
        int fd = sys_openat(dirfd(d), x->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
        if (fd < 0) {
            unread += errno != ENOENT; /* a link that leads nowhere */
            continue;
        }
        memcpy(w->name + len, x->d_name, n + 1);
        bool folder = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
        if (folder && depth < DEPTH_MAX) {
            memcpy(w->name + len + n, "/", 2);
            walk_folder(w, fd, len + n + 1, depth + 1);
            continue;
        }
        if (!folder && S_ISREG(st.st_mode))
            add(w, fd, &st);
        close(fd);
    }
    closedir(d);
}

static int by_name(const void *a, const void *b)
{
    return strcasecmp(((const struct zone *)a)->name, ((const struct zone *)b)->name);
}

int zones_unread(void)
{
    return unread;
}

int zones_load(void)
{
    unread = 0;
    const char *dir = getenv("TZDIR");
    struct walk w = {0};
    int fd = sys_open(dir && *dir ? dir : "/usr/share/zoneinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd >= 0)
        walk_folder(&w, fd, 0, 0);
    if (zones.n)
        qsort(zones.all, zones.n, sizeof *zones.all, by_name);
    return (int)zones.n;
}

void zones_free(void)
{
    for (size_t i = 0; i < zones.n; i++) {
        if (zones.all[i].owns)
            data_free(zones.all[i].data);
        free(zones.all[i].name);
    }
    free(zones.all);
    zones.all = NULL;
    zones.n = 0;
}

const struct zone *zone_find(const char *name)
{
    if (!name)
        return NULL;
    struct zone key = {.name = (char *)(uintptr_t)name};
    const struct zone *z = zones.n ? bsearch(&key, zones.all, zones.n, sizeof *zones.all, by_name) : NULL;
    return z ? z : strcasecmp(name, "UTC") == 0 ? &utc : NULL;
}

const char *zone_name(const struct zone *z)
{
    return z->name;
}

void zone_at(const struct zone *z, int64_t t, struct zone_span *ret)
{
    const struct zone_data *d = (z ? z : &utc)->data;
    struct zone_span s = {INT64_MIN, INT64_MAX, d->before};
    size_t low = 0, high = d->n; /* the first transition after t */
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (d->at[mid] <= t)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < d->n)
        s.to = d->at[low];
    if (low > 0) {
        s.from = d->at[low - 1];
        s.offset = d->offset[low - 1];
    }
    if (low == d->n && d->rule.there)
        by_rule(&d->rule, t, &s);
    *ret = s;
}
