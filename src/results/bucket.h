/*
 * bucket: a named place where finished results are delivered as files. The seam; kinds: file://
 * (bucket_local.c), later s3://, webhdfs://. Nothing is visible under its final name before bucket_commit.
 * One upload = one thread.
 */
#ifndef QUERN_RESULTS_BUCKET_H
#define QUERN_RESULTS_BUCKET_H

#include "base/err.h"

struct bucket_upload;

/* ERR_INVALID when the URL is of no known kind or malformed; checks what it can without writing. */
int bucket_check_url(const char *url, struct err *e) MUST_USE;
/* Makes the bucket's root where the kind has one to make (file://: the folder and its parents). For `bucket
 * create` and the default bucket; a delivery never does it: a share that is not mounted must not become a
 * local folder. */
int bucket_prepare(const char *url, struct err *e) MUST_USE;
/* Can we write there now? Makes nothing. ERR_DENIED (no right), ERR_UNAVAILABLE. */
int bucket_writable(const char *url, struct err *e) MUST_USE;
/* ERR_INVALID for what is no object's name in any bucket: no "." or "..", no empty segment, none of more than
 * 255 bytes or that begins with ".quern-", no backslash, no control character, UTF-8. Pure. */
int bucket_check_key(const char *key, struct err *e) MUST_USE;
/* Starts an object `key` ("a/b/c.csv"). ERR_INVALID as bucket_check_key().
 * ERR_BUSY while another upload of the same object is under way, ERR_DENIED where a link leads out. */
int bucket_begin(const char *url, const char *key, struct bucket_upload **ret, struct err *e) MUST_USE;
int bucket_write(struct bucket_upload *u, const void *p, size_t n, struct err *e) MUST_USE;
/* Durable and visible under `key` when it returns; replaces an older object. Frees u in every case. */
int bucket_commit(struct bucket_upload *u, struct err *e) MUST_USE;
/* Removes what was written. Frees u. NULL allowed. */
void bucket_abort(struct bucket_upload *u);
/* Removes the object, what a process that died left of an upload of it, and the folders of its key that are empty
 * then; absent is fine. */
int bucket_remove(const char *url, const char *key, struct err *e) MUST_USE;

#endif
