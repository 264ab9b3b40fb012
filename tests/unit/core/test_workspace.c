/* test_workspace: engine keys and epochs, buckets, and what a dataset may be. */
#include "core_test.h"

#include "base/log.h"
#include "core/dataset.h"
#include "core/workspace.h"

struct fixture {
    struct place p;
    struct workspaces *w;
    char files[128];
    struct arena *a;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err e;
    place_make(&f->p);
    strncpy(f->files, "/tmp/quern-files-XXXXXX", sizeof f->files - 1);
    f->a = arena_new(1 << 20);
    *state = f;
    if (!mkdtemp(f->files) || place_open(&f->p, &e))
        return -1;
    return workspaces_open(f->p.r, f->p.dir, &f->w, &e);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    workspaces_close(f->w);
    place_close(&f->p);
    place_remove(&f->p);
    (void)nftw(f->files, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    arena_free(f->a);
    free(f);
    return 0;
}

static const char *put(struct fixture *f, const char *name)
{
    char *path = arena_printf(f->a, "%s/%s", f->files, name);
    size_t n = strlen(path);
    if (path[n - 1] == '/') {
        assert_int_equal(mkdir(path, 0755), 0);
    } else {
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        close(fd);
    }
    return arena_printf(f->a, "file://%s", path);
}

static int add(struct fixture *f, const char *name, const char *url, struct err *e)
{
    CLEANUP_BUF struct buf out = BUF_INIT(65536);
    err_clear(e);
    int rc = workspace_dataset_add(f->w, "W", name, url, &out, e);
    if (rc)
        assert_int_equal(out.len, 0);
    assert_int_equal(e->code, rc);
    return rc;
}

static struct engine_key key(struct fixture *f, bool write)
{
    struct engine_key k;
    struct err e;
    assert_int_equal(workspace_engine_key(f->w, f->p.workspace, write, f->a, &k, &e), 0);
    return k;
}

static void test_epoch(void **state)
{
    struct fixture *f = *state;
    struct err e;
    CLEANUP_BUF struct buf out = BUF_INIT(65536);
    struct engine_key k = key(f, false);
    uint64_t before = k.epoch;
    assert_int_equal(k.ndatasets, 0);
    assert_string_equal(k.catalog_path, "");
    assert_int_equal(k.workspace, f->p.workspace);
    assert_true(strlen(key(f, true).catalog_path) > 0);
    assert_int_equal(add(f, "flights", put(f, "a.parquet"), &e), 0);
    k = key(f, false);
    assert_true(k.epoch > before);
    assert_int_equal(k.ndatasets, 1);
    assert_string_equal(k.datasets[0].name, "flights");
    assert_string_equal(k.datasets[0].format, "parquet");
    assert_false(k.datasets[0].folder);
    before = k.epoch;
    assert_int_equal(add(f, "FLIGHTS", put(f, "b.csv"), &e),
                     ERR_CONFLICT); /* names are told apart without case, as in SQL */
    assert_int_equal(key(f, false).epoch, before);
    assert_int_equal(workspace_dataset_remove(f->w, "W", "nothing", &out, &e), ERR_NOTFOUND);
    assert_int_equal(key(f, false).epoch, before);
    assert_int_equal(workspace_dataset_remove(f->w, "W", "flights", &out, &e), 0);
    k = key(f, false);
    assert_true(k.epoch > before);
    assert_int_equal(k.ndatasets, 0);
    assert_int_equal(workspace_engine_key(f->w, 4711, false, f->a, &k, &e), ERR_NOTFOUND);
    /* The catalog's file shows when it is there. */
    const char *path = key(f, true).catalog_path;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_string_equal(key(f, false).catalog_path, path);
}

static void refused(struct fixture *f, const char *url, int want, const char *word)
{
    struct err e;
    int rc = add(f, "d", url, &e);
    if (rc != want || !strstr(e.text, word))
        fail_msg("%s: %d \"%s\"", url, rc, e.text);
    assert_null(strstr(e.text, f->files)); /* no paths in messages */
}

static void test_urls(void **state)
{
    struct fixture *f = *state;
    struct err e;
    (void)put(f, "a.csv");
    (void)put(f, "none.txt");
    (void)put(f, "dir/");
    (void)put(f, "dir/x.csv");
#define AT(rest) arena_printf(f->a, "file://%s%s", f->files, rest)
    refused(f, "s3://b/p", ERR_INVALID, "not enabled yet");
    refused(f, "http://h/p", ERR_INVALID, "no known kind");
    refused(f, f->files, ERR_INVALID, "no known kind");
    refused(f, "file://host/p.csv", ERR_INVALID, "no host");
    refused(f, "file://", ERR_INVALID, "absolute");
    refused(f, "file:///", ERR_INVALID, "root");
    refused(f, "file:////", ERR_INVALID, "root");
    refused(f, AT("/../a.csv"), ERR_INVALID, "step");
    refused(f, AT("/%2e%2E/a.csv"), ERR_INVALID, "step");
    refused(f, AT("/./a.csv"), ERR_INVALID, "step");
    refused(f, AT("/a.csv?x"), ERR_INVALID, "query");
    refused(f, AT("/a%2fb.csv"), ERR_INVALID, "not allowed");
    refused(f, AT("/a%00.csv"), ERR_INVALID, "not allowed");
    refused(f, AT("/a%zz.csv"), ERR_INVALID, "broken");
    refused(f, AT("/a%"), ERR_INVALID, "broken");
    refused(f, AT("/a%0a.csv"), ERR_INVALID, "control");
    refused(f, AT("/missing.csv"), ERR_NOTFOUND, "no file");
    refused(f, AT("/a.csv/x"), ERR_NOTFOUND, "no file");
    refused(f, AT("/none.txt"), ERR_INVALID, "suffix");
    refused(f, "file:///dev/null", ERR_INVALID, "neither");
    refused(f, arena_printf(f->a, "file://%s/registry.db", f->p.dir), ERR_INVALID, "own data folder");
    refused(f, arena_printf(f->a, "file://%s/catalog", f->p.dir), ERR_INVALID, "own data folder");
    refused(f, arena_printf(f->a, "file://%s", f->p.dir), ERR_INVALID, "own data folder");
    refused(f, "file:///tmp", ERR_INVALID, "own data folder"); /* it holds it */
    assert_int_equal(symlink(f->p.dir, arena_printf(f->a, "%s/link", f->files)), 0);
    refused(f, AT("/link/keyring"), ERR_NOTFOUND, "no file");
    refused(f, AT("/link/registry.db"), ERR_INVALID, "own data folder");
    assert_int_equal(add(f, "ok1", AT("//a.csv"), &e), 0);
    assert_int_equal(add(f, "ok2", AT("/dir///"), &e), 0);
    assert_int_equal(add(f, "ok3", AT("/%61.csv"), &e), 0);
    struct engine_key k = key(f, false);
    assert_string_equal(k.datasets[0].path, arena_printf(f->a, "%s/a.csv", f->files));
    assert_string_equal(k.datasets[1].path, arena_printf(f->a, "%s/dir", f->files));
    assert_true(k.datasets[1].folder);
    assert_string_equal(k.datasets[2].path, k.datasets[0].path);
    assert_int_equal(workspace_dataset_add(f->w, "X", "d", AT("/a.csv"), NULL, &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "workspace"));
}

static void test_formats(void **state)
{
    struct fixture *f = *state;
    struct err e;
    static const char *const files[][2] = {
        {"a.parquet", "parquet"}, {"a.PARQUET", "parquet"}, {"a.csv", "csv"},    {"a.csv.gz", "csv"},
        {"a b%.json", "json"},    {"a.ndjson", "json"},     {"a.jsonl", "json"}, {"a.jsonl.gz", "json"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        CLEANUP_BUF struct buf url = BUF_INIT(4096);
        struct dataset_place d;
        (void)put(f, files[i][0]);
        assert_int_equal(dataset_url(&url, arena_printf(f->a, "%s/%s", f->files, files[i][0])), 0);
        assert_int_equal(dataset_look(buf_str(&url), f->p.dir, &d, &e), 0);
        assert_string_equal(d.format, files[i][1]);
        assert_false(d.folder);
        assert_string_equal(d.path, arena_printf(f->a, "%s/%s", f->files, files[i][0]));
    }
    (void)put(f, "m/");
    refused(f, AT("/m"), ERR_INVALID, "holds no");
    (void)put(f, "m/README.md");
    (void)put(f, "m/_SUCCESS");
    (void)put(f, "m/.hidden.csv");
    refused(f, AT("/m"), ERR_INVALID, "holds no");
    (void)put(f, "m/year=2025/");
    (void)put(f, "m/year=2025/x.parquet");
    struct dataset_place d;
    assert_int_equal(dataset_look(AT("/m"), f->p.dir, &d, &e), 0);
    assert_string_equal(d.format, "parquet");
    assert_true(d.folder);
    (void)put(f, "m/year=2025/y.Parquet");
    refused(f, AT("/m"), ERR_INVALID, "lower case");
    (void)put(f, "n/");
    (void)put(f, "n/x.parquet");
    (void)put(f, "n/x.csv");
    refused(f, AT("/n"), ERR_INVALID, "two kinds");
    static const char *const bad[] = {"", "1a", "a-b", "a b", "\xed\x95\x9c", "a.b", "a\"b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(dataset_name_check(bad[i], &e), ERR_INVALID);
    char longest[130];
    memset(longest, 'a', sizeof longest);
    longest[129] = 0;
    assert_int_equal(dataset_name_check(longest, &e), ERR_INVALID);
    longest[128] = 0;
    assert_int_equal(dataset_name_check(longest, &e), 0);
    assert_int_equal(dataset_name_check("_A9", &e), 0);
}

static int bucket(struct fixture *f, const char *name, const char *url, bool read_only, bool is_default)
{
    CLEANUP_BUF struct buf out = BUF_INIT(65536);
    struct err e;
    return workspace_bucket_create(f->w, "W", name, url, read_only, is_default, &out, &e);
}

static int url_of(struct fixture *f, const char *name, const char **ret)
{
    struct err e;
    return workspace_bucket_url(f->w, f->p.workspace, name, f->a, ret, &e);
}

static void test_buckets(void **state)
{
    struct fixture *f = *state;
    const char *url;
    struct stat st;
    /* Before an administrator names one there is a folder of our own. */
    assert_int_equal(url_of(f, NULL, &url), 0);
    assert_memory_equal(url, "file:///", 8);
    assert_int_equal(stat(url + 7, &st), 0);
    assert_int_equal(url_of(f, "b", &url), ERR_NOTFOUND);
    const char *one = AT("/one"), *two = AT("/two");
    assert_int_equal(bucket(f, "b", one, false, true), 0);
    assert_int_equal(stat(one + 7, &st), 0); /* made */
    assert_int_equal(bucket(f, "b", two, false, false), ERR_CONFLICT);
    assert_int_equal(bucket(f, "c", two, false, true), 0); /* the new default */
    assert_int_equal(bucket(f, "r", AT("/two"), true, false), 0);
    assert_int_equal(bucket(f, "rd", two, true, true), ERR_INVALID);
    assert_int_equal(bucket(f, "s", "s3://b/p", false, false), ERR_INVALID);
    assert_int_equal(bucket(f, "a/b", two, false, false), ERR_INVALID);
    assert_int_equal(url_of(f, "b", &url), 0);
    assert_string_equal(url, one);
    assert_int_equal(url_of(f, NULL, &url), 0);
    assert_string_equal(url, two);
    assert_int_equal(url_of(f, "r", &url), ERR_DENIED);
    struct err e;
    assert_int_equal(workspace_bucket_url(f->w, 4711, NULL, f->a, &url, &e), ERR_NOTFOUND);
    CLEANUP_BUF struct buf out = BUF_INIT(65536);
    assert_int_equal(workspace_bucket_list(f->w, NULL, &out, &e), 0);
    assert_non_null(strstr(buf_str(&out), "\"name\":\"b\""));
    assert_int_equal(workspace_bucket_list(f->w, "X", &out, &e), ERR_NOTFOUND);
}

struct busy {
    struct fixture *f;
    atomic_bool stop;
};

static void count_one(void *arg, const char *name)
{
    (void)name;
    ++*(int *)arg;
}

static void ask_key(void *arg, int64_t id)
{
    struct fixture *f = arg;
    struct arena *a = arena_new(1 << 20);
    struct engine_key k;
    assert_int_equal(workspace_engine_key(f->w, id, false, a, &k, NULL), 0);
    for (uint32_t i = 0; i < k.ndatasets; i++)
        assert_true(k.datasets[i].name[0] == 't');
    arena_free(a);
}

static void *busy_main(void *arg)
{
    struct busy *b = arg;
    while (!atomic_load(&b->stop)) {
        int n = 0;
        workspaces_each(b->f->w, ask_key, b->f);
        workspace_each_dataset(b->f->w, b->f->p.workspace, count_one, &n);
        assert_true(n <= 1);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct fixture *f = *state;
    struct busy b = {.f = f};
    pthread_t t[3];
    struct err e;
    const char *url = put(f, "a.csv");
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, busy_main, &b);
    for (int i = 0; i < 40; i++) {
        CLEANUP_BUF struct buf out = BUF_INIT(65536);
        assert_int_equal(add(f, "t", url, &e), 0);
        assert_int_equal(workspace_dataset_remove(f->w, "W", "t", &out, &e), 0);
    }
    atomic_store(&b.stop, true);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
}

int main(void)
{
    log_init(LOG_WARN, false);
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_epoch), T(test_urls), T(test_formats), T(test_buckets),
                                       T(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
