/* compat_arith: functions of our own that the macros stand on. Job thread (the main thread before it starts one). */
#ifndef QUERN_ENGINES_COMPAT_ARITH_H
#define QUERN_ENGINES_COMPAT_ARITH_H

#include "engines/compat_number.h"

/* quern_divide(a, b), quern_modulo(a, b), quern_mean(count, sum), each also as ..._pg; quern_sum(sum). */
bool compat_arith_install(duckdb_connection c) MUST_USE;
/* A sum of such an argument is being bound. */
void compat_arith_summed(const struct numeric *x);
/* Before a statement: nothing is left of one that failed while it was bound. */
void compat_arith_forget(void);
/* compat_round.c: quern_round(x), quern_round_to(x, n), quern_floor, quern_ceil, quern_trunc, quern_trunc_to, quern_sign. */
bool compat_round_install(duckdb_connection c) MUST_USE;
/* compat_scalar.c: quern_cardinality, quern_typeof, quern_sqrt, ..._cbrt, ..._ln, ..._log2, ..._log10. */
bool compat_scalar_install(duckdb_connection c) MUST_USE;
/* compat_dates.c: quern_date_plus, quern_plus_date, quern_date_minus, quern_date_apart. */
bool compat_dates_install(duckdb_connection c) MUST_USE;
/* compat_text.c: quern_crc32, quern_sha512, quern_hmac_sha256, ..._sha512, quern_from_base, quern_double_text, ..._real_text, ..._json_text. */
bool compat_text_install(duckdb_connection c) MUST_USE;
/* compat_patterns.c: quern_joda(pattern): the engine's pattern for one of Joda-Time's (format_datetime, parse_datetime). */
bool compat_patterns_install(duckdb_connection c) MUST_USE;
/* compat_char_functions.c: quern_to_char, quern_read_time, quern_read_number. */
bool compat_char_install(duckdb_connection c) MUST_USE;
/* compat_format.c: quern_format(format, list of texts), quern_format_pg. */
bool compat_format_install(duckdb_connection c) MUST_USE;

#endif
