/* neutral: what the server tells the neutral routes (/readyz). Set before serving starts; read by any thread. */
#ifndef QUERN_DIALECTS_NEUTRAL_H
#define QUERN_DIALECTS_NEUTRAL_H

#include <stdbool.h>

#include "base/json_write.h"

void neutral_status_set(void (*fn)(void *arg, struct json_write *w), void *arg);
void neutral_draining_set(bool draining);

#endif
