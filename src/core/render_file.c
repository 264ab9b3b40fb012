/*
 * render_file: one file made by a render process.
 */
#include "core/render_int.h"

int render__file(struct rendering *r, struct err *e)
{
    (void)r;
    return err_set(e, ERR_INVALID, "0A000", "this format is not enabled yet");
}
