/*
 * router: see router.h. A tree of path segments; a literal child wins over a parameter child, and the search
 * goes back when the literal leads nowhere. Every node remembers which dialect alone uses it: the deepest
 * such node on the way chooses whose words a 404 or 405 is written in.
 *
 * Paths are compared as sent; only parameter values are decoded later. An empty segment never matches, but a
 * slash at the end is left out for dialects that allow it.
 */
#include "http/router.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX   16
#define METHODS_MAX 8

struct leaf {
    const struct route *route;
    const struct dialect *dialect;
    uint32_t number;
};

struct node {
    const char *text; /* of the segment, not NUL-terminated; NULL for a parameter */
    size_t len;
    const struct dialect *owner; /* NULL with `shared`: several */
    bool shared;
    struct node *literals, *parameter, *next;
    struct leaf leaves[METHODS_MAX];
    uint32_t nleaves;
    char allow[96];
};

struct router {
    struct node root;
    struct leaf *all;
    uint32_t n, cap;
};

static struct node *child(struct node *at, const char *text, size_t len, bool parameter,
                          const struct dialect *d)
{
    struct node *c;
    if (parameter) {
        c = at->parameter;
    } else {
        for (c = at->literals; c; c = c->next)
            if (c->len == len && memcmp(c->text, text, len) == 0)
                break;
    }
    if (!c) {
        c = calloc(1, sizeof *c);
        if (!c)
            return NULL;
        c->text = parameter ? NULL : text;
        c->len = len;
        c->owner = d;
        if (parameter) {
            at->parameter = c;
        } else {
            c->next = at->literals;
            at->literals = c;
        }
    } else if (c->owner != d) {
        c->shared = true;
    }
    return c;
}

static void write_allow(struct node *n)
{
    size_t len = 0;
    bool get = false, head = false;
    for (uint32_t i = 0; i <= n->nleaves; i++) {
        const char *m;
        if (i < n->nleaves) {
            m = n->leaves[i].route->method;
            get |= strcmp(m, "GET") == 0;
            head |= strcmp(m, "HEAD") == 0;
        } else if (get && !head) {
            m = "HEAD";
        } else {
            break;
        }
        size_t add = strlen(m);
        if (len + add + 3 > sizeof n->allow)
            break;
        if (len) {
            memcpy(n->allow + len, ", ", 2);
            len += 2;
        }
        memcpy(n->allow + len, m, add + 1);
        len += add;
    }
}

static int add(struct router *r, const struct dialect *d, const struct route *route, struct err *e)
{
    struct node *at = &r->root;
    uint32_t params = 0, depth = 0;
    const char *p = route->pattern;
    if (*p != '/')
        return err_set(e, ERR_INVALID, NULL, "route %s: the pattern does not start with a slash",
                       route->name);
    while (*p) {
        p++;
        size_t len = strcspn(p, "/");
        bool parameter = len >= 2 && p[0] == '{' && p[len - 1] == '}';
        if (len == 0 || ++depth > DEPTH_MAX || (parameter && ++params > PATH_PARAMS_MAX) ||
            (!parameter && memchr(p, '{', len)))
            return err_set(e, ERR_INVALID, NULL, "route %s: bad pattern", route->name);
        at = child(at, p, len, parameter, d);
        if (!at)
            return err_set(e, ERR_NOMEM, NULL, "out of memory");
        p += len;
    }
    for (uint32_t i = 0; i < at->nleaves; i++)
        if (strcmp(at->leaves[i].route->method, route->method) == 0)
            return err_set(e, ERR_INVALID, NULL, "routes %s and %s have the same method and path",
                           at->leaves[i].route->name, route->name);
    if (at->nleaves == METHODS_MAX)
        return err_set(e, ERR_INVALID, NULL, "route %s: too many methods", route->name);
    if (r->n == r->cap) {
        uint32_t cap = r->cap ? r->cap * 2 : 64;
        struct leaf *all = realloc(r->all, cap * sizeof *all);
        if (!all)
            return err_set(e, ERR_NOMEM, NULL, "out of memory");
        r->all = all;
        r->cap = cap;
    }
    struct leaf leaf = {route, d, r->n};
    r->all[r->n++] = leaf;
    at->leaves[at->nleaves++] = leaf;
    write_allow(at);
    return 0;
}

static void free_nodes(struct node *n)
{
    while (n) {
        struct node *next = n->next;
        free_nodes(n->literals);
        free_nodes(n->parameter);
        free(n);
        n = next;
    }
}

void router_free(struct router *r)
{
    if (!r)
        return;
    free_nodes(r->root.literals);
    free_nodes(r->root.parameter);
    free(r->all);
    free(r);
}

int router_new(const struct dialect *const *table, struct router **ret, struct err *e)
{
    struct router *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_NOMEM, NULL, "out of memory");
    for (; *table; table++)
        for (const struct route *route = (*table)->routes; route->method; route++) {
            int rc = add(r, *table, route, e);
            if (rc) {
                router_free(r);
                return rc;
            }
        }
    *ret = r;
    return 0;
}

uint32_t router_routes(const struct router *r)
{
    return r->n;
}

const struct route *router_route(const struct router *r, uint32_t number, const struct dialect **ret_dialect)
{
    *ret_dialect = r->all[number].dialect;
    return r->all[number].route;
}

static const struct leaf *leaf_of(const struct node *n, const char *method)
{
    const struct leaf *get = NULL;
    for (uint32_t i = 0; i < n->nleaves; i++) {
        const char *m = n->leaves[i].route->method;
        if (strcmp(m, method) == 0)
            return &n->leaves[i];
        if (strcmp(m, "GET") == 0)
            get = &n->leaves[i];
    }
    return strcmp(method, "HEAD") == 0 ? get : NULL;
}

struct search {
    const char *method;
    struct route_match *m;
    uint32_t nparams, best_depth;
    const struct node *no_method; /* a node with routes, none for this method */
};

/* Depth is bounded by the patterns' (DEPTH_MAX): a node without children ends the search. */
static bool find(struct search *s, const struct node *n, const char *p, uint32_t depth)
{
    if (n->owner && !n->shared && depth > s->best_depth) {
        s->best_depth = depth;
        s->m->dialect = n->owner;
    }
    if (!*p || (!p[1] && n->nleaves && n->leaves[0].dialect->trailing_slash)) {
        if (!n->nleaves)
            return false;
        const struct leaf *l = leaf_of(n, s->method);
        if (!l) {
            s->no_method = n;
            return false;
        }
        s->m->route = l->route;
        s->m->dialect = l->dialect;
        s->m->number = l->number;
        s->m->nparams = s->nparams;
        return true;
    }
    p++;
    size_t len = strcspn(p, "/");
    if (len == 0)
        return false;
    for (const struct node *c = n->literals; c; c = c->next)
        if (c->len == len && memcmp(c->text, p, len) == 0) {
            if (find(s, c, p + len, depth + 1))
                return true;
            break;
        }
    if (n->parameter) {
        s->m->params[s->nparams++] = (struct slice){p, len};
        if (find(s, n->parameter, p + len, depth + 1))
            return true;
        s->nparams--;
    }
    return false;
}

enum route_verdict router_match(const struct router *r, const char *method, const char *path,
                                struct route_match *ret)
{
    memset(ret, 0, sizeof *ret);
    struct search s = {method, ret, 0, 0, NULL};
    if (path[0] != '/')
        return ROUTE_NONE;
    if (find(&s, &r->root, path, 0))
        return ROUTE_FOUND;
    if (s.no_method) {
        ret->allow = s.no_method->allow;
        if (s.no_method->nleaves)
            ret->dialect = s.no_method->leaves[0].dialect;
        return ROUTE_METHOD;
    }
    return ROUTE_NONE;
}
