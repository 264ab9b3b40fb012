/* test_source: who sees which data source, what may be made and deleted, and that secrets lie sealed. */
#include "core_test.h"

#include "core/instance.h"
#include "core/keyring.h"
#include "core/source.h"

struct fixture {
    struct place p;
    struct sources *s;
    struct arena *a;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err e;
    uint8_t key[CRYPTO_KEY_LEN];
    place_make(&f->p);
    f->a = arena_new(1 << 20);
    *state = f;
    if (place_open(&f->p, &e) || keyring_open(f->p.dir, true, key, &e))
        return -1;
    return sources_open(f->p.r, f->p.dir, &f->s, &e);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    sources_close(f->s);
    place_close(&f->p);
    place_remove(&f->p);
    arena_free(f->a);
    free(f);
    return 0;
}

static int user_apply(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_put_user(r, "V", &((struct seed *)(void *)w)->p->user, e);
}

/* U made the workspace; V is another of it. */
static struct identity user(struct fixture *f, const char *name, enum role role)
{
    struct place other = f->p;
    struct seed s = {.w = {.apply = user_apply}, .p = &other};
    if (strcmp(name, "V") == 0)
        assert_int_equal(registry_do(f->p.r, &s.w, NULL), 0);
    struct identity who = {.workspace = f->p.workspace, .user = other.user, .role = role};
    snprintf(who.workspace_name, sizeof who.workspace_name, "W");
    snprintf(who.workspace_uuid, sizeof who.workspace_uuid, "f81d4fae-7dec-41d0-a765-00a0c91e6bf6");
    strncpy(who.user_name, name, sizeof who.user_name - 1);
    return who;
}

static struct source_new mysql(const char *name, enum source_scope scope)
{
    return (struct source_new){.name = name,
                               .kind = SOURCE_MYSQL,
                               .scope = scope,
                               .instance = "db-1",
                               .username = "admin",
                               .secret = "sesame opens",
                               .secret_len = 12};
}

static int make(struct fixture *f, const struct identity *who, struct source_new in, struct err *e)
{
    struct source made;
    err_clear(e);
    return source_create(f->s, who, &in, f->a, &made, e);
}

static size_t count(struct fixture *f, const struct identity *who)
{
    struct source *all;
    size_t n = 0;
    struct err e;
    assert_int_equal(source_list(f->s, who, f->a, &all, &n, &e), 0);
    assert_string_equal(all[0].name, SOURCE_CATALOG_NAME);
    return n;
}

static void who_sees_what(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct source s;
    struct identity u = user(f, "U", ROLE_MEMBER), v = user(f, "V", ROLE_ADMIN), other = u;
    other.workspace++;
    assert_int_equal(make(f, &u, mysql("hidden", SCOPE_PRIVATE), &e), 0);
    assert_int_equal(make(f, &u, mysql("shared", SCOPE_PUBLIC), &e), 0);
    assert_int_equal(count(f, &u), 3);
    assert_int_equal(count(f, &v), 2); /* an admin too */
    assert_int_equal(count(f, &other), 1);
    assert_int_equal(source_find(f->s, &u, "HIDDEN", f->a, &s, &e), 0);
    assert_true(s.mine);
    assert_int_equal(strlen(s.uid), 17);
    const char *uid = s.uid;
    assert_int_equal(source_find(f->s, &u, uid, f->a, &s, &e), 0);
    assert_string_equal(s.name, "hidden");
    assert_int_equal(source_find(f->s, &v, "hidden", f->a, &s, &e), ERR_NOTFOUND);
    assert_int_equal(source_find(f->s, &v, uid, f->a, &s, &e), ERR_NOTFOUND);
    assert_int_equal(source_find(f->s, &other, "shared", f->a, &s, &e), ERR_NOTFOUND);
    assert_int_equal(make(f, &v, mysql("Hidden", SCOPE_PUBLIC), &e), ERR_CONFLICT); /* its name is taken */
}

static void deleting(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct identity u = user(f, "U", ROLE_MEMBER), v = user(f, "V", ROLE_MEMBER), reader = u;
    reader.role = ROLE_READER;
    assert_int_equal(make(f, &u, mysql("hidden", SCOPE_PRIVATE), &e), 0);
    assert_int_equal(make(f, &u, mysql("shared", SCOPE_PUBLIC), &e), 0);
    assert_int_equal(source_delete(f->s, &reader, "shared", &e), ERR_DENIED);
    assert_int_equal(source_delete(f->s, &v, "shared", &e), ERR_DENIED);
    assert_int_equal(source_delete(f->s, &v, "hidden", &e), ERR_NOTFOUND);
    assert_int_equal(source_delete(f->s, &u, "data_catalog", &e), ERR_INVALID);
    assert_int_equal(source_delete(f->s, &u, "hidden", &e), 0);
    assert_int_equal(source_delete(f->s, &u, "hidden", &e), ERR_NOTFOUND);
    v.role = ROLE_ADMIN;
    assert_int_equal(source_delete(f->s, &v, "shared", &e), 0);
    assert_int_equal(count(f, &u), 1);
}

static void refused(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct identity u = user(f, "U", ROLE_MEMBER), reader = u;
    reader.role = ROLE_READER;
    assert_int_equal(make(f, &reader, mysql("abc", SCOPE_PUBLIC), &e), ERR_DENIED);
    static const char *const names[] = {"", "a b", "a.b", "\"x\"", "ö"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(make(f, &u, mysql(names[i], SCOPE_PUBLIC), &e), ERR_INVALID);
    assert_int_equal(make(f, &u, mysql("Data_Catalog", SCOPE_PUBLIC), &e), ERR_CONFLICT);
    assert_int_equal(make(f, &u, mysql("memory", SCOPE_PUBLIC), &e), ERR_CONFLICT);
    assert_int_equal(make(f, &u, mysql("abc", SCOPE_NONE), &e), ERR_INVALID);
    config.source_per_workspace = 1;
    assert_int_equal(make(f, &u, mysql("abc", SCOPE_PUBLIC), &e), 0);
    assert_int_equal(make(f, &u, mysql("abd", SCOPE_PUBLIC), &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "source.per_workspace"));
    config_defaults();
}

static void instances(void **state)
{
    struct fixture *f = *state;
    struct err e;
    CLEANUP_BUF struct buf out = BUF_INIT(65536);
    struct identity u = user(f, "U", ROLE_MEMBER);
    assert_int_equal(make(f, &u, mysql("before", SCOPE_PUBLIC), &e), 0); /* nothing to check it with */
    assert_int_equal(instance_add(f->p.r, "db-1", "mysql", "db.example", NULL, NULL, &out, &e), 0);
    assert_non_null(strstr(buf_str(&out), "3306"));
    assert_int_equal(instance_add(f->p.r, "db-1", "mysql", "h", NULL, NULL, &out, &e), ERR_CONFLICT);
    assert_int_equal(instance_add(f->p.r, "db-2", "oracle", "h", NULL, NULL, &out, &e), ERR_INVALID);
    assert_int_equal(instance_add(f->p.r, "db-2", "mysql", "a b", NULL, NULL, &out, &e), ERR_INVALID);
    assert_int_equal(instance_add(f->p.r, "db-2", "mysql", "h", "0", NULL, &out, &e), ERR_INVALID);
    assert_int_equal(instance_add(f->p.r, "db-2", "postgresql", "h", "5433", "verify", &out, &e), 0);
    assert_int_equal(make(f, &u, mysql("known", SCOPE_PUBLIC), &e), 0);
    struct source_new in = mysql("unknown", SCOPE_PUBLIC);
    in.instance = "db-9";
    assert_int_equal(make(f, &u, in, &e), ERR_INVALID);
    in.instance = "db-2"; /* of another kind */
    assert_int_equal(make(f, &u, in, &e), ERR_INVALID);
    assert_int_equal(instance_remove(f->p.r, "db-2", &out, &e), 0);
    assert_int_equal(instance_remove(f->p.r, "db-2", &out, &e), ERR_NOTFOUND);
}

static bool file_holds(const char *dir, const char *name, const char *what)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    static char all[4 << 20];
    size_t n = fread(all, 1, sizeof all, file);
    fclose(file);
    return memmem(all, n, what, strlen(what)) != NULL;
}

static void sealed(void **state)
{
    struct fixture *f = *state;
    struct err e;
    int64_t workspace;
    enum source_kind kind;
    struct identity u = user(f, "U", ROLE_MEMBER);
    assert_int_equal(make(f, &u, mysql("sealed_one", SCOPE_PRIVATE), &e), 0);
    bool named = false;
    static const char *const files[] = {"registry.db", "registry.db-wal"};
    for (size_t i = 0; i < 2; i++) {
        named |= file_holds(f->p.dir, files[i], "sealed_one");
        assert_false(file_holds(f->p.dir, files[i], "sesame"));
    }
    assert_true(named);
    assert_int_equal(source_admin_test(f->s, "W", "sealed_one", &workspace, &kind, &e), 0);
    assert_int_equal(kind, SOURCE_MYSQL);
    /* after a restart it opens, with another keyring it does not */
    sources_close(f->s);
    f->s = NULL;
    assert_int_equal(sources_open(f->p.r, f->p.dir, &f->s, &e), 0);
    assert_int_equal(source_admin_test(f->s, "W", "sealed_one", &workspace, &kind, &e), 0);
    sources_close(f->s);
    f->s = NULL;
    char path[256];
    uint8_t key[CRYPTO_KEY_LEN];
    snprintf(path, sizeof path, "%s/keyring", f->p.dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(keyring_open(f->p.dir, true, key, &e), 0);
    assert_int_equal(sources_open(f->p.r, f->p.dir, &f->s, &e), 0);
    assert_int_equal(source_admin_test(f->s, "W", "sealed_one", &workspace, &kind, &e), ERR_CORRUPT);
    assert_null(strstr(e.text, "sesame"));
}

static const char *explained(struct fixture *f, int64_t user, const char *source, const char *sql)
{
    static struct err e;
    err_clear(&e);
    err_set(&e, ERR_INVALID, "3D000", "what the engine says");
    source_explain(f->s, f->p.workspace, user, source, sql, strlen(sql), &e);
    return e.sqlstate;
}

static void explain(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct identity u = user(f, "U", ROLE_MEMBER), v = user(f, "V", ROLE_MEMBER);
    assert_int_equal(make(f, &u, mysql("shop", SCOPE_PRIVATE), &e), 0);
    assert_string_equal(explained(f, u.user, NULL, "select * from shop.db.t"), "0A000");
    assert_string_equal(explained(f, u.user, NULL, "select * from \"Shop\" . db.t"), "0A000");
    assert_string_equal(explained(f, u.user, "shop", "select * from t"), "0A000");
    assert_string_equal(explained(f, v.user, NULL, "select * from shop.db.t"), "3D000");
    assert_string_equal(explained(f, u.user, NULL, "select shop from x.y.z"), "3D000");
    assert_string_equal(explained(f, u.user, NULL, "select 'shop.a' from x.shop.z -- shop.b"), "3D000");
    err_set(&e, ERR_INVALID, "22012", "division by zero");
    source_explain(f->s, f->p.workspace, u.user, NULL, "select 1/0 from shop.a", 22, &e);
    assert_string_equal(e.sqlstate, "22012");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_sees_what, setup, teardown),
        cmocka_unit_test_setup_teardown(deleting, setup, teardown),
        cmocka_unit_test_setup_teardown(refused, setup, teardown),
        cmocka_unit_test_setup_teardown(instances, setup, teardown),
        cmocka_unit_test_setup_teardown(sealed, setup, teardown),
        cmocka_unit_test_setup_teardown(explain, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
