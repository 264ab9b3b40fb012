/*
 * encoder: the table of formats. A new format is one file and one line here (and its name in encoder_names
 * when callers may ask for it). Constant data; any thread.
 */
#include <string.h>

#include "encoders/encoder_int.h"

static const struct encoder *const table[] = {
    &encoder_csv,  &encoder_json,    &encoder_ndjson, &encoder_arrow, /* formats of the neutral download */
    &encoder_rows, &encoder_strings,                                  /* pieces of dialect pages */
};

const struct encoder *encoder_find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i]->name, name))
            return table[i];
    return NULL;
}

const char *encoder_names(void)
{
    return "csv|json|ndjson|arrow";
}

int encode__full(int rc, struct err *e)
{
    if (rc == ERR_NOMEM)
        return err_set(e, rc, "53200", "out of memory");
    return err_set(e, rc, "54000", "a row does not fit into the output buffer");
}
