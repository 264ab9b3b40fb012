/*
 * unique_names: see unique_names.h. An open hash table of the names that are there; of each, which suffix comes next, so that
 * thousands of equal names cost no more than others.
 */
#include "encoders/unique_names.h"

#include <string.h>
#include <strings.h>

struct slot {
    const char *name;
    uint32_t next;
};

struct table {
    struct slot *slots;
    size_t mask;
    bool any_case;
};

static unsigned char folded(const struct table *t, char c)
{
    return (unsigned char)(t->any_case && c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* The name's place, or the free one where it belongs. */
static struct slot *find(const struct table *t, const char *name)
{
    uint64_t h = 1469598103934665603u;
    for (const char *c = name; *c; c++)
        h = (h ^ folded(t, *c)) * 1099511628211u;
    size_t i = (size_t)(h >> 20) & t->mask;
    for (; t->slots[i].name; i = (i + 1) & t->mask)
        if (t->any_case ? strcasecmp(t->slots[i].name, name) == 0 : strcmp(t->slots[i].name, name) == 0)
            break;
    return &t->slots[i];
}

/* A reader would refuse it; two characters that stand for one count as one. */
static const char *with_underscores(const char *s, struct arena *a)
{
    char *copy = arena_strdup(a, s), *to = copy;
    for (; copy && *s; s++) {
        bool escape = *s == '\\' && (s[1] == 'n' || s[1] == 't');
        s += escape;
        *to++ = escape || strchr(" ,;{}()=\t\r\n", *s) ? '_' : *s;
    }
    if (copy)
        *to = '\0';
    return copy;
}

static const char *own_name(const struct column *c, const struct name_rule *rule, struct arena *a)
{
    if (!c->name || !c->name[0])
        return rule->empty;
    return rule->underscores ? with_underscores(c->name, a) : c->name;
}

static const char *made_name(const struct table *t, const char *name, struct arena *a)
{
    struct slot *first = find(t, name), *made;
    const char *text;
    do {
        text = arena_printf(a, "%s_%u", name, first->next++);
        if (!text)
            return NULL;
        made = find(t, text);
    } while (made->name);
    *made = (struct slot){text, 1};
    return text;
}

const char **unique_names(const struct schema *s, const struct name_rule *rule, struct arena *a)
{
    size_t n = s->ncolumns, size = 16;
    while (size < 4 * n)
        size *= 2;
    const char **names = arena_alloc(a, n * sizeof *names);
    bool *repeated = arena_alloc(a, n * sizeof *repeated);
    struct table t = {arena_alloc(a, size * sizeof *t.slots), size - 1, rule->any_case};
    if (!names || !repeated || !t.slots)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        names[i] = own_name(&s->columns[i], rule, a);
        if (!names[i])
            return NULL;
        struct slot *slot = find(&t, names[i]);
        repeated[i] = slot->name != NULL;
        if (!repeated[i])
            *slot = (struct slot){names[i], 1};
    }
    for (size_t i = 0; i < n; i++)
        if (repeated[i] && !(names[i] = made_name(&t, names[i], a)))
            return NULL;
    return names;
}
