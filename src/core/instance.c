/* instance: see instance.h. */
#include "core/instance.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/json_write.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/audit.h"
#include "core/registry.h"

#define HOST_MAX 255

static int written(struct buf *out, struct err *e)
{
    return buf_failed(out) ? err_set(e, out->why, "54000", "the answer does not fit") : 0;
}

static void write_instance(struct json_write *j, const struct instance_row *i)
{
    char when[40];
    json_object_begin(j);
    json_kstr(j, "id", i->name);
    json_kstr(j, "type", source_kind_name((enum source_kind)i->kind));
    json_kstr(j, "host", i->host);
    json_ki64(j, "port", i->port);
    json_kstr(j, "tls", i->tls);
    json_kstr(j, "createdAt", clock_iso_ms(i->created_ms, when, sizeof when));
    json_object_end(j);
}

/* ---- checking ---- */

struct look {
    const char *id;
    enum source_kind kind;
    bool any, found, same_kind;
};

static void look_one(void *arg, const struct instance_row *i)
{
    struct look *l = arg;
    l->any = true;
    if (strcmp(i->name, l->id) != 0)
        return;
    l->found = true;
    l->same_kind = i->kind == (uint8_t)l->kind;
}

int instance_check(struct registry *r, const char *id, enum source_kind kind, struct err *e)
{
    struct look l = {.id = id, .kind = kind};
    int rc = registry_each_instance(r, look_one, &l, e);
    if (rc || !l.any)
        return rc;
    if (!l.found)
        return err_set(e, ERR_INVALID, "22023", "instanceId \"%.100s\" is not registered", id);
    if (!l.same_kind)
        return err_set(e, ERR_INVALID, "22023", "instanceId \"%.100s\" is not a %s server", id,
                       source_kind_name(kind));
    return 0;
}

/* ---- administration ---- */

struct change {
    struct registry_write w;
    struct instance_row row;
};

static int apply_put(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_put_instance(r, &((struct change *)(void *)w)->row, e);
}

static int apply_delete(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_delete_instance(r, ((struct change *)(void *)w)->row.name, e);
}

static int check_host(const char *host, struct err *e)
{
    size_t n = strlen(host);
    bool ok = n > 0 && n <= HOST_MAX;
    for (size_t i = 0; i < n && ok; i++)
        ok = (host[i] >= '0' && host[i] <= '9') || (host[i] >= 'a' && host[i] <= 'z') ||
             (host[i] >= 'A' && host[i] <= 'Z') || strchr(".-_:", host[i]);
    return ok ? 0
              : err_set(e, ERR_INVALID, "22023", "the host is a name or an address, not \"%.100s\"", host);
}

int instance_add(struct registry *r, const char *id, const char *type, const char *host, const char *port,
                 const char *tls, struct buf *out, struct err *e)
{
    static const uint16_t usual[] = {
        [SOURCE_CATALOG] = 0, [SOURCE_MYSQL] = 3306, [SOURCE_POSTGRESQL] = 5432, [SOURCE_TRINO] = 8080};
    enum source_kind kind;
    int64_t number = 0;
    if (!source_kind_parse(type, &kind) || kind == SOURCE_CATALOG)
        return err_set(e, ERR_INVALID, "22023", "the type is mysql, postgresql or trino, not \"%.100s\"",
                       type);
    if (!tls)
        tls = "prefer";
    if (strcmp(tls, "off") != 0 && strcmp(tls, "prefer") != 0 && strcmp(tls, "require") != 0 &&
        strcmp(tls, "verify") != 0)
        return err_set(e, ERR_INVALID, "22023", "--tls is off, prefer, require or verify, not \"%.100s\"",
                       tls);
    if (port && (!config_number(CONFIG_INT, port, &number) || number < 1 || number > 65535))
        return err_set(e, ERR_INVALID, "22023", "the port is 1 to 65535, not \"%.100s\"", port);
    int rc = name_check("instance", id, e);
    if (!rc)
        rc = check_host(host, e);
    if (rc)
        return rc;
    struct change c = {.w = {.apply = apply_put},
                       .row = {.name = id,
                               .host = host,
                               .tls = tls,
                               .kind = (uint8_t)kind,
                               .port = port ? (uint16_t)number : usual[kind],
                               .created_ms = sys_wall_ms()}};
    rc = registry_do(r, &c.w, e);
    if (rc)
        return rc;
    audit_event("instance_added", "instance", id, "type", type, "by", "admin", NULL);
    log_event(LOG_INFO, "core", "instance added", "instance", id, "type", type, NULL);
    struct json_write j = JSON_WRITE_INIT(out);
    write_instance(&j, &c.row);
    return written(out, e);
}

static void list_one(void *arg, const struct instance_row *i)
{
    write_instance(arg, i);
}

int instance_list(struct registry *r, struct buf *out, struct err *e)
{
    struct json_write j = JSON_WRITE_INIT(out);
    json_array_begin(&j);
    int rc = registry_each_instance(r, list_one, &j, e);
    json_array_end(&j);
    return rc ? rc : written(out, e);
}

int instance_remove(struct registry *r, const char *id, struct buf *out, struct err *e)
{
    struct change c = {.w = {.apply = apply_delete}, .row = {.name = id}};
    int rc = registry_do(r, &c.w, e);
    if (rc)
        return rc;
    audit_event("instance_removed", "instance", id, "by", "admin", NULL);
    log_event(LOG_INFO, "core", "instance removed", "instance", id, NULL);
    struct json_write j = JSON_WRITE_INIT(out);
    json_object_begin(&j);
    json_kstr(&j, "id", id);
    json_kbool(&j, "removed", true);
    json_object_end(&j);
    return written(out, e);
}
