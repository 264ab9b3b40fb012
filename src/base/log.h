/*
 * log: one event, one line, to stderr. logfmt ("time=... level=info module=core msg=\"...\" query=...") or
 * JSON by config. Control and bidi characters are escaped. Never SQL text, parameters, secrets. Never blocks:
 * a full pipe drops the line and counts it (metric quern_log_dropped_total). Any thread.
 */
#ifndef QUERN_BASE_LOG_H
#define QUERN_BASE_LOG_H

#include <stdbool.h>

#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_init(enum log_level min, bool json);
void log_set_level(enum log_level min);
/* kv: "key", "value" pairs of C strings ended by NULL; msg is constant text. */
void log_event(enum log_level level, const char *module, const char *msg, ...) __attribute__((sentinel));
/* printf into the message; for start-up and rare things. */
void log_line(enum log_level level, const char *module, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
