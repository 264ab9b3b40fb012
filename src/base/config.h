/*
 * config: every limit and switch, in one table.
 *
 * The table (config_table.def) holds for each key: section.name, type, default, least, most, unit,
 * reloadable, text. INI reader, environment names (QUERN_SECTION_KEY), --help, `quernd check-config` and
 * docs/configuration.md are made from it. Values are read through one struct with a field per key
 * (section_name); it is filled before threads start; reload (SIGHUP) changes only reloadable fields, each
 * with one atomic store of a word. Any thread may read.
 */
#ifndef QUERN_BASE_CONFIG_H
#define QUERN_BASE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* INT: int64 with unit; sizes accept KiB/MiB/GiB suffixes, durations ms/s/m/h/d (a plain number means the
 * table's unit). BOOL: yes|no|true|false|on|off|1|0. ENUM: one of the words in `words` (stored as index).
 * TEXT: string. */
enum config_type { CONFIG_INT, CONFIG_SIZE, CONFIG_MS, CONFIG_BOOL, CONFIG_ENUM, CONFIG_TEXT };

struct config {
#define CONFIG_NUM(section, name, type, def, least, most, unit, reload, text)                                \
    _Atomic int64_t section##_##name;
#define CONFIG_WORD(section, name, words, def, reload, text) _Atomic int64_t section##_##name;
#define CONFIG_STR(section, name, def, reload, text)         const char *_Atomic section##_##name;
#include "base/config_table.def"
#undef CONFIG_NUM
#undef CONFIG_WORD
#undef CONFIG_STR
};

/* The one instance; defaults until config_load. */
extern struct config config;

struct config_key {
    const char *section, *name;
    enum config_type type;
    int64_t def, least, most;
    const char *words; /* ENUM: "a|b|c" */
    const char *def_text;
    const char *unit; /* "bytes", "ms", "" */
    bool reloadable;
    const char *text;
};
extern const struct config_key config_keys[];
extern const int config_nkeys;

void config_defaults(void);
/* Defaults, then the INI file (NULL = none), then the environment. ERR_INVALID names line and key. With
 * reload true only reloadable keys change and nothing changes on error. */
int config_load(const char *path, bool reload, struct err *e) MUST_USE;
/* After a reload: the keys whose value changed, as "a.b, c.d; only after a restart: e.f"; "nothing" when none
 * did. Valid until the next load. */
const char *config_changes(void);
/* Sets one key from text, as "section.name". */
int config_set(const char *key, const char *value, struct err *e) MUST_USE;
/* Is this NAME=VALUE of the environment meant for a section of the table, but for no key of it? */
bool config_stray(const char *variable);
/* "512 MiB", "30m", "7" in the shape of `type` (INT, SIZE, MS); false when it is none. */
bool config_number(enum config_type type, const char *text, int64_t *ret);
/* The table as Markdown (docs/configuration.md) and as --help text. */
int config_markdown(struct buf *out);
int config_help(struct buf *out);
/* The word of an ENUM value. */
const char *config_word(const char *key, int64_t value);

#endif
