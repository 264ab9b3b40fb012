/*
 * duckdb_open: the engine's instance: settings, the workspace's catalog, datasets, sessions.
 *
 * Order of opening: limits at open; spill limit by SQL (given at open it is ignored); catalog attached;
 * datasets allowed; views made by a writer; then external access goes off, and the configuration is locked
 * last. What a job may still set is named in allowed_configs.
 *
 * The unnamed database `memory` holds one empty schema, the default of jobs that have none. Job thread (the
 * main thread before it starts one).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engines/compat_int.h"
#include "engines/duckdb_int.h"
#include "engines/links.h"

#define MARKER  "quern dataset"
#define NOWHERE "quern_nowhere"
#define MIB     (1024u * 1024u)

const char *duck__view_marker(void)
{
    return MARKER;
}

const char *duck_library(void)
{
    static char text[64];
    if (!text[0])
        snprintf(text, sizeof text, "duckdb %s", duckdb_library_version());
    return text;
}

static void reader_call(struct buf *b, const struct wire_dataset *d)
{
    bool csv = strcmp(d->format, "csv") == 0, json = strcmp(d->format, "json") == 0;
    CLEANUP_BUF struct buf path = BUF_INIT(64 * 1024);
    duck__dataset_place(&path, d);
    const char *text = buf_str(&path);
    (void)buf_str_add(b, csv ? "read_csv(" : json ? "read_json(" : "read_parquet(");
    duck__quote(b, '\'', text ? text : "");
    (void)buf_char(b, ')');
}

/* One view; a dataset that cannot be read now has none. */
static int make_view(duckdb_connection c, const struct wire_dataset *d)
{
    CLEANUP_BUF struct buf b = BUF_INIT(256 * 1024);
    (void)buf_str_add(&b, "CREATE OR REPLACE VIEW data_catalog.main.");
    duck__quote(&b, '"', d->name);
    (void)buf_str_add(&b, " AS SELECT * FROM ");
    reader_call(&b, d);
    if (duck__exec(c, buf_str(&b), NULL) < 0)
        return ERR_NOTFOUND;
    buf_reset(&b);
    (void)buf_str_add(&b, "COMMENT ON VIEW data_catalog.main.");
    duck__quote(&b, '"', d->name);
    (void)buf_str_add(&b, " IS '" MARKER "'");
    return duck__exec(c, buf_str(&b), NULL);
}

/* Calls fn for the name of every view that carries the marker. */
static int each_marked(duckdb_connection c, int (*fn)(void *ctx, const char *name), void *ctx, struct err *e)
{
    duckdb_result r;
    memset(&r, 0, sizeof r);
    static const char sql[] = "SELECT view_name FROM duckdb_views() WHERE database_name='data_catalog' AND "
                              "schema_name='main' AND comment='" MARKER "'";
    int rc = 0;
    if (duckdb_query(c, sql, &r) != DuckDBSuccess) {
        rc = err_set(e, ERR_INTERNAL, "XX000", "the catalog's views cannot be listed");
    } else {
        duckdb_data_chunk chunk;
        while ((chunk = duckdb_fetch_chunk(r))) {
            duckdb_string_t *names = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
            for (idx_t i = 0; i < duckdb_data_chunk_get_size(chunk) && !rc; i++) {
                char *name = strndup(duckdb_string_t_data(&names[i]), duckdb_string_t_length(names[i]));
                rc = name ? fn(ctx, name) : ERR_NOMEM;
                free(name);
            }
            duckdb_destroy_data_chunk(&chunk);
        }
    }
    duckdb_destroy_result(&r);
    return rc;
}

struct views {
    struct duck *d;
    duckdb_connection c;
    uint32_t found;
};

static const struct wire_dataset *dataset(const struct duck *d, const char *name)
{
    for (uint32_t i = 0; i < d->setup->ndatasets; i++) {
        if (strcmp(d->setup->datasets[i].name, name) == 0)
            return &d->setup->datasets[i];
    }
    return NULL;
}

static int drop_unlisted(void *ctx, const char *name)
{
    struct views *v = ctx;
    if (dataset(v->d, name))
        return 0;
    CLEANUP_BUF struct buf b = BUF_INIT(64 * 1024);
    (void)buf_str_add(&b, "DROP VIEW data_catalog.main.");
    duck__quote(&b, '"', name);
    if (duck__exec(v->c, buf_str(&b), NULL) < 0) { /* tried again at the next writer */
    }
    return 0;
}

static int count_listed(void *ctx, const char *name)
{
    struct views *v = ctx;
    if (dataset(v->d, name))
        v->found++;
    return 0;
}

static uint32_t count_views(struct duck *d, duckdb_connection c)
{
    struct views v = {d, c, 0};
    return each_marked(c, count_listed, &v, NULL) < 0 ? UINT32_MAX : v.found;
}

static uint32_t views_at_open;

int duck__datasets_intact(struct duck *d, duckdb_connection c, struct err *e)
{
    if (count_views(d, c) == views_at_open)
        return 0;
    return err_set(e, ERR_DENIED, "42501", "a dataset's view cannot be changed or dropped by SQL");
}

static int open_catalog(struct duck *d, duckdb_connection c, struct err *e)
{
    const struct wire_setup *s = d->setup;
    CLEANUP_BUF struct buf b = BUF_INIT(64 * 1024);
    bool file = s->catalog_path[0] && (s->catalog_write || access(s->catalog_path, F_OK) == 0);
    (void)buf_str_add(&b, "ATTACH ");
    duck__quote(&b, '\'', file ? s->catalog_path : ":memory:");
    (void)buf_str_add(&b, " AS data_catalog");
    if (file && !s->catalog_write)
        (void)buf_str_add(&b, " (READ_ONLY)");
    int r = duck__exec(c, buf_str(&b), e);
    if (r < 0)
        return r;
    d->attached = file;
    if (file && !s->catalog_write)
        return 0;
    struct views v = {d, c, 0};
    r = each_marked(c, drop_unlisted, &v, e);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < s->ndatasets; i++) {
        if (make_view(c, &s->datasets[i]) <
            0) { /* unreadable now, or a table has the name: the query will say that it does not exist */
        }
    }
    views_at_open = count_views(d, c);
    /* The name that a writing job needs for a moment; a catalog of an older version still has it. */
    return s->catalog_write ? duck__exec(c, "DROP SCHEMA IF EXISTS data_catalog.quern_internal CASCADE", e)
                            : 0;
}

static void allow_paths(struct buf *b, const struct wire_setup *s, bool folders)
{
    bool any = false;
    for (uint32_t i = 0; i < s->ndatasets; i++) {
        if (s->datasets[i].folder != folders)
            continue;
        (void)buf_str_add(b, any ? "," : folders ? "SET allowed_directories=[" : "SET allowed_paths=[");
        CLEANUP_BUF struct buf link = BUF_INIT(1024);
        links_name(&link, &s->datasets[i]);
        const char *name = buf_str(&link);
        duck__quote(b, '\'', name ? name : "");
        any = true;
    }
    if (any)
        (void)buf_str_add(b, "];");
}

static int lock_down(struct duck *d, duckdb_connection c, struct err *e)
{
    CLEANUP_BUF struct buf b = BUF_INIT(1024 * 1024);
    allow_paths(&b, d->setup, false);
    allow_paths(&b, d->setup, true);
    (void)buf_str_add(
        &b,
        "SET GLOBAL parquet_metadata_cache=true;" /* void once the file's time changes */
        "SET enable_external_access=false;"
        "SET allow_community_extensions=false;"
        "SET autoinstall_known_extensions=false;"
        "SET autoload_known_extensions=false;"
        "SET allow_persistent_secrets=false;"
        "SET "
        "allowed_configs=['TimeZone','integer_division','default_null_order','enable_progress_bar','enable_"
        "progress_bar_print','progress_bar_time','enable_profiling','custom_profiling_settings'];"
        "SET lock_configuration=true;");
    return duck__exec(c, buf_str(&b), e);
}

static int open_instance(struct duck *d, struct err *e)
{
    const struct wire_setup *s = d->setup;
    duckdb_config config;
    if (duckdb_create_config(&config) != DuckDBSuccess)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    char memory[32], threads[16];
    uint64_t wall = s->memory_wall ? s->memory_wall : 1024ull * MIB;
    snprintf(memory, sizeof memory, "%" PRIu64 "KiB", wall / 10 * 7 / 1024);
    snprintf(threads, sizeof threads, "%u", s->threads ? s->threads : 1);
    const char *const settings[][2] = {{"threads", threads},      {"memory_limit", memory},
                                       {"temp_directory", "."},   {"extension_directory", "."},
                                       {"secret_directory", "."}, {"allow_unsigned_extensions", "false"},
                                       {"errors_as_json", "true"}};
    bool ok = true;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        ok &= duckdb_set_config(config, settings[i][0], settings[i][1]) == DuckDBSuccess;
    char *message = NULL;
    if (ok)
        ok = duckdb_open_ext(NULL, &d->db, config, &message) == DuckDBSuccess;
    int r = ok ? 0
               : err_set(e, ERR_ENGINE, "XX000", "%s",
                         message ? message : "the engine's settings were not accepted");
    if (message)
        duckdb_free(message);
    duckdb_destroy_config(&config);
    return r;
}

static int set_up(struct duck *d, duckdb_connection c, struct err *e)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "SET max_temp_directory_size='%" PRIu64
             "KiB'; SET GLOBAL TimeZone='UTC'; CREATE SCHEMA memory." NOWHERE,
             d->setup->spill_max / 1024);
    int r = duck__exec(c, sql, e);
    if (!r)
        r = open_catalog(d, c, e);
    if (!r)
        r = lock_down(d, c, e);
    return r;
}

int duck_open(const struct wire_setup *setup, struct duck **ret, struct err *e)
{
    struct duck *d = calloc(1, sizeof *d);
    if (!d)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    d->setup = setup;
    pthread_mutex_init(&d->mu, NULL);
    (void)duck_copy_works();
    int r = open_instance(d, e);
    duckdb_connection c = NULL;
    if (!r && duckdb_connect(d->db, &c) != DuckDBSuccess)
        r = err_set(e, ERR_ENGINE, "XX000", "the engine refuses a connection");
    if (!r)
        r = set_up(d, c, e);
    if (c)
        duckdb_disconnect(&c);
    if (r < 0) {
        duck__scrub(d, e ? e->text : (char[1]){0});
        if (d->db)
            duckdb_close(&d->db);
        duck__facts_free(d);
        free(d);
        return r;
    }
    struct session like = {
        .profile = WIRE_PROFILE_PLAIN, .timezone = "UTC", .catalog = "data_catalog", .schema = "main"};
    duck__session_ahead(d, &like);
    *ret = d;
    return 0;
}

/* ---- sessions ---- */

/* Is it the default catalog that is not there, or its schema? */
static int no_default(const struct session *s, struct err *e)
{
    CLEANUP_BUF struct buf b = BUF_INIT(16 * 1024);
    (void)buf_str_add(&b, "SET search_path=");
    CLEANUP_BUF struct buf path = BUF_INIT(8 * 1024);
    duck__quote(&path, '"', s->catalog);
    (void)buf_str_add(&path, ".main");
    duck__quote(&b, '\'', buf_str(&path) ? buf_str(&path) : "");
    if (duck__exec(s->conn, buf_str(&b), NULL) < 0)
        return err_set(e, ERR_INVALID, "3D000", "Catalog '%s' not found", s->catalog);
    return err_set(e, ERR_INVALID, "3F000", "Schema '%s' does not exist", s->schema);
}

static int apply(struct session *s, struct err *e)
{
    CLEANUP_BUF struct buf b = BUF_INIT(64 * 1024);
    if (strcmp(s->timezone, "UTC") != 0) {
        (void)buf_str_add(&b, "SET SESSION TimeZone=");
        duck__quote(&b, '\'', s->timezone);
        if (duck__exec(s->conn, buf_str(&b), NULL) < 0)
            return err_set(e, ERR_INVALID, "22023", "unknown time zone \"%s\"", s->timezone);
        buf_reset(&b);
    }
    CLEANUP_BUF struct buf path = BUF_INIT(16 * 1024);
    bool none = !s->catalog[0]; /* a schema alone is of no catalog */
    duck__quote(&path, '"', none ? "memory" : s->catalog);
    (void)buf_char(&path, '.');
    duck__quote(&path, '"', none ? NOWHERE : s->schema[0] ? s->schema : "main");
    const char *macros = compat_schema(s->profile); /* after the user's own, before the engine's functions */
    if (macros)
        (void)buf_printf(&path, ",memory.%s", macros);
    const char *p = buf_str(&path);
    /* Progress is counted, not drawn. */
    (void)buf_str_add(&b, "SET search_path=");
    duck__quote(&b, '\'', p ? p : "");
    (void)buf_str_add(&b, ";SET enable_progress_bar=true;SET enable_progress_bar_print=false");
    if (s->profile == WIRE_PROFILE_PG)
        (void)buf_str_add(&b, ";SET SESSION default_null_order='nulls_last_on_asc_first_on_desc'");
    if (s->use == SESSION_BARE)
        (void)buf_str_add(&b, ";PRAGMA disable_optimizer");
    if (duck__exec(s->conn, buf_str(&b), NULL) < 0)
        return no_default(s, e);
    return s->use == SESSION_COUNTS ? duck__profile_on(s->conn, e) : 0;
}

static int make(struct duck *d, struct session *s, struct err *e)
{
    if (duckdb_connect(d->db, &s->conn) != DuckDBSuccess)
        return err_set(e, ERR_ENGINE, "XX000", "the engine refuses a connection");
    int r = compat_install(s->conn, s->profile, e);
    if (!r)
        r = apply(s, e);
    if (r < 0)
        duckdb_disconnect(&s->conn);
    return r;
}

static bool same(const struct session *a, const struct session *b)
{
    return a->profile == b->profile && a->use == b->use && strcmp(a->timezone, b->timezone) == 0 &&
           strcmp(a->catalog, b->catalog) == 0 && strcmp(a->schema, b->schema) == 0;
}

static struct session *kept(struct duck *d, const struct session *like)
{
    for (int i = 0; i < SESSIONS; i++) {
        if (d->next[i].conn && same(&d->next[i], like))
            return &d->next[i];
    }
    return NULL;
}

int duck__session(struct duck *d, const struct wire_job *job, enum session_use use, struct session *ret,
                  struct err *e)
{
    struct session want = {.profile = job->profile, .use = (uint8_t)use};
    if (snprintf(want.timezone, sizeof want.timezone, "%s", job->timezone[0] ? job->timezone : "UTC") >=
            (int)sizeof want.timezone ||
        snprintf(want.catalog, sizeof want.catalog, "%s", job->default_catalog) >= (int)sizeof want.catalog ||
        snprintf(want.schema, sizeof want.schema, "%s", job->default_schema) >= (int)sizeof want.schema)
        return err_set(e, ERR_INVALID, "22023", "time zone, default catalog or default schema is too long");
    d->like = want;
    struct session *made = kept(d, &want);
    int r = 0;
    if (made) {
        want = *made;
        *made = (struct session){0};
    } else {
        r = make(d, &want, e);
    }
    if (!r)
        *ret = want;
    return r;
}

/* Puts a session aside; the one that waited longest makes room. */
static void put_aside(struct duck *d, const struct session *s)
{
    struct session *at = &d->next[0];
    for (int i = 1; i < SESSIONS && at->conn; i++) {
        if (!d->next[i].conn || d->next[i].kept < at->kept)
            at = &d->next[i];
    }
    duck__session_end(at);
    *at = *s;
    at->kept = ++d->kept;
}

/* Whatever a library may gather for a connection over the days goes with it now and then. */
#define SESSION_USES 1000

bool duck__session_keep(struct duck *d, struct session *s)
{
    if (d->broken || ++s->uses >= SESSION_USES)
        return false;
    put_aside(d, s);
    *s = (struct session){0};
    return true;
}

void duck__session_end(struct session *s)
{
    duck__ready_free(s);
    if (s->conn)
        duckdb_disconnect(&s->conn);
}

void duck__session_ahead(struct duck *d, const struct session *like)
{
    struct session s = *like;
    if (!d->broken && !kept(d, like) && make(d, &s, NULL) == 0)
        put_aside(d, &s);
}

int duck__close_catalog(struct duck *d, struct err *e)
{
    if (!d->attached)
        return 0;
    for (int i = 0; i < SESSIONS; i++)
        duck__session_end(&d->next[i]);
    duckdb_connection c = NULL;
    if (duckdb_connect(d->db, &c) != DuckDBSuccess)
        return err_set(e, ERR_ENGINE, "XX000", "the engine refuses a connection");
    int r = d->setup->catalog_write ? duck__exec(c, "CHECKPOINT data_catalog", e) : 0;
    if (!r)
        r = duck__exec(c, "DETACH data_catalog", e);
    duckdb_disconnect(&c);
    if (!r)
        d->attached = false;
    return r;
}

int duck_raw(struct duck *d, const char *sql, struct err *e)
{
    duckdb_connection c = NULL;
    if (duckdb_connect(d->db, &c) != DuckDBSuccess)
        return err_set(e, ERR_ENGINE, "XX000", "the engine refuses a connection");
    int r = duck__exec(c, sql, e);
    duckdb_disconnect(&c);
    return r;
}
