/*
 * dataset: what a dataset's URL may be, and what lies there. Looks at names and metadata only, opens no data
 * file. Any thread that may block.
 */
#ifndef QUERN_CORE_DATASET_H
#define QUERN_CORE_DATASET_H

#include "base/buf.h"
#include "base/err.h"

#define DATASET_PATH_MAX 4096

struct dataset_place {
    char path[DATASET_PATH_MAX];
    const char *format; /* "parquet" | "csv" | "json" */
    bool folder;
};

/* file:///ABSOLUTE/PATH (%XX allowed). It must exist, be readable, hold no "." or ".." step, and lie outside
 * `data_dir` (a folder may not contain it either: an engine could read the registry). A file's format follows
 * from its suffix, a folder's from the one kind of data files below it. ERR_INVALID, ERR_NOTFOUND,
 * ERR_DENIED. data_dir: resolved. */
int dataset_look(const char *url, const char *data_dir, struct dataset_place *ret, struct err *e) MUST_USE;
/* [A-Za-z_][A-Za-z0-9_]{0,127} */
int dataset_name_check(const char *name, struct err *e) MUST_USE;
/* Appends the URL of a path. */
int dataset_url(struct buf *out, const char *path);

#endif
