/*
 * links: the names under which an engine process sees the files of its data sets: symbolic links in its
 * private folder ("d/NAME.parquet", "d/NAME" for a folder). So neither the text of a data set's view, nor a
 * plan, nor a message of the library names a place of the machine. Main thread, before the sandbox closes.
 */
#ifndef QUERN_ENGINES_LINKS_H
#define QUERN_ENGINES_LINKS_H

#include "base/buf.h"
#include "engines/wire.h"

/* Makes them in the current folder, which is the private one and empty. */
int links_make(const struct wire_setup *s, struct err *e) MUST_USE;
/* Appends a data set's link. */
void links_name(struct buf *b, const struct wire_dataset *d);

#endif
