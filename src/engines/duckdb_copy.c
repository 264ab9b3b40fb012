/*
 * duckdb_copy: the library's copy of a chunk that waits to be fetched, without a call and a bit a value.
 *
 * A streaming result copies each chunk for whoever fetches it (VectorOperations::Copy, a column at a time). Columns of
 * Parquet files come as dictionaries, whose copy takes the bits of NULLs one by one and calls a function for each text: a
 * sixth of all CPU of a large result. That function is a symbol which the library calls through its own table of symbols,
 * and a program's symbol of that name comes before the library's. The one below does the common cases itself: a dictionary
 * of numbers or of texts that lie in the value (12 bytes), none of the rows NULL, and plain columns without NULLs, to the
 * start of a plain column. Everything else is the library's, which then writes all of the target again.
 *
 * What is used of the library: the places of a vector's kind, type, data, mask and dictionary (below), and the order of the
 * arguments, which the mangled name holds.
 *
 * Invariants: the library is pinned by its hash, and duck_copy_works() compares what both make of the same columns before
 * this is used at all. Reads and writes what the library's own would, nothing more. Any thread of the library.
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "engines/duckdb_int.h"

#define COPY "_ZN6duckdb16VectorOperations4CopyERKNS_6VectorERS1_RKNS_15SelectionVectorEmmmm"

enum library_kind { KIND_FLAT = 0, KIND_DICTIONARY = 3 };

/* In front of its other members; NULL: row i is entry i. */
struct library_selection {
    const uint32_t *p;
};

/* As far as it is used. */
struct library_vector {
    uint8_t kind; /* enum library_kind */
    uint8_t gap[8];
    uint8_t physical;
    void *type_info[2];
    uint8_t *data;
    const uint64_t *mask; /* NULL: none is NULL */
    void *mask_owner[2];
    uint64_t mask_capacity;
    uint8_t *buffer, *buffer_owner;
    uint8_t *auxiliary;
};
_Static_assert(offsetof(struct library_vector, physical) == 9 &&
                   offsetof(struct library_vector, data) == 32 &&
                   offsetof(struct library_vector, mask) == 40 &&
                   offsetof(struct library_vector, buffer) == 72 &&
                   offsetof(struct library_vector, auxiliary) == 88,
               "as the library has them");

#define IN_BUFFER                                                                                            \
    48 /* where a dictionary's selection lies in its buffer, and its values in its auxiliary one */

typedef void copy_fn(const struct library_vector *from, struct library_vector *to,
                     const struct library_selection *rows, uint64_t end, uint64_t first, uint64_t at,
                     uint64_t count);

static _Atomic(copy_fn *) theirs;
static atomic_bool trusted;

#define TEXT_INLINE 12u

/* Physical types of the library. */
static unsigned width_of(uint8_t physical)
{
    switch (physical) {
    case 6:  /* UINT32 */
    case 7:  /* INT32 */
    case 11: /* FLOAT */
        return 4;
    case 8:  /* UINT64 */
    case 9:  /* INT64 */
    case 12: /* DOUBLE */
        return 8;
    case 204: /* INT128 */
        return 16;
    default:
        return 0;
    }
}

#define TEXT 200

struct value16 {
    uint64_t word[2]; /* of a text: its length is the first half of the first */
};

/* The values of a dictionary for all rows; false when a row is NULL. */
#define GATHER(NAME, TYPE)                                                                                   \
    static bool NAME(uint8_t *out, const uint8_t *data, const uint64_t *mask, const uint32_t *sel,           \
                     uint64_t count)                                                                         \
    {                                                                                                        \
        const TYPE *v = (const TYPE *)(const void *)data;                                                    \
        TYPE *o = (TYPE *)(void *)out;                                                                       \
        uint64_t all = 1;                                                                                    \
        if (!mask) {                                                                                         \
            for (uint64_t i = 0; i < count; i++)                                                             \
                o[i] = v[sel[i]];                                                                            \
            return true;                                                                                     \
        }                                                                                                    \
        for (uint64_t i = 0; i < count; i++) {                                                               \
            uint32_t k = sel[i];                                                                             \
            all &= mask[k >> 6] >> (k & 63);                                                                 \
            o[i] = v[k];                                                                                     \
        }                                                                                                    \
        return all & 1;                                                                                      \
    }
GATHER(gather4, uint32_t)
GATHER(gather8, uint64_t)
GATHER(gather16, struct value16)

/* The same for texts; false also when one does not lie in its value. A column of long texts is known after a few. */
static bool gather_text(uint8_t *out, const uint8_t *data, const uint64_t *mask, const uint32_t *sel,
                        uint64_t count)
{
    const struct value16 *v = (const struct value16 *)(const void *)data;
    struct value16 *o = (struct value16 *)(void *)out;
    for (uint64_t i = 0; i < count;) {
        uint64_t end = count - i > 64 ? i + 64 : count, all = 1;
        uint32_t longest = 0;
        for (; i < end; i++) {
            uint32_t k = sel[i];
            struct value16 x = v[k];
            all &= mask ? mask[k >> 6] >> (k & 63) : 1;
            longest = (uint32_t)x.word[0] > longest ? (uint32_t)x.word[0] : longest;
            o[i] = x;
        }
        if (!(all & 1) || longest > TEXT_INLINE)
            return false;
    }
    return true;
}

static bool copy_text(uint8_t *out, const uint8_t *data, uint64_t first, uint64_t count)
{
    const struct value16 *v = (const struct value16 *)(const void *)data + first;
    struct value16 *o = (struct value16 *)(void *)out;
    for (uint64_t i = 0; i < count;) {
        uint64_t end = count - i > 64 ? i + 64 : count;
        uint32_t longest = 0;
        for (; i < end; i++) {
            longest = (uint32_t)v[i].word[0] > longest ? (uint32_t)v[i].word[0] : longest;
            o[i] = v[i];
        }
        if (longest > TEXT_INLINE)
            return false;
    }
    return true;
}

/* True: the target is what the library would make of it. False: it may have been written to, and nothing else changed. */
static bool copied(const struct library_vector *from, struct library_vector *to,
                   const struct library_selection *rows, uint64_t first, uint64_t at, uint64_t count)
{
    if (rows->p || at || to->kind != KIND_FLAT || to->mask || to->physical != from->physical || !count)
        return false;
    unsigned width = width_of(from->physical);
    if (from->kind == KIND_FLAT) {
        if (from->mask || !(width || from->physical == TEXT))
            return false;
        if (!width)
            return copy_text(to->data, from->data, first, count);
        memcpy(to->data, from->data + first * width, count * width);
        return true;
    }
    if (from->kind != KIND_DICTIONARY || !from->buffer || !from->auxiliary)
        return false;
    const struct library_vector *values = (const void *)(from->auxiliary + IN_BUFFER);
    const struct library_selection *sel = (const void *)(from->buffer + IN_BUFFER);
    if (values->kind != KIND_FLAT || values->physical != from->physical || !sel->p)
        return false;
    if (from->physical == TEXT)
        return gather_text(to->data, values->data, values->mask, sel->p + first, count);
    switch (width) {
    case 4:
        return gather4(to->data, values->data, values->mask, sel->p + first, count);
    case 8:
        return gather8(to->data, values->data, values->mask, sel->p + first, count);
    case 16:
        return gather16(to->data, values->data, values->mask, sel->p + first, count);
    default:
        return false;
    }
}

/* ---- the library's door ---- */

copy_fn duck__copy __asm__(COPY) __attribute__((visibility("default"), used));

void duck__copy(const struct library_vector *from, struct library_vector *to,
                const struct library_selection *rows, uint64_t end, uint64_t first, uint64_t at,
                uint64_t count)
{
    if (atomic_load_explicit(&trusted, memory_order_relaxed) && count <= end - first &&
        copied(from, to, rows, first, at, count))
        return;
    copy_fn *f = atomic_load_explicit(&theirs, memory_order_relaxed);
    if (!f) {
        f = (copy_fn *)(uintptr_t)dlsym(RTLD_NEXT, COPY);
        if (!f)
            abort(); /* never: the call that came here was to it */
        atomic_store_explicit(&theirs, f, memory_order_relaxed);
    }
    f(from, to, rows, end, first, at, count);
}

/* ---- whether its vectors are as this file has them ---- */

#define PROBE 8u

/* Three values, and rows of them; the last two rows are NULL, so that both answers are seen. */
static const uint32_t probe_rows[PROBE] = {2, 0, 0, 2, 0, 2, 1, 1};

static void probe_fill(duckdb_vector v, bool text)
{
    duckdb_vector_ensure_validity_writable(v);
    if (text) {
        duckdb_vector_assign_string_element_len(v, 0, "", 0);
        duckdb_vector_assign_string_element_len(v, 2, "twelve chars", TEXT_INLINE);
    } else {
        ((int64_t *)duckdb_vector_get_data(v))[0] = 1;
        ((int64_t *)duckdb_vector_get_data(v))[2] = INT64_MIN;
    }
    duckdb_validity_set_row_invalid(duckdb_vector_get_validity(v), 1);
}

static bool probe_layout(duckdb_vector vector, duckdb_selection_vector sel, bool text)
{
    const struct library_vector *v = (const void *)vector;
    const uint8_t *data = duckdb_vector_get_data(vector);
    const uint64_t *mask = duckdb_vector_get_validity(vector);
    if (v->kind != KIND_FLAT || v->physical != (text ? TEXT : 9) || v->data != data || v->mask != mask)
        return false;
    memcpy(duckdb_selection_vector_get_data_ptr(sel), probe_rows, sizeof probe_rows);
    duckdb_slice_vector(vector, sel, PROBE);
    if (v->kind != KIND_DICTIONARY || !v->buffer || !v->auxiliary)
        return false;
    const struct library_vector *values = (const void *)(v->auxiliary + IN_BUFFER);
    const struct library_selection *rows = (const void *)(v->buffer + IN_BUFFER);
    return values->kind == KIND_FLAT && values->physical == v->physical && values->data == data &&
           values->mask == mask && rows->p && memcmp(rows->p, probe_rows, sizeof probe_rows) == 0;
}

/* Rows [1, end) copied by the library and here are the same; here they are copied just when none is NULL. */
static bool probe_copies(duckdb_vector vector, duckdb_logical_type t, uint64_t end, bool some_null)
{
    static const void *const as_they_come[3]; /* the library's selection of all rows */
    const struct library_selection *rows = (const void *)as_they_come;
    const struct library_vector *from = (const void *)vector;
    duckdb_vector a = duckdb_create_vector(t, PROBE), b = duckdb_create_vector(t, PROBE);
    struct library_vector *theirs_made = (void *)a, *ours_made = (void *)b;
    size_t size = (end - 1) * (from->physical == TEXT ? 16 : 8);
    duck__copy(from, theirs_made, rows, end, 1, 0, end - 1); /* not trusted yet: the library's */
    bool done = copied(from, ours_made, rows, 1, 0, end - 1);
    bool good = done != some_null && (theirs_made->mask != NULL) == some_null &&
                (some_null || memcmp(theirs_made->data, ours_made->data, size) == 0);
    duckdb_destroy_vector(&a);
    duckdb_destroy_vector(&b);
    return good;
}

static bool probe(duckdb_type type)
{
    bool text = type == DUCKDB_TYPE_VARCHAR;
    duckdb_logical_type t = duckdb_create_logical_type(type);
    duckdb_vector v = duckdb_create_vector(t, PROBE);
    duckdb_selection_vector sel = duckdb_create_selection_vector(PROBE);
    probe_fill(v, text);
    bool good =
        probe_layout(v, sel, text) && probe_copies(v, t, PROBE - 2, false) && probe_copies(v, t, PROBE, true);
    duckdb_destroy_selection_vector(sel);
    duckdb_destroy_vector(&v);
    duckdb_destroy_logical_type(&t);
    return good;
}

bool duck_copy_works(void)
{
    if (!atomic_load(&trusted))
        atomic_store(&trusted, probe(DUCKDB_TYPE_BIGINT) && probe(DUCKDB_TYPE_VARCHAR));
    return atomic_load(&trusted);
}
