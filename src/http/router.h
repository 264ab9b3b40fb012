/*
 * router: method and path to a route, from the dialects' tables. Made once at start, then read only; any
 * thread.
 */
#ifndef QUERN_HTTP_ROUTER_H
#define QUERN_HTTP_ROUTER_H

#include "dialects/dialect.h"

struct router;

enum route_verdict { ROUTE_FOUND, ROUTE_METHOD /* the path exists, not with this method */, ROUTE_NONE };

struct route_match {
    const struct dialect *dialect; /* whose words an error uses; NULL: nobody's path */
    const struct route *route;     /* FOUND */
    uint32_t number;               /* FOUND: 0 .. router_routes() - 1 */
    const char *allow;             /* METHOD: value of Allow */
    uint32_t nparams;
    struct slice params[PATH_PARAMS_MAX]; /* FOUND: as sent, not decoded */
};

/* ERR_INVALID for two routes with the same method and path, a bad pattern, too many parameters. */
int router_new(const struct dialect *const *table, struct router **ret, struct err *e) MUST_USE;
void router_free(struct router *r);
uint32_t router_routes(const struct router *r);
const struct route *router_route(const struct router *r, uint32_t number, const struct dialect **ret_dialect);
/* `path` starts with '/', without query string. HEAD finds the GET route where there is no HEAD route. */
enum route_verdict router_match(const struct router *r, const char *method, const char *path,
                                struct route_match *ret);

#endif
