/*
 * config: see config.h. The only file that includes ini.h.
 *
 * config_defaults, config_load and config_set run on the main thread; readers need no lock. A load works on a
 * copy and touches the live struct only when everything in it was right. Texts are kept for ever, each
 * different one once: a reader may still hold the pointer that a reload replaced, and reloads are rare. A key
 * that config_set changed (a command-line option) keeps its value over reloads; a full load or
 * config_defaults forgets that.
 */
#include "base/config.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"

#define FILE_MAX  (1024 * 1024)
#define WORDS_MAX 8
#define HOST_BYTES                                                                                           \
    "abcdefghijklmnopqrstuvwxyz"                                                                             \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"

const struct config_key config_keys[] = {
#define CONFIG_NUM(section, name, type, def, least, most, unit, reload, text)                                \
    {#section, #name, type, def, least, most, NULL, NULL, unit, reload, text},
#define CONFIG_WORD(section, name, words, def, reload, text)                                                 \
    {#section, #name, CONFIG_ENUM, 0, 0, 0, words, def, "", reload, text},
#define CONFIG_STR(section, name, def, reload, text)                                                         \
    {#section, #name, CONFIG_TEXT, 0, 0, 0, NULL, def, "", reload, text},
#include "base/config_table.def"
#undef CONFIG_NUM
#undef CONFIG_WORD
#undef CONFIG_STR
};

static const size_t offsets[] = {
#define CONFIG_NUM(section, name, type, def, least, most, unit, reload, text)                                \
    offsetof(struct config, section##_##name),
#define CONFIG_WORD(section, name, words, def, reload, text) offsetof(struct config, section##_##name),
#define CONFIG_STR(section, name, def, reload, text)         offsetof(struct config, section##_##name),
#include "base/config_table.def"
#undef CONFIG_NUM
#undef CONFIG_WORD
#undef CONFIG_STR
};

#define NKEYS ((int)(sizeof config_keys / sizeof *config_keys))
const int config_nkeys = NKEYS;

struct config config;
static bool pinned[sizeof config_keys / sizeof *config_keys]; /* set by config_set */
static char *word_texts[sizeof config_keys / sizeof *config_keys][WORDS_MAX];

static int64_t *number_at(struct config *c, int k)
{
    return (int64_t *)(void *)((char *)c + offsets[k]);
}
static const char **text_at(struct config *c, int k)
{
    return (const char **)(void *)((char *)c + offsets[k]);
}

/* Index of the word in "a|b|c", -1 when it is none of them. */
static int word_index(const char *words, const char *word, size_t n)
{
    for (int i = 0;; i++) {
        size_t len = strcspn(words, "|");
        if (len == n && memcmp(words, word, n) == 0)
            return i;
        if (words[len] == 0)
            return -1;
        words += len + 1;
    }
}

static void fill_defaults(struct config *c)
{
    for (int k = 0; k < NKEYS; k++) {
        const struct config_key *key = &config_keys[k];
        if (key->type == CONFIG_TEXT) {
            *text_at(c, k) = key->def_text;
        } else if (key->type == CONFIG_ENUM) {
            int i = word_index(key->words, key->def_text, strlen(key->def_text));
            ASSERT(i >= 0);
            *number_at(c, k) = i;
        } else {
            ASSERT(key->def >= key->least && key->def <= key->most);
            *number_at(c, k) = key->def;
        }
    }
}

void config_defaults(void)
{
    fill_defaults(&config);
    memset(pinned, 0, sizeof pinned);
}

/* Before main: the header promises defaults until config_load. */
__attribute__((constructor)) static void start(void)
{
    config_defaults();
    for (int k = 0; k < NKEYS; k++) {
        const char *words = config_keys[k].words;
        for (int i = 0; words; i++) {
            size_t len = strcspn(words, "|");
            ASSERT(i < WORDS_MAX);
            word_texts[k][i] = strndup(words, len);
            words = words[len] ? words + len + 1 : NULL;
        }
    }
}

static int key_find(const char *section, size_t section_len, const char *name)
{
    for (int k = 0; k < NKEYS; k++)
        if (strlen(config_keys[k].section) == section_len &&
            memcmp(config_keys[k].section, section, section_len) == 0 &&
            strcmp(config_keys[k].name, name) == 0)
            return k;
    return -1;
}

static int key_find_dotted(const char *dotted)
{
    const char *dot = strchr(dotted, '.');
    return dot ? key_find(dotted, (size_t)(dot - dotted), dot + 1) : -1;
}

const char *config_word(const char *key, int64_t value)
{
    int k = key_find_dotted(key);
    return k >= 0 && value >= 0 && value < WORDS_MAX && word_texts[k][value] ? word_texts[k][value] : "";
}

/* --- values --- */

struct unit {
    const char *suffix;
    int64_t factor;
};
static const struct unit size_units[] = {
    {"TiB", INT64_C(1) << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1},
};
static const struct unit ms_units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000},
                                       {"s", 1000},     {"ms", 1},      {"", 1}};
static const struct unit no_units[] = {{"", 1}};

static const struct unit *units_of(enum config_type type)
{
    return type == CONFIG_SIZE ? size_units : type == CONFIG_MS ? ms_units : no_units;
}

/* "16 MiB" for 16777216: the largest unit that leaves no rest. */
static void print_number(struct buf *out, enum config_type type, int64_t v)
{
    const struct unit *u = units_of(type);
    while (*u->suffix && (v == 0 || v % u->factor != 0))
        u++;
    buf_i64(out, v / u->factor);
    if (*u->suffix)
        buf_printf(out, " %s", u->suffix);
    else if (v == 0 && type == CONFIG_MS)
        buf_str_add(out, " ms");
}

static bool parse_number(enum config_type type, const char *s, int64_t *ret)
{
    bool negative = *s == '-';
    int64_t v = 0;
    s += negative;
    if (*s < '0' || *s > '9')
        return false;
    for (; *s >= '0' && *s <= '9'; s++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *s - '0', &v))
            return false;
    while (*s == ' ')
        s++;
    for (const struct unit *u = units_of(type);; u++) {
        if (strcmp(s, u->suffix) == 0) {
            if (__builtin_mul_overflow(v, u->factor, &v))
                return false;
            *ret = negative ? -v : v;
            return true;
        }
        if (!*u->suffix)
            return false;
    }
}

/* Words of a switch; whether it is spelled as one of them. */
bool config_number(enum config_type type, const char *text, int64_t *ret)
{
    return parse_number(type, text, ret);
}

static bool parse_switch(const char *s, int64_t *ret)
{
    int i = word_index("no|yes|false|true|off|on|0|1", s, strlen(s));
    if (i >= 0)
        *ret = i & 1;
    return i >= 0;
}

struct text {
    struct text *next;
    char bytes[];
};
static struct text *texts;

static const char *keep(const char *value)
{
    for (struct text *t = texts; t; t = t->next)
        if (strcmp(t->bytes, value) == 0)
            return t->bytes;
    size_t n = strlen(value) + 1;
    struct text *t = malloc(sizeof *t + n);
    if (!t)
        return NULL;
    memcpy(t->bytes, value, n);
    t->next = texts;
    texts = t;
    return t->bytes;
}

/* "https://host[:port]" as links begin with it; empty: not said. */
static bool origin_ok(const char *s)
{
    if (!*s)
        return true;
    s += strncmp(s, "https://", 8) == 0 ? 8 : strncmp(s, "http://", 7) == 0 ? 7 : strlen(s);
    size_t n = *s == '[' ? strspn(s + 1, "0123456789abcdefABCDEF:.") : strspn(s, HOST_BYTES);
    if (n == 0 || (*s == '[' && s[n + 1] != ']'))
        return false;
    s += *s == '[' ? n + 2 : n;
    size_t digits = *s == ':' ? strspn(s + 1, "0123456789") : 0;
    return !*s || (digits > 0 && digits <= 5 && !s[1 + digits]);
}

/* Puts the text into field k of *c. `where` begins the message ("line 3: "). */
static int set_value(struct config *c, int k, const char *value, const char *where, struct err *e)
{
    const struct config_key *key = &config_keys[k];
    int64_t v = 0;
    if (key->type == CONFIG_TEXT) {
        if (offsets[k] == offsetof(struct config, http_public_url) && !origin_ok(value))
            return err_set(e, ERR_INVALID, "22023", "%s%s.%s: \"%.100s\" is not scheme://host[:port]", where,
                           key->section, key->name, value);
        const char *kept = keep(value);
        if (!kept)
            return err_set(e, ERR_NOMEM, "53200", "out of memory");
        *text_at(c, k) = kept;
        return 0;
    }
    if (key->type == CONFIG_ENUM || key->type == CONFIG_BOOL) {
        const char *words = key->words ? key->words : "no|yes";
        if (strcmp(words, "no|yes") == 0) {
            if (!parse_switch(value, &v))
                return err_set(e, ERR_INVALID, "22023", "%s%s.%s: \"%.100s\" is neither yes nor no", where,
                               key->section, key->name, value);
        } else if ((v = word_index(words, value, strlen(value))) < 0) {
            return err_set(e, ERR_INVALID, "22023", "%s%s.%s: \"%.100s\" is none of %s", where, key->section,
                           key->name, value, words);
        }
        *number_at(c, k) = v;
        return 0;
    }
    if (!parse_number(key->type, value, &v)) {
        static const char *const shapes[] = {"a whole number",
                                             "a size (a number, or one with KiB, MiB, GiB or TiB)",
                                             "a duration (a number of ms, or one with ms, s, m, h or d)"};
        return err_set(e, ERR_INVALID, "22023", "%s%s.%s: \"%.100s\" is not %s", where, key->section,
                       key->name, value, shapes[key->type]);
    }
    if (v < key->least || v > key->most) {
        CLEANUP_BUF struct buf least = BUF_INIT(64), most = BUF_INIT(64);
        print_number(&least, key->type, key->least);
        print_number(&most, key->type, key->most);
        return err_set(e, ERR_INVALID, "22023", "%s%s.%s: %.100s is not within %s and %s", where,
                       key->section, key->name, value, buf_str(&least), buf_str(&most));
    }
    *number_at(c, k) = v;
    return 0;
}

int config_set(const char *key, const char *value, struct err *e)
{
    int k = key_find_dotted(key);
    if (k < 0)
        return err_set(e, ERR_INVALID, "22023", "%.100s: no such key", key);
    int r = set_value(&config, k, value, "", e);
    if (r == 0)
        pinned[k] = true;
    return r;
}

/* --- file and environment --- */

struct load {
    struct config *into;
    char *text; /* the file */
    size_t len, at;
    int line; /* of the line that was handed out last */
    int result;
    struct err *e;
    int first_line[sizeof config_keys / sizeof *config_keys]; /* where a key was set, 0: not yet */
};

static int fail_line(struct load *l, const char *what)
{
    if (l->result == 0)
        l->result = err_set(l->e, ERR_INVALID, "22023", "line %d: %s", l->line, what);
    return 0;
}

/* fgets over the text in memory. inih has a fixed line buffer and would take the rest of a long line for a
 * new one. */
static char *next_line(char *line, int cap, void *arg)
{
    struct load *l = arg;
    if (l->at == l->len || l->result < 0)
        return NULL;
    const char *from = l->text + l->at, *nl = memchr(from, '\n', l->len - l->at);
    size_t n = nl ? (size_t)(nl - from) + 1 : l->len - l->at;
    l->line++;
    if (n >= (size_t)cap) {
        fail_line(l, "longer than the longest line allowed");
        return NULL;
    }
    if (memchr(from, 0, n)) {
        fail_line(l, "holds a NUL byte");
        return NULL;
    }
    memcpy(line, from, n);
    line[n] = 0;
    l->at += n;
    return line;
}

/* inih's callback: 1 is success. */
static int take_pair(void *arg, const char *section, const char *name, const char *value)
{
    struct load *l = arg;
    char where[64];
    int k = key_find(section, strlen(section), name);
    snprintf(where, sizeof where, "line %d: ", l->line);
    if (l->result < 0)
        return 0;
    if (k < 0) {
        l->result =
            err_set(l->e, ERR_INVALID, "22023", "%s[%.100s] %.100s: no such key", where, section, name);
        return 0;
    }
    if (l->first_line[k] > 0) {
        l->result = err_set(l->e, ERR_INVALID, "22023", "%s%s.%s was set in line %d already", where, section,
                            name, l->first_line[k]);
        return 0;
    }
    l->first_line[k] = l->line;
    l->result = set_value(l->into, k, value, where, l->e);
    return l->result == 0;
}

static int load_file(struct config *into, const char *path, struct err *e)
{
    /* A pipe in its place is refused by the read; opening one would wait for a writer, and a reload with it. */
    CLEANUP_FD int fd = sys_open(path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(e, errno, "cannot open the configuration file");
    struct load l = {.into = into, .e = e, .text = malloc(FILE_MAX + 1)};
    if (!l.text)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    ssize_t n = sys_pread(fd, l.text, FILE_MAX + 1, 0);
    if (n < 0) {
        l.result = err_errno(e, errno, "cannot read the configuration file");
    } else if (n > FILE_MAX) {
        l.result = err_set(e, ERR_INVALID, "22023", "the configuration file is over 1 MiB");
    } else {
        l.len = (size_t)n;
        int bad = ini_parse_stream(next_line, &l, take_pair, &l);
        if (bad != 0 && l.result == 0) {
            l.line = bad;
            fail_line(&l, "neither a [section] nor a key = value");
        }
    }
    free(l.text);
    return l.result;
}

static void environment_name(int k, char *out, size_t n)
{
    snprintf(out, n, "QUERN_%s_%s", config_keys[k].section, config_keys[k].name);
    for (char *p = out; *p; p++)
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
}

bool config_stray(const char *variable)
{
    size_t n = strcspn(variable, "=");
    bool section = false;
    for (int k = 0; k < NKEYS; k++) {
        char name[128];
        environment_name(k, name, sizeof name);
        size_t part = sizeof "QUERN_" + strlen(config_keys[k].section); /* with the second underscore */
        if (strlen(name) == n && memcmp(name, variable, n) == 0)
            return false;
        section = section || (n > part && memcmp(name, variable, part) == 0);
    }
    static const char own[] = "QUERN_ENGINE_STDERR"; /* read by the engine process alone */
    return section && !(n == sizeof own - 1 && memcmp(variable, own, n) == 0);
}

static int load_environment(struct config *into, struct err *e)
{
    for (int k = 0; k < NKEYS; k++) {
        char name[128], where[160];
        environment_name(k, name, sizeof name);
        const char *value = getenv(name);
        snprintf(where, sizeof where, "environment %s: ", name);
        int r = value ? set_value(into, k, value, where, e) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static struct config loaded; /* what the last load read; the live one may have been adapted since */
static struct buf changes = {0};

static bool same(const struct config *a, const struct config *b, int k)
{
    if (config_keys[k].type != CONFIG_TEXT)
        return *number_at((struct config *)(uintptr_t)a, k) == *number_at((struct config *)(uintptr_t)b, k);
    return strcmp(*text_at((struct config *)(uintptr_t)a, k), *text_at((struct config *)(uintptr_t)b, k)) ==
           0;
}

static void note_changes(const struct config *fresh)
{
    buf_free(&changes);
    buf_init(&changes, 64 * 1024);
    for (int restart = 0; restart < 2; restart++) {
        bool first = true;
        for (int k = 0; k < NKEYS; k++) {
            const struct config_key *key = &config_keys[k];
            if (same(&loaded, fresh, k) || pinned[k] || key->reloadable == restart)
                continue;
            if (first)
                buf_str_add(&changes, restart == 0      ? ""
                                      : changes.len > 0 ? "; only after a restart: "
                                                        : "only after a restart: ");
            buf_printf(&changes, "%s%s.%s", first ? "" : ", ", key->section, key->name);
            first = false;
        }
    }
    if (changes.len == 0)
        buf_str_add(&changes, "nothing");
}

const char *config_changes(void)
{
    const char *text = buf_str(&changes);
    return text ? text : "";
}

int config_load(const char *path, bool reload, struct err *e)
{
    struct config fresh;
    fill_defaults(&fresh);
    int r = path ? load_file(&fresh, path, e) : 0;
    if (r == 0)
        r = load_environment(&fresh, e);
    if (r < 0)
        return r;
    if (!reload) {
        loaded = config = fresh;
        memset(pinned, 0, sizeof pinned);
        return 0;
    }
    note_changes(&fresh);
    for (int k = 0; k < NKEYS; k++) {
        if (!config_keys[k].reloadable || pinned[k])
            continue;
        /* what needs a restart is named at each reload until then */
        if (config_keys[k].type == CONFIG_TEXT)
            *text_at(&loaded, k) = *text_at(&fresh, k);
        else
            *number_at(&loaded, k) = *number_at(&fresh, k);
        if (config_keys[k].type == CONFIG_TEXT) /* release: who sees the pointer must see its bytes */
            __atomic_store_n(text_at(&config, k), *text_at(&fresh, k), __ATOMIC_RELEASE);
        else
            __atomic_store_n(number_at(&config, k), *number_at(&fresh, k), __ATOMIC_RELAXED);
    }
    return 0;
}

/* --- the table as text --- */

static void print_default(struct buf *out, const struct config_key *key)
{
    if (key->type == CONFIG_TEXT || key->type == CONFIG_ENUM)
        buf_str_add(out, key->def_text);
    else
        print_number(out, key->type, key->def);
}

static void print_range(struct buf *out, const struct config_key *key, const char *bar)
{
    if (key->type == CONFIG_TEXT) {
        buf_str_add(out, "text");
    } else if (key->type == CONFIG_ENUM) {
        for (const char *s = key->words; *s; s++)
            if (*s == '|')
                buf_str_add(out, bar);
            else
                buf_char(out, *s);
    } else {
        print_number(out, key->type, key->least);
        buf_str_add(out, " .. ");
        print_number(out, key->type, key->most);
        if (key->type == CONFIG_INT && *key->unit)
            buf_printf(out, " %s", key->unit);
    }
}

int config_markdown(struct buf *out)
{
    const char *section = "";
    buf_str_add(out, "# Configuration\n\nMade from `src/base/config_table.def` by `quernd config-help "
                     "--markdown`; do not edit.\n\n"
                     "Every key can stand in the INI file (`quernd serve --config FILE`, as `name = value` "
                     "below its `[section]`) and in the environment, which wins.\n"
                     "Sizes take `KiB`, `MiB`, `GiB`, `TiB`; durations `ms`, `s`, `m`, `h`, `d`. Keys with "
                     "\"Reload: yes\" change at SIGHUP, the others at the next start.\n"
                     "`quernd check-config --config FILE` names line and key of what is wrong.\n\n");
    for (int k = 0; k < NKEYS; k++) {
        const struct config_key *key = &config_keys[k];
        char name[128];
        environment_name(k, name, sizeof name);
        if (strcmp(section, key->section) != 0) {
            section = key->section;
            buf_printf(
                out,
                "%s## %s\n\n| Key | Default | Values | Reload | Environment | |\n|---|---|---|---|---|---|\n",
                k > 0 ? "\n" : "", section);
        }
        buf_printf(out, "| `%s` | ", key->name);
        print_default(out, key);
        buf_str_add(out, " | ");
        print_range(out, key, ", ");
        buf_printf(out, " | %s | `%s` | %s |\n", key->reloadable ? "yes" : "no", name, key->text);
    }
    return out->why;
}

int config_help(struct buf *out)
{
    for (int k = 0; k < NKEYS; k++) {
        const struct config_key *key = &config_keys[k];
        buf_printf(out, "  %s.%s (", key->section, key->name);
        print_default(out, key);
        buf_str_add(out, "; ");
        print_range(out, key, "|");
        buf_printf(out, "%s)\n      %s\n", key->reloadable ? "" : "; needs a restart", key->text);
    }
    return out->why;
}
