/*
 * slots: see slots.h. A mapping that stays saves its page tables: making and unmaking them for each batch costs a third
 * of what writing the batch does. What a job needs of it is made present at once, which costs less than a fault a page.
 */
#include "engines/slots.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/sys.h"

static void forget(struct slot_view *s)
{
    if (s->p)
        (void)munmap(s->p, s->len);
    *s = (struct slot_view){0};
}

void slots_begin(struct slot_views *v)
{
    for (unsigned i = 0; i < WIRE_SLOTS; i++)
        v->all[i].ready = 0;
}

/* Kernels before 5.14 do not know the advice: there each page comes with its first write. */
static bool make_present(struct slot_view *s, uint64_t need)
{
    if (need <= s->ready)
        return true;
    if (madvise(s->p, need, MADV_POPULATE_WRITE) < 0 && errno != EINVAL)
        return false;
    s->ready = need;
    return true;
}

int slots_map(struct slot_views *v, uint32_t slot, int fd, uint64_t need, uint8_t **ret)
{
    struct stat st;
    if (need > SIZE_MAX / 2 || fstat(fd, &st) < 0)
        return ERR_LIMIT;
    if ((uint64_t)st.st_size < need && sys_ftruncate(fd, (int64_t)need) < 0)
        return ERR_LIMIT;
    struct slot_view *s =
        &v->all[slot % WIRE_SLOTS]; /* which of them does not matter: it is known by what it is */
    if (!s->p || s->dev != st.st_dev || s->ino != st.st_ino || s->len < need) {
        size_t len = (uint64_t)st.st_size < need ? (size_t)need : (size_t)st.st_size;
        forget(s);
        void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            return ERR_LIMIT;
        *s = (struct slot_view){st.st_dev, st.st_ino, p, len, 0};
    }
    if (!make_present(s, need))
        return ERR_LIMIT;
    *ret = s->p;
    return 0;
}
