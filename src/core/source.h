/*
 * source: the named databases that a workspace can query, as its users make, list and delete them. The
 * embedded catalog is one of them in every workspace, always there; the other kinds are stored, validated and
 * shown, but no engine connects to them yet (source_explain says so to a query that names one).
 *
 * Who sees what (specs/kakao.md section 8 "Scope"): the catalog and PUBLIC sources everybody of the workspace,
 * a PRIVATE one its creator only, also against the workspace's admins; to all others it does not exist, but
 * its name is taken. Secrets are sealed (XChaCha20-Poly1305) under a key derived from the installation's
 * keyring and bound to workspace and source, so that a copy of the registry alone gives none away.
 *
 * All in memory behind one read-write lock, written through the registry. Calls marked (any) never block,
 * those marked (worker) wait for the disk.
 */
#ifndef QUERN_CORE_SOURCE_H
#define QUERN_CORE_SOURCE_H

#include "base/arena.h"
#include "base/buf.h"
#include "core/identity.h"

#define SOURCE_NAME_MAX     72   /* bytes of a name; specs/kakao.md 3.6 */
#define SOURCE_TEXT_MAX     4096 /* bytes of every other text, and of the secret */
#define SOURCE_CATALOG_NAME "data_catalog"

struct registry;
struct sources;

/* Stored as numbers. */
enum source_kind { SOURCE_CATALOG = 1, SOURCE_MYSQL, SOURCE_POSTGRESQL, SOURCE_TRINO };
enum source_scope { SCOPE_NONE = 1, SCOPE_PRIVATE, SCOPE_PUBLIC };
/* "catalog", "mysql", "postgresql", "trino"; "NONE", "PRIVATE", "PUBLIC". */
const char *source_kind_name(enum source_kind k);
bool source_kind_parse(const char *text, enum source_kind *ret);
const char *source_scope_name(enum source_scope s);

/* One source as it may be shown: no secret. Texts live in the caller's arena; NULL where there is none. */
struct source {
    const char *uid;   /* "D" and 16 letters and digits; unique in the installation, never reused */
    const char *name;  /* unique in the workspace without regard to case; what SQL and JackDB's alias say */
    const char *label; /* free text to show; the name when none was given */
    enum source_kind kind;
    enum source_scope scope;
    const char *description, *creator; /* creator: user name; NULL for the catalog */
    const char *instance, *address, *username, *database;
    int64_t created_ms; /* of the catalog: 0 */
    bool mine;          /* the asking user made it */
};

/* What a new one is made of; texts are copied. Optional: all but name, kind and scope. */
struct source_new {
    const char *name, *label;
    enum source_kind kind;
    enum source_scope scope;
    const char *description;
    const char *instance; /* id of a registered database server (instance.h); its type must be the kind */
    const char *address;  /* where the server is when no instance is named; must hold no secret */
    const char *username, *database;
    const void *secret; /* the password, or whatever else only the engine may know */
    size_t secret_len;
};

int sources_open(struct registry *r, const char *data_dir, struct sources **ret, struct err *e) MUST_USE;
void sources_close(struct sources *s);

/* (any) What `who` may see: the catalog first, then in the order of creation. */
int source_list(struct sources *s, const struct identity *who, struct arena *a, struct source **ret,
                size_t *ret_n, struct err *e) MUST_USE;
/* (any) By name or uid. ERR_NOTFOUND, also for another user's PRIVATE one. */
int source_find(struct sources *s, const struct identity *who, const char *name, struct arena *a,
                struct source *ret, struct err *e) MUST_USE;
/* (worker) Validates and stores; does not connect. ERR_DENIED (reader), ERR_INVALID (names the field; an
 * instance that is not registered), ERR_CONFLICT (name taken, whoever has it). *ret as source_find gives it. */
int source_create(struct sources *s, const struct identity *who, const struct source_new *in, struct arena *a,
                  struct source *ret, struct err *e) MUST_USE;
/* (worker) By name or uid. ERR_DENIED (reader; a PUBLIC one of somebody else, unless `who` is admin),
 * ERR_INVALID (the catalog), ERR_NOTFOUND. Queries that run keep what they have. */
int source_delete(struct sources *s, const struct identity *who, const char *name, struct err *e) MUST_USE;

/* (any) A query failed because a name is unknown: when it names, as an identifier, a source that its user may
 * see, *e becomes the reason (0A000). default_source may be NULL. */
void source_explain(struct sources *s, int64_t workspace, int64_t user, const char *default_source,
                    const char *sql, size_t sql_len, struct err *e);

/* ---- administration (blocking; appends JSON). workspace NULL: of all ---- */
/* The rows are read again: others changed them. */
int source_admin_reload(struct sources *s, struct err *e) MUST_USE;
int source_admin_list(struct sources *s, const char *workspace, struct buf *out, struct err *e) MUST_USE;
/* ERR_NOTFOUND, ERR_INVALID (the catalog). */
int source_admin_remove(struct sources *s, const char *workspace, const char *name, struct buf *out,
                        struct err *e) MUST_USE;
/* The workspace's number and the kind of a source, after its secret was unsealed and found whole.
 * ERR_NOTFOUND, ERR_CORRUPT. */
int source_admin_test(struct sources *s, const char *workspace, const char *name, int64_t *ret_workspace,
                      enum source_kind *ret_kind, struct err *e) MUST_USE;

#endif
