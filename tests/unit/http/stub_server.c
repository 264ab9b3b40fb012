/* By hand: serves the stub on a port until a line or the end of input comes. stub-server PORT [BATCHES ROWS
 * WIDTH] */
#include <stdio.h>
#include <stdlib.h>

#include "base/config.h"
#include "http/server.h"
#include "stub.h"

int main(int argc, char **argv)
{
    struct server *s;
    struct err e;
    char at[64], address[64];
    stub_begin();
    if (config_load(NULL, false, &e))
        return fprintf(stderr, "%s\n", e.text), 1;
    snprintf(at, sizeof at, "127.0.0.1:%s", argc > 1 ? argv[1] : "0");
    if (argc > 4)
        stub_set_rows(stub_segment(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10),
                                   strtoull(argv[4], NULL, 10)));
    struct server_options o = {.listen = at};
    if (server_start(&o, &s, address, sizeof address, &e))
        return fprintf(stderr, "%s\n", e.text), 1;
    fprintf(stderr, "listening on %s\n", address);
    for (int c; (c = getchar()) != EOF && c != 'q';)
        if (c == 'w')
            stub_query_signal(stub_shared, QF_ENDED);
        else if (c == 'r')
            stub_query_reset(stub_shared);
    server_stop(s);
    stub_end();
    return 0;
}
