/* Methods and paths against a table with literals and parameters that compete: no crash, and what is found
 * fits its pattern. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/router.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(x) ((x) ? (void)0 : abort())

static const struct route routes[] = {{"GET", "/a/{x}/b", "1", NULL, 0},
                                      {"POST", "/a/{x}/b", "2", NULL, 0},
                                      {"GET", "/a/a/b/{y}", "3", NULL, 0},
                                      {"GET", "/a/{x}/b/{y}/{z}/{w}", "4", NULL, 0},
                                      {"DELETE", "/a/a/{y}/c", "5", NULL, 0},
                                      {"GET", "/b", "6", NULL, 0},
                                      {"GET", "/{x}", "7", NULL, 0},
                                      {"HEAD", "/{x}/{y}", "8", NULL, 0},
                                      {NULL, NULL, NULL, NULL, 0}};
static const struct dialect dialect = {.name = "d", .routes = routes};
static const struct dialect *const table[] = {&dialect, NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct router *r;
    static const char *const methods[] = {"GET", "POST", "DELETE", "HEAD", "PUT"};
    if (!r && router_new(table, &r, NULL))
        abort();
    if (size < 1)
        return 0;
    char *path = malloc(size);
    MUST(path);
    memcpy(path, data + 1, size - 1);
    path[size - 1] = 0;
    struct route_match m;
    switch (router_match(r, methods[data[0] % 5], path, &m)) {
    case ROUTE_FOUND: {
        const char *p = path, *q = m.route->pattern;
        uint32_t n = 0;
        while (*q) {
            MUST(*p == '/' && *q == '/');
            size_t pn = strcspn(p + 1, "/"), qn = strcspn(q + 1, "/");
            if (q[1] == '{')
                MUST(pn > 0 && m.params[n].p == p + 1 && m.params[n].n == pn), n++;
            else
                MUST(pn == qn && memcmp(p + 1, q + 1, pn) == 0);
            p += pn + 1;
            q += qn + 1;
        }
        MUST(!*p && n == m.nparams);
        break;
    }
    case ROUTE_METHOD:
        MUST(m.allow && m.allow[0]);
        break;
    case ROUTE_NONE:
        break;
    }
    free(path);
    return 0;
}
