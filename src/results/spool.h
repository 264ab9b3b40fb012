/*
 * spool: the folder where results rest. DIR/spool/xx/UUID-N.seg, xx = last two hex digits of the id; unsealed
 * files are DIR/spool/tmp/UUID-N.tmp. Knows names and folders; content is segment.h's. Any thread.
 */
#ifndef QUERN_RESULTS_SPOOL_H
#define QUERN_RESULTS_SPOOL_H

#include "results/segment.h"

struct spool;

int spool_open(const char *data_dir, struct spool **ret, struct err *e) MUST_USE;
void spool_close(struct spool *s);
/* A writer for result `ordinal` of the query. */
int spool_create(struct spool *s, const struct qid *id, uint32_t ordinal, const struct schema *schema,
                 struct segment_writer **ret, struct err *e) MUST_USE;
/* Seals, renames into place, fsyncs the folder: durable when it returns. Frees nothing. */
int spool_seal(struct spool *s, const struct qid *id, uint32_t ordinal, struct segment_writer *w,
               struct segment_facts *ret, struct err *e) MUST_USE;
/* Gives up an unsealed result: removes its temporary file. Also after spool_seal failed. */
void spool_abort(struct spool *s, const struct qid *id, uint32_t ordinal);
/* `origin` is the query whose run made the file: id itself, or another one after spool_link. */
int spool_open_result(struct spool *s, const struct qid *id, uint32_t ordinal, const struct qid *origin,
                      const struct segment_facts *facts, struct segment **ret, struct err *e) MUST_USE;
/* Gives result `ordinal` of `from` a second name as result `ordinal` of `to` (a hard link: each name is
 * removed by itself). Durable when it returns. ERR_GONE when there is no such file. */
int spool_link(struct spool *s, const struct qid *from, const struct qid *to, uint32_t ordinal,
               struct err *e) MUST_USE;
/* Its name below DIR/spool: "xx/UUID-N.seg". */
#define SPOOL_NAME_MAX 64
void spool_name(const struct qid *id, uint32_t ordinal, char ret[SPOOL_NAME_MAX]);
/* Removes a sealed result; absent is fine. *ret_bytes (may be NULL): the size of the file that went, 0 when
 * there was none. */
int spool_remove(struct spool *s, const struct qid *id, uint32_t ordinal, uint64_t *ret_bytes,
                 struct err *e) MUST_USE;
/* Calls keep(arg, id, ordinal) for each sealed file and removes those it denies, and every temporary file
 * that no writer of this spool holds. At start, and by the janitor. A file is sealed before its manifest is
 * committed: keep must also say true for every query that has not ended. Returns the number removed, or a
 * negative error. */
int64_t spool_sweep(struct spool *s, bool (*keep)(void *arg, const struct qid *id, uint32_t ordinal),
                    void *arg);
/* Free bytes of the file system. */
uint64_t spool_free_bytes(struct spool *s);

#endif
