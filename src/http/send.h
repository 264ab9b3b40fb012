/*
 * send: a finished reply becomes the library's response: headers, ranges, what reads a stream piece by piece.
 * I/O thread of the exchange's connection.
 */
#ifndef QUERN_HTTP_SEND_H
#define QUERN_HTTP_SEND_H

#include "http/http_int.h"

/* Queues the reply. False: the library took none, the connection is to be closed. */
bool send_reply(struct exchange *x);
/* The body is over the limit in mid-upload, where the library takes no response: the answer is written to the
 * socket as far as it takes it at once. */
void send_raw(struct exchange *x);

#endif
