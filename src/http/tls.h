/*
 * tls: the certificate of the listener. Read at start and again on SIGHUP; handshakes in progress keep the
 * one they began with.
 *
 * The library's callback for certificates has no argument, so one process has one certificate.
 */
#ifndef QUERN_HTTP_TLS_H
#define QUERN_HTTP_TLS_H

#include <stddef.h>

#include "base/err.h"

struct tls;

/* Paths of PEM files; the certificate's may hold a chain. */
int tls_open(const char *certificate, const char *key, struct tls **ret, struct err *e) MUST_USE;
/* Reads both files again; on error the one in use stays. One thread at a time. */
int tls_reload(struct tls *t, struct err *e) MUST_USE;
/* No handshake may be under way. NULL allowed. */
void tls_close(struct tls *t);
/* Owner of the session (a gnutls_session_t), nothing being sent: as much as the socket takes at once. */
void tls_send(void *session, const void *p, size_t n);
/* For MHD_OPTION_HTTPS_CERT_CALLBACK: a gnutls_certificate_retrieve_function2. */
void *tls_callback(void);

#endif
