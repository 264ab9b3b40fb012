/*
 * unique_names: the names of a result's columns where readers find columns by name (keys of JSON objects, columns of a Parquet
 * file). Pure; any thread.
 */
#ifndef QUERN_ENCODERS_UNIQUE_NAMES_H
#define QUERN_ENCODERS_UNIQUE_NAMES_H

#include "base/arena.h"
#include "encoders/schema.h"

struct name_rule {
    bool any_case; /* "A" and "a" are the same */
    bool
        underscores; /* space , ; { } ( ) = tab, line end, and \n \t as two characters become "_" (Kylin's Parquet, whose
                        * readers refuse them) */
    const char *empty; /* what a column without a name is called */
};

/* One name for each column: the first of equal ones keeps its own, the others get _1, _2, ... as far as those are free; a
 * made one never takes a real one's place. Memory of the arena; NULL: out of memory. */
const char **unique_names(const struct schema *s, const struct name_rule *rule, struct arena *a);

#endif
