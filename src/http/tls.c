/*
 * tls: see tls.h. The callback runs on I/O threads and reads one atomic pointer.
 *
 * A replaced certificate may still be in the hands of a handshake, which http.header_timeout (most 600 s)
 * ends: it is freed at a later reload, an hour on at the earliest, or at the end. A reload with the same
 * bytes changes nothing, so the list stays short.
 */
#include "http/tls.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/sys.h"

#define CHAIN_MAX  16u
#define RETIRED_NS (3600 * 1000000000ll)

struct certificate {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned n;
    gnutls_privkey_t key;
    gnutls_datum_t pem; /* the chain's file, to tell a change */
    unsigned char key_id[64];
    size_t key_id_len;
    int64_t retired_ns;
    struct certificate *next;
};

struct tls {
    char *certificate, *key;
    struct certificate *retired;
};

static _Atomic(struct certificate *) current;

static int on_certificate(gnutls_session_t session, const gnutls_datum_t *authorities, int nauthorities,
                          const gnutls_pk_algorithm_t *algorithms, int nalgorithms, gnutls_pcert_st **chain,
                          unsigned *n, gnutls_privkey_t *key)
{
    struct certificate *c = atomic_load_explicit(&current, memory_order_acquire);
    (void)session;
    (void)authorities;
    (void)nauthorities;
    (void)algorithms;
    (void)nalgorithms;
    if (!c)
        return -1;
    *chain = c->chain;
    *n = c->n;
    *key = c->key;
    return 0;
}

void *tls_callback(void)
{
    gnutls_certificate_retrieve_function2 *fn = on_certificate;
    void *p;
    memcpy(&p, &fn, sizeof p);
    return p;
}

void tls_send(void *session, const void *p, size_t n)
{
    ssize_t sent = gnutls_record_send(session, p, n);
    (void)sent;
}

static void certificate_free(struct certificate *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < c->n; i++)
        gnutls_pcert_deinit(&c->chain[i]);
    if (c->key)
        gnutls_privkey_deinit(c->key);
    gnutls_free(c->pem.data);
    free(c);
}

/* The key belongs to the first certificate. */
static bool belongs(struct certificate *c)
{
    unsigned char other[sizeof c->key_id];
    size_t n = sizeof other;
    gnutls_pubkey_t public;
    if (gnutls_pubkey_init(&public))
        return false;
    c->key_id_len = sizeof c->key_id;
    bool same = gnutls_pubkey_import_privkey(public, c->key, 0, 0) == 0 &&
                gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, other, &n) == 0 &&
                gnutls_pubkey_get_key_id(c->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, c->key_id,
                                         &c->key_id_len) == 0 &&
                n == c->key_id_len && memcmp(other, c->key_id, n) == 0;
    gnutls_pubkey_deinit(public);
    return same;
}

static void note_expiry(const struct certificate *c)
{
    gnutls_x509_crt_t first;
    if (gnutls_x509_crt_init(&first))
        return;
    if (gnutls_x509_crt_import(first, &c->chain[0].cert, GNUTLS_X509_FMT_DER) == 0) {
        int64_t until = (int64_t)gnutls_x509_crt_get_expiration_time(first), now = sys_wall_ms() / 1000;
        metric_set(metrics_get(METRIC_GAUGE, "quern_http_tls_expires_seconds", "",
                               "unix time at which the listener's certificate expires"),
                   until);
        if (until < now)
            log_event(LOG_WARN, "http", "the TLS certificate has expired", NULL);
        else if (until < now + 14 * 86400)
            log_event(LOG_WARN, "http", "the TLS certificate expires within 14 days", NULL);
    }
    gnutls_x509_crt_deinit(first);
}

/* A pipe in a file's place would be waited for: for ever, and a reload with it. */
static int load_plain(const char *path, gnutls_datum_t *ret)
{
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return GNUTLS_E_FILE_ERROR;
    return gnutls_load_file(path, ret);
}

static int load(const struct tls *t, struct certificate **ret, struct err *e)
{
    struct certificate *c = calloc(1, sizeof *c);
    gnutls_datum_t key = {NULL, 0};
    if (!c)
        return err_set(e, ERR_NOMEM, NULL, "out of memory");
    unsigned n = CHAIN_MAX;
    int rc = load_plain(t->certificate, &c->pem);
    if (rc)
        rc = err_set(e, ERR_INVALID, NULL, "http.tls_certificate: the file cannot be read");
    else if ((rc = gnutls_pcert_list_import_x509_raw(c->chain, &n, &c->pem, GNUTLS_X509_FMT_PEM, 0)) != 0 ||
             n == 0)
        rc = err_set(e, ERR_INVALID, NULL,
                     "http.tls_certificate: no certificates in PEM form, or more than %u (%s)", CHAIN_MAX,
                     gnutls_strerror(rc));
    else
        c->n = n;
    if (!rc && load_plain(t->key, &key))
        rc = err_set(e, ERR_INVALID, NULL, "http.tls_key: the file cannot be read");
    int why = 0;
    if (!rc && ((why = gnutls_privkey_init(&c->key)) != 0 ||
                (why = gnutls_privkey_import_x509_raw(c->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0)) != 0))
        rc = err_set(e, ERR_INVALID, NULL, "http.tls_key: no private key in PEM form (%s)",
                     gnutls_strerror(why));
    if (!rc && !belongs(c))
        rc = err_set(e, ERR_INVALID, NULL,
                     "http.tls_key: the key does not belong to the certificate of http.tls_certificate");
    if (key.data) {
        gnutls_memset(key.data, 0, key.size);
        gnutls_free(key.data);
    }
    if (rc) {
        certificate_free(c);
        return rc;
    }
    *ret = c;
    return 0;
}

int tls_open(const char *certificate, const char *key, struct tls **ret, struct err *e)
{
    struct tls *t = calloc(1, sizeof *t);
    struct certificate *c;
    if (t) {
        t->certificate = strdup(certificate);
        t->key = strdup(key);
    }
    int rc = !t || !t->certificate || !t->key ? err_set(e, ERR_NOMEM, NULL, "out of memory") : load(t, &c, e);
    if (rc) {
        tls_close(t);
        return rc;
    }
    atomic_store(&current, c);
    note_expiry(c);
    *ret = t;
    return 0;
}

int tls_reload(struct tls *t, struct err *e)
{
    struct certificate *c, *old = atomic_load(&current);
    int rc = load(t, &c, e);
    if (rc)
        return rc;
    if (old && c->pem.size == old->pem.size && memcmp(c->pem.data, old->pem.data, c->pem.size) == 0) {
        certificate_free(c); /* the key belongs to it, so it is the same too */
        return 0;
    }
    atomic_store(&current, c);
    note_expiry(c);
    log_event(LOG_INFO, "http", "TLS certificate replaced", NULL);
    int64_t now = sys_mono_ns();
    for (struct certificate **at = &t->retired; *at;) {
        struct certificate *r = *at;
        if (now - r->retired_ns > RETIRED_NS) {
            *at = r->next;
            certificate_free(r);
        } else {
            at = &r->next;
        }
    }
    if (old) {
        old->retired_ns = now;
        old->next = t->retired;
        t->retired = old;
    }
    return 0;
}

void tls_close(struct tls *t)
{
    if (!t)
        return;
    certificate_free(atomic_exchange(&current, NULL));
    while (t->retired) {
        struct certificate *next = t->retired->next;
        certificate_free(t->retired);
        t->retired = next;
    }
    free(t->certificate);
    free(t->key);
    free(t);
}
