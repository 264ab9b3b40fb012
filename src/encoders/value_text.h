/*
 * value_text: the text of one value, by one table of rules with a column per dialect (design.md section 7,
 * Values). Pure; any thread.
 */
#ifndef QUERN_ENCODERS_VALUE_TEXT_H
#define QUERN_ENCODERS_VALUE_TEXT_H

#include "base/zone.h"
#include "encoders/batch.h"

/* Who reads the text. NEUTRAL is the neutral download (CSV, JSON, NDJSON). */
enum text_profile {
    TEXT_NEUTRAL,
    TEXT_KAKAO,
    TEXT_DATA360,
    TEXT_KYLIN,
    TEXT_CANNER,
    TEXT_JACKDB,
    TEXT_KYLIN_ROWS, /* the rows of its synchronous answers: every value a string */
    TEXT_PROFILES
};

/* Appends the bare text of a non-NULL value (no quoting): Kakao page section 8 for list, map, row, interval,
 * time and binary; timestamps with three fractional digits, or six when the value has microseconds; doubles
 * by the profile (Java shape for KAKAO). */
int value_text(enum text_profile p, const struct window_column *c, uint64_t row, struct buf *out);
/* The same with timestamps with time zone as clocks of the zone show them; NULL: UTC. */
int value_text_in(enum text_profile p, const struct zone *z, const struct window_column *c, uint64_t row,
                  struct buf *out);
/* Appends the value as a JSON value, NULL included, in the profile's JSON shape (Data 360 2.2: numeric
 * unquoted with all its digits, "T" timestamps, interval as ISO-8601, bytea "\\x..", json embedded, NaN and
 * infinities as strings, lists as arrays; KAKAO: every non-NULL value a string). NEUTRAL: numbers bare when
 * they are JSON numbers (integers and decimals exact, doubles shortest), others strings, lists arrays, rows
 * and maps objects. */
int value_json(enum text_profile p, const struct window_column *c, uint64_t row, struct buf *out);

#endif
