/*
 * kylin: Apache Kylin's asynchronous query API in its generations 5 and 2, and the synchronous calls that its
 * drivers need. Routes; see kylin_int.h for the other files and docs/kylin.md for the wire.
 *
 * Every path exists once; the shape of an answer follows the Accept header (kylin__shape). A submit answers
 * once the record is durable. Each result becomes a file in the workspace's default bucket before the query is
 * SUCCESSFUL; errors of the statement itself show later, as FAILED. All routes need the reader's role only:
 * what else a call needs is answered in Kylin's own words by its handler.
 */
#include "dialects/kylin_int.h"

/* ---- the table ---- */

#define API   "/kylin/api"
#define ASYNC API "/async_query"

static const struct route routes[] = {
    {"POST", ASYNC, "kylin.submit", kylin__submit, ROLE_READER},
    {"DELETE", ASYNC, "kylin.delete_many", kylin__delete_many, ROLE_READER},
    {"DELETE", ASYNC "/{id}", "kylin.delete", kylin__delete_one, ROLE_READER},
    {"DELETE", ASYNC "/stop/{id}", "kylin.stop", kylin__stop, ROLE_READER},
    {"GET", ASYNC "/{id}/status", "kylin.status", kylin__status, ROLE_READER},
    {"GET", ASYNC "/{id}/metadata", "kylin.metadata", kylin__metadata, ROLE_READER},
    {"GET", ASYNC "/{id}/file_status", "kylin.file_status", kylin__file_status, ROLE_READER},
    {"GET", ASYNC "/{id}/filestatus", "kylin.file_status_v2", kylin__file_status_v2, ROLE_READER},
    {"GET", ASYNC "/{id}/result_download", "kylin.download", kylin__download, ROLE_READER},
    {"GET", ASYNC "/{id}/result_path", "kylin.path", kylin__path, ROLE_READER},
    {"POST", API "/query", "kylin.query", kylin__query, ROLE_READER},
    {"GET", API "/user/authentication", "kylin.login", kylin__login, ROLE_READER},
    {"POST", API "/user/authentication", "kylin.login_post", kylin__login, ROLE_READER},
    {"GET", API "/projects", "kylin.projects", kylin__projects, ROLE_READER},
    {"GET", API "/tables_and_columns", "kylin.columns", kylin__tables_and_columns, ROLE_READER},
    {"GET", API "/query/tables_and_columns", "kylin.columns_v4", kylin__tables_and_columns, ROLE_READER},
    {"GET", API "/tables", "kylin.tables", kylin__tables, ROLE_READER},
    {"GET", API "/health", "kylin.health", kylin__health, ROLE_READER},
    {NULL, NULL, NULL, NULL, 0},
};

const struct dialect dialect_kylin = {
    .id = DIALECT_KYLIN,
    .name = "kylin",
    .credential = CREDENTIAL_KYLIN,
    .routes = routes,
    .error = kylin__write_error,
    .plan = kylin__plan,
    .check = kylin__check,
    .trailing_slash = true,
};
