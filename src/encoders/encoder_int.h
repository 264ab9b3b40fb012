/* encoder_int: what the encoders share with one another; nothing outside this folder includes it. */
#ifndef QUERN_ENCODERS_ENCODER_INT_H
#define QUERN_ENCODERS_ENCODER_INT_H

#include "encoders/encoder.h"

extern const struct encoder encoder_arrow, encoder_csv, encoder_json, encoder_rows, encoder_strings,
    encoder_ndjson;

/* The error of an append to the output that failed with rc. Returns rc. */
int encode__full(int rc, struct err *e);

#endif
