/* compat_char: PostgreSQL's templates: to_char, to_date, to_timestamp, to_number. Pure, any thread, hostile bytes allowed. */
#ifndef QUERN_ENGINES_COMPAT_CHAR_H
#define QUERN_ENGINES_COMPAT_CHAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* A piece of a template of dates. The names are PostgreSQL's. */
enum char_key {
    CK_TEXT, /* as it is: `text`, `n` */
    CK_AD,
    CK_AM,
    CK_AM_DOTS,
    CK_CC,
    CK_D,
    CK_DAY,
    CK_DD,
    CK_DDD,
    CK_DY,
    CK_FF, /* digits: `n` */
    CK_HH12,
    CK_HH24,
    CK_I,
    CK_ID,
    CK_IDDD,
    CK_IW,
    CK_IY,
    CK_IYY,
    CK_IYYY,
    CK_J,
    CK_MI,
    CK_MM,
    CK_MON,
    CK_MONTH,
    CK_MS,
    CK_OF,
    CK_Q,
    CK_RM,
    CK_SS,
    CK_SSSS,
    CK_TZ,
    CK_TZH,
    CK_TZM,
    CK_US,
    CK_W,
    CK_WW,
    CK_Y,
    CK_Y_YYY,
    CK_YY,
    CK_YYY,
    CK_YYYY,
};

struct char_piece {
    enum char_key key;
    char style;   /* 'U'pper, 'C'apital, 'L'ower: as the template spells it */
    bool fm;      /* no blanks, no zeros */
    char ordinal; /* 'U', 'L' or 0 */
    bool quoted;  /* CK_TEXT: was in quotes */
    const char *text;
    size_t n;
};

/* False at the template's end. */
bool char_next(const char **p, const char *end, struct char_piece *ret);
extern const char *const char_months[12], *const char_weekdays[7], *const char_romans[12];

/* ---- days ---- */
/* As base/clock.h counts them. */
/* Monday is 1. */
int char_weekday(int64_t days);
/* ISO 8601: the week's year and number. */
void char_iso_week(int64_t days, int64_t *ret_year, int *ret_week);
/* Of the first day of ISO week 1. */
int64_t char_iso_start(int64_t year);

/* The value as the engine's CAST to varchar shows it (a date, timestamp, time, interval or number). False: it is none. */
bool char_of(const char *value, size_t n, const char *template, size_t template_n, struct buf *out) MUST_USE;
bool char_of_number(const char *value, size_t n, const char *template, size_t template_n,
                    struct buf *out) MUST_USE;
/* Microseconds since 1970-01-01. NULL, or what is wrong. */
const char *char_read(const char *text, size_t n, const char *template, size_t template_n, int64_t *ret);
/* The number as text. NULL, or what is wrong. */
const char *char_read_number(const char *text, size_t n, const char *template, size_t template_n,
                             struct buf *out);

#endif
