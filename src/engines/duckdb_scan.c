/*
 * duckdb_scan: how many rows and bytes a statement read, from the library's profile of the run. Job thread.
 *
 * Counted are the scans at the leaves of the executed plan. Rows: what a scan gave, where it filters nothing;
 * what it looked at, where the library says so for tables; for Parquet files with a filter pushed into the
 * scan the library counts the whole file once for each thread, so there it is the row count of the file's own
 * metadata. Bytes: the compressed size of the columns that were read of a data set in Parquet, the size of a
 * CSV or JSON file; everything else 8 bytes a value. A statement that is answered from metadata alone
 * (count(*) of a Parquet file) scans nothing.
 *
 * Metadata of a data set is read at its first scan and kept as long as the file is the same, that of a folder for the life
 * of the process.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engines/duckdb_int.h"

#define SCANS_MAX 256
#define DEPTH_MAX 512
#define FILES_MAX 64 /* a folder of more is estimated */

struct scan {
    uint64_t looked, gave, columns;
    bool parquet, filters;
    bool varies;       /* a filter that comes while it runs */
    char *projections; /* one name a line */
    char *place;       /* what the reader was given */
    uint64_t files;
};

struct scans {
    struct scan all[SCANS_MAX];
    uint32_t n;
};

/* Rows and bytes of one column of a data set. */
struct column_facts {
    char *name;
    uint64_t rows, bytes;
};
struct dataset_facts {
    bool known;
    struct file_stamp stamp; /* of a file, when they were read */
    size_t ncolumns;
    struct column_facts *columns;
};

int duck__profile_on(duckdb_connection c, struct err *e)
{
    return duck__exec(c,
                      "SET enable_profiling='no_output';SET custom_profiling_settings="
                      "'{\"OPERATOR_TYPE\":\"true\",\"OPERATOR_ROWS_SCANNED\":\"true\","
                      "\"OPERATOR_CARDINALITY\":\"true\",\"EXTRA_INFO\":\"true\"}'",
                      e);
}

int duck__profile_off(duckdb_connection c, struct err *e)
{
    return duck__exec(c, "PRAGMA disable_profiling", e);
}

/* ---- reading the profile ---- */

static char *text_of(duckdb_value v)
{
    char *s = v ? duckdb_get_varchar(v) : NULL, *copy = s ? strdup(s) : NULL;
    if (s)
        duckdb_free(s);
    if (v)
        duckdb_destroy_value(&v);
    return copy;
}

static uint64_t number(duckdb_profiling_info node, const char *key)
{
    duckdb_value v = duckdb_profiling_info_get_value(node, key);
    uint64_t n = v ? duckdb_get_uint64(v) : 0;
    if (v)
        duckdb_destroy_value(&v);
    return n;
}

static uint64_t lines(const char *s)
{
    uint64_t n = s && *s;
    for (; s && *s; s++)
        n += *s == '\n';
    return n;
}

/* Takes one key or value of a map's text in place: bare up to `end` or the closing brace, or in quotes. */
static char *take_part(char **at, const char *end)
{
    char *p = *at, *from = p, *to = p;
    if (*p == '\'') {
        for (p++; *p && *p != '\''; p++) {
            if (*p == '\\' && p[1])
                p++;
            *to++ = *p;
        }
        p += *p == '\'';
    } else {
        while (*p && strncmp(p, end, strlen(end)) != 0 && !(*p == '}' && !p[1]))
            p++;
        to = p;
    }
    *at = *p ? p + (*p == '}' ? 1 : strlen(end)) : p;
    *to = 0;
    return from;
}

/* The details come as the text of a map: {Function=PARQUET_SCAN, 'Filename(s)'=...}. */
static void read_details(duckdb_profiling_info node, struct scan *s)
{
    char *text = text_of(duckdb_profiling_info_get_value(node, "EXTRA_INFO")), *at = text;
    if (at && *at == '{')
        at++;
    while (at && *at) {
        const char *key = take_part(&at, "=");
        const char *value = take_part(&at, ", ");
        if (strcmp(key, "Projections") == 0 && !s->projections) {
            s->columns = lines(value);
            s->projections = strdup(value);
        } else if (strcmp(key, "Filename(s)") == 0 && !s->place) {
            s->place = strdup(value);
        } else if (strcmp(key, "Filters") == 0) {
            s->filters = true;
        } else if (strstr(key, "Dynamic")) {
            s->varies = true;
        } else if (strcmp(key, "Total Files Read") == 0) {
            s->files = strtoull(value, NULL, 10);
        }
    }
    free(text);
}

static void walk(duckdb_profiling_info node, struct scans *all, unsigned depth)
{
    char *type = text_of(duckdb_profiling_info_get_value(node, "OPERATOR_TYPE"));
    if (type && strcmp(type, "TABLE_SCAN") == 0 && all->n < SCANS_MAX) {
        char *name = text_of(duckdb_profiling_info_get_value(node, "OPERATOR_NAME"));
        bool file = name && (strcmp(name, "PARQUET_SCAN") == 0 || strncmp(name, "READ_", 5) == 0);
        bool table = name && strcmp(name, "SEQ_SCAN") == 0;
        if (file || table) { /* range() and the like read nothing */
            struct scan *s = &all->all[all->n++];
            *s = (struct scan){.looked = table ? number(node, "OPERATOR_ROWS_SCANNED") : 0,
                               .gave = number(node, "OPERATOR_CARDINALITY"),
                               .parquet = file && !!strstr(name, "PARQUET")};
            read_details(node, s);
        }
        free(name);
    }
    free(type);
    idx_t n = depth < DEPTH_MAX ? duckdb_profiling_info_get_child_count(node) : 0;
    for (idx_t i = 0; i < n; i++)
        walk(duckdb_profiling_info_get_child(node, i), all, depth + 1);
}

/* ---- what a data set holds ---- */

static const struct wire_dataset *dataset_at(const struct duck *d, const char *place, uint32_t *ret_at)
{
    for (uint32_t i = 0; place && i < d->setup->ndatasets; i++) {
        CLEANUP_BUF struct buf b = BUF_INIT(64 * 1024);
        duck__dataset_place(&b, &d->setup->datasets[i]);
        const char *text = buf_str(&b);
        *ret_at = i;
        if (text && strcmp(text, place) == 0)
            return &d->setup->datasets[i];
    }
    return NULL;
}

static void take_facts(duckdb_result *r, struct dataset_facts *f)
{
    duckdb_data_chunk chunk;
    while ((chunk = duckdb_fetch_chunk(*r))) {
        idx_t n = duckdb_data_chunk_get_size(chunk);
        struct column_facts *p = realloc(f->columns, (f->ncolumns + n) * sizeof *p);
        duckdb_string_t *names = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
        uint64_t *rows = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 1));
        uint64_t *bytes = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 2));
        for (idx_t i = 0; p && i < n; i++) {
            f->columns = p;
            char *name = strndup(duckdb_string_t_data(&names[i]), duckdb_string_t_length(names[i]));
            if (name)
                p[f->ncolumns++] = (struct column_facts){name, rows[i], bytes[i]};
        }
        duckdb_destroy_data_chunk(&chunk);
    }
}

static void forget_facts(struct dataset_facts *f)
{
    for (size_t k = 0; k < f->ncolumns; k++)
        free(f->columns[k].name);
    free(f->columns);
    *f = (struct dataset_facts){0};
}

/* NULL when it cannot be told. */
static const struct dataset_facts *facts_of(struct duck *d, uint32_t at, const char *place)
{
    if (!d->facts)
        d->facts = calloc(d->setup->ndatasets, sizeof *d->facts);
    struct dataset_facts *f = d->facts ? &d->facts[at] : NULL;
    struct file_stamp now = {0};
    if (f && !d->setup->datasets[at].folder)
        (void)duck__stamp(d->setup->datasets[at].path, &now);
    if (!f || (f->known && duck__same_stamp(&now, &f->stamp)))
        return f;
    forget_facts(f); /* of a file that was replaced */
    f->known = true;
    f->stamp = now;
    duckdb_connection c = NULL; /* its own: an error here must not end the job's transaction */
    duckdb_result r;
    memset(&r, 0, sizeof r);
    CLEANUP_BUF struct buf b = BUF_INIT(128 * 1024);
    (void)buf_str_add(&b, "SELECT split_part(path_in_schema, ', ', 1), max(n)::UBIGINT, sum(z)::UBIGINT FROM "
                          "(SELECT path_in_schema, sum(row_group_num_rows) AS n, "
                          "sum(total_compressed_size) AS z FROM parquet_metadata(");
    duck__quote(&b, '\'', place);
    (void)buf_str_add(&b, ") GROUP BY 1) GROUP BY 1");
    const char *sql = buf_str(&b);
    if (sql && duckdb_connect(d->db, &c) == DuckDBSuccess && duckdb_query(c, sql, &r) == DuckDBSuccess)
        take_facts(&r, f);
    duckdb_destroy_result(&r);
    if (c)
        duckdb_disconnect(&c);
    return f;
}

static uint64_t column_bytes(const struct dataset_facts *f, const char *projections)
{
    uint64_t sum = 0;
    for (const char *p = projections; p && *p;) {
        size_t n = strcspn(p, "\n");
        for (size_t i = 0; i < f->ncolumns; i++)
            if (strlen(f->columns[i].name) == n && memcmp(f->columns[i].name, p, n) == 0)
                sum += f->columns[i].bytes;
        p += n + (p[n] == '\n');
    }
    return sum;
}

/* The statement reads the file as a whole at each run, as long as the file is the same. */
static void note_whole(const struct duck *d, uint32_t at, struct scanned *ret)
{
    for (uint32_t i = 0; i < ret->nfiles; i++)
        if (ret->files[i].dataset == at)
            return;
    if (ret->nfiles == SCANNED_FILES ||
        !duck__stamp(d->setup->datasets[at].path, &ret->files[ret->nfiles].stamp))
        ret->whole = false;
    else
        ret->files[ret->nfiles++].dataset = at;
}

static void add(struct duck *d, const struct scan *s, struct scanned *ret)
{
    uint64_t n = s->looked > s->gave ? s->looked : s->gave, size = 0;
    uint32_t at = 0;
    const struct wire_dataset *set = dataset_at(d, s->place, &at);
    const struct dataset_facts *f =
        set && s->parquet && s->files <= FILES_MAX ? facts_of(d, at, s->place) : NULL;
    struct stat st;
    bool whole = false;
    if (f && f->ncolumns) {
        uint64_t all = f->columns[0].rows;
        if (s->filters)
            n = all;
        size = column_bytes(f, s->projections);
        if (n < all) /* it ended early */
            size = (uint64_t)((double)size * (double)n / (double)all);
        whole = n == all && !s->varies && !set->folder;
    } else if (set && !s->parquet && !set->folder && stat(set->path, &st) == 0) {
        size = (uint64_t)st.st_size;
    }
    if (whole)
        note_whole(d, at, ret);
    else
        ret->whole = false;
    if (!size)
        size = n * 8 * (s->columns ? s->columns : 1);
    ret->rows += n;
    ret->bytes += size;
}

void duck__scanned(struct duck *d, duckdb_connection c, struct scanned *ret)
{
    duckdb_profiling_info root = duckdb_get_profiling_info(c);
    struct scans *all = root ? calloc(1, sizeof *all) : NULL;
    *ret = (struct scanned){0};
    if (!all)
        return;
    walk(root, all, 0);
    ret->nscans = all->n;
    ret->whole = all->n > 0 && all->n < SCANS_MAX;
    for (uint32_t i = 0; i < all->n; i++)
        add(d, &all->all[i], ret);
    for (uint32_t i = 0; i < all->n; i++) {
        free(all->all[i].projections);
        free(all->all[i].place);
    }
    free(all);
}

void duck__facts_free(struct duck *d)
{
    for (uint32_t i = 0; d->facts && i < d->setup->ndatasets; i++)
        forget_facts(&d->facts[i]);
    free(d->facts);
}
