/*
 * keyring: the installation's own key, DIR/keyring. With it the hashes of secrets are made, so that a copy of
 * the registry alone verifies nothing.
 *
 * File: one line "quern-keyring 1 <base64 of 32 bytes>", mode 0600, owned by who runs the daemon. Made at
 * first use (written, fsynced, renamed, folder fsynced); never overwritten. Losing it makes every key
 * useless, so that a backup needs it. Any thread; called at open only.
 */
#ifndef QUERN_CORE_KEYRING_H
#define QUERN_CORE_KEYRING_H

#include "base/crypto.h"
#include "base/err.h"

/* Reads the key. Absent: makes one when `may_make`, else ERR_CORRUPT. ERR_DENIED when others may read the
 * file, ERR_CORRUPT, ERR_IO. */
int keyring_open(const char *data_dir, bool may_make, uint8_t ret_key[CRYPTO_KEY_LEN],
                 struct err *e) MUST_USE;

#endif
