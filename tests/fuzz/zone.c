/* zone: any bytes as a TZif file; what is accepted has an offset, and a span around it, at every instant. */
#include <stdint.h>
#include <stdlib.h>

#include "base/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t at[] = {INT64_MIN,   -99999999999, 0, 1718000000, 4000000000,
                                 99999999999, INT64_MAX - 1};
    struct zone *z = NULL;
    if (zone_read("fuzz", data, size, &z))
        return 0;
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        struct zone_span s;
        zone_at(z, at[i], &s);
        if (s.from > at[i] || s.to <= at[i] || s.offset > 93600 || s.offset < -93600)
            abort();
    }
    zone_free_one(z);
    return 0;
}
