/* links: see links.h. The names of data sets are letters, digits and "_" only (core/dataset.h), and unique
 * without regard to case. */
#include "engines/links.h"

#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "d"

void links_name(struct buf *b, const struct wire_dataset *d)
{
    (void)buf_printf(b, FOLDER "/%s", d->name);
    if (d->folder)
        return;
    size_t n = strlen(d->path);
    bool packed = n > 3 && strcasecmp(d->path + n - 3, ".gz") == 0; /* the library goes by the suffix */
    (void)buf_printf(b, ".%s%s", d->format, packed ? ".gz" : "");
}

int links_make(const struct wire_setup *s, struct err *e)
{
    if (s->ndatasets && mkdir(FOLDER, 0700) < 0)
        return err_set(e, ERR_INTERNAL, "XX000", "the folder of the data sets' links cannot be made");
    for (uint32_t i = 0; i < s->ndatasets; i++) {
        CLEANUP_BUF struct buf b = BUF_INIT(1024);
        links_name(&b, &s->datasets[i]);
        const char *name = buf_str(&b);
        if (!name || symlink(s->datasets[i].path, name) < 0)
            return err_set(e, ERR_INTERNAL, "XX000", "the link of data set \"%.128s\" cannot be made",
                           s->datasets[i].name);
    }
    return 0;
}
