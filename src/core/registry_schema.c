/*
 * registry_schema: the tables of DIR/registry.db and every statement that is run on them. Constant data only.
 *
 * Format. All times are Unix milliseconds, 0 = not yet. A query's row is found by its id (the 16 bytes of
 * base/id.h) and kept by seq, its place in the order of acceptance: rows, results and indexes grow at one end
 * each, so that a commit touches few pages. query_count is kept by the writer, so that a list knows its total
 * without counting. The rows of queries name users and workspaces, which are never deleted, without a foreign
 * key, which would be looked up for each insert. A removed workspace keeps its row, so that its number is never given
 * again: removed is 1 while its queries are being erased, then 2, and its name one that nobody else can have. A migration is never changed once released; a new one is
 * appended.
 */
#include <stddef.h>

#include "core/registry_int.h"

const char *const registry__migrations[] = {
    "CREATE TABLE workspace (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, uuid TEXT NOT NULL UNIQUE, "
    "created_ms INTEGER NOT NULL,"
    " epoch INTEGER NOT NULL DEFAULT 1, written_seq INTEGER NOT NULL DEFAULT 0,"
    " stopped INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_ms INTEGER NOT NULL) "
    "STRICT;"
    "CREATE TABLE key (id INTEGER PRIMARY KEY, key_id TEXT NOT NULL UNIQUE, workspace INTEGER NOT NULL "
    "REFERENCES workspace,"
    " user INTEGER NOT NULL REFERENCES user, role INTEGER NOT NULL, hash BLOB NOT NULL, created_ms INTEGER "
    "NOT NULL,"
    " revoked_ms INTEGER NOT NULL DEFAULT 0, expires_ms INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE bucket (id INTEGER PRIMARY KEY, workspace INTEGER NOT NULL REFERENCES workspace, name TEXT "
    "NOT NULL, url TEXT NOT NULL,"
    " read_only INTEGER NOT NULL, is_default INTEGER NOT NULL, created_ms INTEGER NOT NULL, UNIQUE "
    "(workspace, name)) STRICT;"
    "CREATE TABLE dataset (id INTEGER PRIMARY KEY, workspace INTEGER NOT NULL REFERENCES workspace, name "
    "TEXT NOT NULL COLLATE NOCASE,"
    " path TEXT NOT NULL, format TEXT NOT NULL, folder INTEGER NOT NULL, created_ms INTEGER NOT NULL, UNIQUE "
    "(workspace, name)) STRICT;"
    "CREATE TABLE query (seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, workspace INTEGER NOT NULL, user "
    "INTEGER NOT NULL,"
    " dialect INTEGER NOT NULL, state INTEGER NOT NULL, phase INTEGER NOT NULL, ending INTEGER NOT NULL, "
    "profile INTEGER NOT NULL,"
    " kind INTEGER NOT NULL, sql TEXT NOT NULL, params BLOB, default_source TEXT, default_database TEXT, "
    "timezone TEXT, language TEXT,"
    " bucket TEXT, path TEXT, request TEXT, row_limit INTEGER NOT NULL, run_timeout_ms INTEGER NOT NULL, "
    "reuse INTEGER NOT NULL,"
    " reused INTEGER NOT NULL, read_only INTEGER NOT NULL, exposed INTEGER NOT NULL, scanned INTEGER NOT "
    "NULL, stored INTEGER NOT NULL,"
    " cut INTEGER NOT NULL, max_reuse_age_s INTEGER NOT NULL, created_ms INTEGER NOT NULL, started_ms "
    "INTEGER NOT NULL,"
    " ended_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, gone_ms INTEGER NOT NULL, reused_created_ms "
    "INTEGER NOT NULL,"
    " queued_ns INTEGER NOT NULL, plan_ns INTEGER NOT NULL, run_ns INTEGER NOT NULL, elapsed_ns INTEGER NOT "
    "NULL,"
    " rows_scanned INTEGER NOT NULL, bytes_scanned INTEGER NOT NULL, runs INTEGER NOT NULL, err_code INTEGER "
    "NOT NULL, err_sqlstate TEXT,"
    " err_text TEXT, err_hint TEXT, err_position INTEGER, err_position_end INTEGER, err_line INTEGER, "
    "err_column INTEGER,"
    " note INTEGER NOT NULL, reuse_key BLOB, writes INTEGER NOT NULL, file_bytes INTEGER NOT NULL, "
    "file_replaced INTEGER NOT NULL, peak_memory INTEGER NOT NULL, script INTEGER NOT NULL, keep_ms INTEGER "
    "NOT NULL) STRICT;"
    "CREATE INDEX query_newest ON query (workspace, created_ms);"
    "CREATE INDEX query_there ON query (workspace, created_ms) WHERE gone_ms = 0;"
    "CREATE INDEX query_by_state ON query (workspace, state, created_ms);"
    "CREATE INDEX query_by_user ON query (workspace, user, created_ms);"
    "CREATE TABLE query_count (workspace INTEGER NOT NULL, user INTEGER NOT NULL, state INTEGER NOT NULL, n "
    "INTEGER NOT NULL,"
    " PRIMARY KEY (workspace, user, state)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX query_expiry ON query (expires_ms) WHERE gone_ms = 0 AND expires_ms > 0;"
    "CREATE TABLE result (query INTEGER NOT NULL, ordinal INTEGER NOT NULL, "
    "kind INTEGER NOT NULL,"
    " update_count INTEGER NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL, schema BLOB, sealed "
    "INTEGER NOT NULL,"
    " file_size INTEGER NOT NULL, stream_len INTEGER NOT NULL, nbatches INTEGER NOT NULL, footer_crc INTEGER "
    "NOT NULL, cut INTEGER NOT NULL,"
    " inline_index BLOB, inline_body BLOB, origin BLOB, started_ms INTEGER NOT NULL, ended_ms INTEGER NOT "
    "NULL,"
    " err_code INTEGER, err_sqlstate TEXT, err_text TEXT, err_hint TEXT, err_position INTEGER, "
    "err_position_end INTEGER, err_line INTEGER,"
    " err_column INTEGER, PRIMARY KEY (query, ordinal)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE idempotency (workspace INTEGER NOT NULL, user INTEGER NOT NULL, key TEXT NOT NULL, body "
    "BLOB NOT NULL, query BLOB NOT NULL,"
    " created_ms INTEGER NOT NULL, PRIMARY KEY (workspace, user, key)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX idempotency_age ON idempotency (created_ms);"
    "CREATE TABLE workspace_limit (workspace INTEGER NOT NULL REFERENCES workspace, key TEXT NOT NULL, value "
    "INTEGER NOT NULL,"
    " PRIMARY KEY (workspace, key)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE instance (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind INTEGER NOT NULL, host "
    "TEXT NOT NULL, port INTEGER NOT NULL,"
    " tls TEXT NOT NULL, created_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE source (id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, workspace INTEGER NOT NULL "
    "REFERENCES workspace, user INTEGER NOT NULL REFERENCES user,"
    " name TEXT NOT NULL COLLATE NOCASE, label TEXT NOT NULL, kind INTEGER NOT NULL, scope INTEGER NOT NULL, "
    "description TEXT, instance TEXT, address TEXT,"
    " username TEXT, database TEXT, secret BLOB, created_ms INTEGER NOT NULL, UNIQUE (workspace, name)) "
    "STRICT;"
    "CREATE TABLE saved_sql (id BLOB NOT NULL UNIQUE, workspace INTEGER NOT NULL REFERENCES workspace, user "
    "INTEGER NOT NULL REFERENCES user,"
    " title TEXT NOT NULL, description TEXT, sql TEXT NOT NULL, created_ms INTEGER NOT NULL, last_query "
    "BLOB) "
    "STRICT;"
    "CREATE INDEX saved_newest ON saved_sql (workspace, created_ms DESC, id DESC);"
    "CREATE TABLE saved_count (workspace INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT;"
    "CREATE TRIGGER saved_in AFTER INSERT ON saved_sql BEGIN"
    " INSERT INTO saved_count VALUES (new.workspace, 1) ON CONFLICT DO UPDATE SET n = n + 1; END;",
    "ALTER TABLE workspace ADD COLUMN removed INTEGER NOT NULL DEFAULT 0;",
};
const int registry__nmigrations = sizeof registry__migrations / sizeof registry__migrations[0];

#define QUERY_COLUMNS                                                                                        \
    "q.id, q.workspace, q.user, q.dialect, q.state, q.phase, q.ending, q.profile, q.kind, q.sql, q.params, " \
    "q.default_source,"                                                                                      \
    " q.default_database, q.timezone, q.language, q.bucket, q.path, q.request, q.row_limit, "                \
    "q.run_timeout_ms, q.reuse, q.reused, q.read_only,"                                                      \
    " q.exposed, q.scanned, q.stored, q.cut, q.max_reuse_age_s, q.created_ms, q.started_ms, q.ended_ms, "    \
    "q.expires_ms, q.gone_ms,"                                                                               \
    " q.reused_created_ms, q.queued_ns, q.plan_ns, q.run_ns, q.elapsed_ns, q.rows_scanned, "                 \
    "q.bytes_scanned, q.runs, q.err_code, q.err_sqlstate,"                                                   \
    " q.err_text, q.err_hint, q.err_position, q.err_position_end, q.err_line, q.err_column"

#define SAVED_COLUMNS                                                                                        \
    "SELECT s.id, s.workspace, s.user, u.name, s.title, s.description, s.sql, s.created_ms, s.last_query"    \
    " FROM saved_sql s JOIN user u ON u.id = s.user"

const char *const registry__sql[REG_STMTS] = {
    [REG_BEGIN] = "BEGIN IMMEDIATE",
    [REG_BEGIN_READ] = "BEGIN",
    [REG_COMMIT] = "COMMIT",
    [REG_ROLLBACK] = "ROLLBACK",
    [REG_SAVE] = "SAVEPOINT w",
    [REG_UNSAVE] = "ROLLBACK TO w",
    [REG_RELEASE] = "RELEASE w",
    [REG_QUERY_PUT] =
        "INSERT INTO query VALUES "
        "(NULL,?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24,?25,?"
        "26,?27,"
        "?28,?29,?30,?31,?32,?33,?34,?35,?36,?37,?38,?39,?40,?41,?42,?43,?44,?45,?46,?47,?48,?49,0,?50,0,0,"
        "0,?51,?52,?53)",
    [REG_QUERY_FIND] = "SELECT seq, workspace, user, state FROM query WHERE id = ?1",
    [REG_QUERY_RUNNING] =
        "UPDATE query SET state = 2, started_ms = ?2, runs = ?3, writes = ?4 WHERE seq = ?1",
    [REG_QUERY_EXPOSED] = "UPDATE query SET exposed = 1 WHERE seq = ?1",
    [REG_QUERY_NOTE] = "UPDATE query SET note = ?2 WHERE seq = ?1",
    [REG_QUERY_REQUEUED] = "UPDATE query SET state = 1, phase = 0, started_ms = 0 WHERE seq = ?1",
    [REG_QUERY_END] = "UPDATE query SET state=?2, phase=?3, ending=?4, kind=?5, reused=?6, scanned=?7, "
                      "stored=?8, cut=?9, started_ms=?10, ended_ms=?11,"
                      " expires_ms=?12, reused_created_ms=?13, queued_ns=?14, plan_ns=?15, run_ns=?16, "
                      "elapsed_ns=?17, rows_scanned=?18, bytes_scanned=?19,"
                      " runs=?20, err_code=?21, err_sqlstate=?22, err_text=?23, err_hint=?24, "
                      "err_position=?25, err_position_end=?26, err_line=?27,"
                      " err_column=?28, file_bytes=?29, file_replaced=?30, peak_memory=?31 WHERE seq=?1",
    [REG_QUERY_GONE] = "UPDATE query SET gone_ms = ?2 WHERE seq = ?1 AND gone_ms = 0",
    [REG_QUERY_GONE_INLINE] = "UPDATE result SET inline_index = NULL, inline_body = NULL WHERE query = ?1",
    [REG_QUERY_DELETE] = "DELETE FROM query WHERE seq = ?1",
    [REG_QUERY_COUNT] =
        "INSERT INTO query_count VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET n = n + ?4",
    [REG_RESULT_PUT] = "INSERT OR REPLACE INTO result VALUES "
                       "(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,"
                       "?19,?20,?21,?22,?23,?24,?25,?26)",
    [REG_RESULT_DELETE] = "DELETE FROM result WHERE query = ?1",
    [REG_RESULT_COUNT] = "SELECT count(*) FROM result WHERE query = ?1",
    [REG_QUERY_GET] =
        "SELECT " QUERY_COLUMNS ", u.name, w.name, q.note, q.writes, q.file_bytes, q.file_replaced, "
        "q.peak_memory, q.seq, q.script, q.keep_ms FROM query q JOIN "
        "user u ON u.id = q.user JOIN workspace w ON w.id = q.workspace WHERE q.id = ?1",
    [REG_RESULT_GET] = "SELECT ordinal, kind, update_count, rows, bytes, schema, sealed, file_size, "
                       "stream_len, nbatches, footer_crc, cut, inline_index,"
                       " inline_body, origin, started_ms, ended_ms, err_code, err_sqlstate, err_text, "
                       "err_hint, err_position, err_position_end, err_line, err_column"
                       " FROM result WHERE query = ?1 ORDER BY ordinal",
    [REG_UNFINISHED] = "SELECT q.id FROM workspace w CROSS JOIN query q INDEXED BY query_by_state ON "
                       "q.workspace = w.id AND q.state IN (1, 2) ORDER BY q.seq",
    [REG_EACH_SEALED] = "SELECT q.id, r.ordinal FROM result r JOIN query q ON q.seq = r.query WHERE "
                        "r.sealed = 1 AND q.gone_ms = 0",
    [REG_STORED_BYTES] = "SELECT q.workspace, sum(r.file_size) FROM result r JOIN query q ON q.seq = r.query "
                         "WHERE r.sealed = 1 AND q.gone_ms = 0 GROUP BY 1",
    [REG_REUSABLE] =
        "SELECT q.id, q.workspace, q.created_ms, q.reuse_key FROM query q JOIN workspace w ON w.id = "
        "q.workspace WHERE q.seq > (SELECT max(seq) FROM query) - ?2 AND q.reuse_key IS NOT NULL "
        "AND q.state = 3 AND q.kind = 0 AND q.reused = 0 AND q.gone_ms = 0 AND q.created_ms > ?1 "
        "AND q.seq > w.written_seq ORDER BY q.seq",
    [REG_UNREUSABLE] =
        "UPDATE workspace SET written_seq = (SELECT coalesce(max(seq), 0) FROM query) WHERE id = ?1",
    [REG_IDEMPOTENCY_GET] =
        "SELECT body, query FROM idempotency WHERE workspace = ?1 AND user = ?2 AND key = ?3",
    [REG_IDEMPOTENCY_PUT] = "INSERT INTO idempotency VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [REG_IDEMPOTENCY_DROP] = "DELETE FROM idempotency WHERE (workspace, user, key) IN (SELECT workspace, "
                             "user, key FROM idempotency WHERE created_ms < ?1 LIMIT ?2)",
    [REG_EXPIRED] = "SELECT id FROM query WHERE gone_ms = 0 AND expires_ms > 0 AND expires_ms <= ?1 LIMIT ?2",
    /* An id begins with the second of its creation, which is before the end. */
    [REG_HISTORIC] = "SELECT id FROM query WHERE id < ?3 AND ended_ms > 0 AND ended_ms < ?1 "
                     /* what is kept until it is deleted stays */
                     "AND (keep_ms <> -1 OR gone_ms > 0) ORDER BY id LIMIT ?2",
    [REG_DELIVERED] =
        "SELECT id, created_ms, seq FROM query WHERE workspace = ?1 AND (created_ms, seq) > (?2, ?3) "
        "AND dialect = ?4 AND gone_ms = 0 AND bucket IS NOT NULL AND max(created_ms, ended_ms) < ?5"
        " ORDER BY created_ms, seq LIMIT ?6",
    [REG_WORKSPACE_FIND] = "SELECT id FROM workspace WHERE name = ?1",
    [REG_WORKSPACE_PUT] = "INSERT INTO workspace (name, uuid, created_ms) VALUES (?1, ?2, ?3)",
    [REG_WORKSPACE_EACH] =
        "SELECT id, name, uuid, created_ms, epoch, stopped FROM workspace WHERE removed = 0 ORDER BY id",
    [REG_REMOVE_NAME] = "UPDATE workspace SET removed = 1, name = 'removed/' || uuid, epoch = epoch + 1, "
                        "stopped = 0 WHERE id = ?1 AND removed = 0",
    [REG_REMOVE_KEYS] = "DELETE FROM key WHERE workspace = ?1",
    [REG_REMOVE_BUCKETS] = "DELETE FROM bucket WHERE workspace = ?1",
    [REG_REMOVE_DATASETS] = "DELETE FROM dataset WHERE workspace = ?1",
    [REG_REMOVE_SOURCES] = "DELETE FROM source WHERE workspace = ?1",
    [REG_REMOVE_LIMITS] = "DELETE FROM workspace_limit WHERE workspace = ?1",
    [REG_REMOVE_SAVED] = "DELETE FROM saved_sql WHERE workspace = ?1",
    [REG_REMOVE_SAVED_COUNT] = "DELETE FROM saved_count WHERE workspace = ?1",
    [REG_REMOVE_IDEMPOTENCY] = "DELETE FROM idempotency WHERE workspace = ?1",
    [REG_ERASED] = "UPDATE workspace SET removed = 2 WHERE id = ?1 AND removed <> 0",
    [REG_ERASED_COUNTS] = "DELETE FROM query_count WHERE workspace = ?1",
    /* a submit that was under way at the removal may have come after the erasing */
    [REG_ERASABLE] =
        "SELECT id, uuid FROM workspace w WHERE removed = 1 OR (removed = 2 AND EXISTS (SELECT 1 "
        "FROM query q WHERE q.workspace = w.id)) ORDER BY id LIMIT 1",
    [REG_ERASABLE_QUERIES] = "SELECT id FROM query WHERE workspace = ?1 LIMIT ?2",
    [REG_WORKSPACE_STOP] = "UPDATE workspace SET stopped = ?2 WHERE id = ?1",
    [REG_NEWEST] = "SELECT max(created_ms, ended_ms) FROM query INDEXED BY query_newest WHERE workspace = ?1 "
                   "ORDER BY created_ms DESC LIMIT 1",
    [REG_SAVED_PUT] = "INSERT INTO saved_sql (id, workspace, user, title, description, sql, created_ms) "
                      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [REG_SAVED_RAN] = "UPDATE saved_sql SET last_query = ?2 WHERE id = ?1 AND EXISTS (SELECT 1 FROM query "
                      "WHERE query.id = ?2)",
    [REG_SAVED_COUNT] = "SELECT n FROM saved_count WHERE workspace = ?1",
    [REG_SAVED_GET] = SAVED_COLUMNS " WHERE s.id = ?1",
    [REG_SAVED_EACH] = SAVED_COLUMNS " WHERE s.workspace = ?1 AND (s.created_ms, s.id) < (?2, ?3)"
                                     " ORDER BY s.created_ms DESC, s.id DESC LIMIT ?4 OFFSET ?5",
    [REG_WORKSPACE_EPOCH] = "UPDATE workspace SET epoch = epoch + 1 WHERE id = ?1",
    [REG_LIMIT_PUT] = "INSERT INTO workspace_limit (workspace, key, value) VALUES (?1, ?2, ?3) ON CONFLICT "
                      "DO UPDATE SET value = ?3",
    [REG_LIMIT_DELETE] = "DELETE FROM workspace_limit WHERE workspace = ?1 AND key = ?2",
    [REG_LIMIT_EACH] = "SELECT workspace, key, value FROM workspace_limit ORDER BY workspace, key",
    [REG_USER_FIND] = "SELECT id FROM user WHERE name = ?1",
    [REG_USER_PUT] = "INSERT INTO user (name, created_ms) VALUES (?1, ?2)",
    [REG_KEY_PUT] = "INSERT INTO key (key_id, workspace, user, role, hash, created_ms, expires_ms) VALUES "
                    "(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [REG_KEY_REVOKE] = "UPDATE key SET revoked_ms = ?2 WHERE key_id = ?1 AND revoked_ms = 0",
    [REG_KEY_EXPIRES] = "UPDATE key SET expires_ms = ?2 WHERE key_id = ?1 AND revoked_ms = 0",
    [REG_KEY_EACH] =
        "SELECT k.id, k.key_id, k.workspace, k.user, w.name, w.uuid, u.name, k.role, k.hash, k.created_ms, "
        "k.revoked_ms, k.expires_ms"
        " FROM key k JOIN workspace w ON w.id = k.workspace JOIN user u ON u.id = k.user ORDER BY k.id",
    [REG_BUCKET_PUT] = "INSERT INTO bucket (workspace, name, url, read_only, is_default, created_ms) VALUES "
                       "(?1, ?2, ?3, ?4, ?5, ?6)",
    [REG_BUCKET_UNDEFAULT] = "UPDATE bucket SET is_default = 0 WHERE workspace = ?1",
    [REG_BUCKET_EACH] =
        "SELECT id, workspace, name, url, read_only, is_default, created_ms FROM bucket ORDER BY id",
    [REG_DATASET_PUT] = "INSERT INTO dataset (workspace, name, path, format, folder, created_ms) VALUES (?1, "
                        "?2, ?3, ?4, ?5, ?6)",
    [REG_DATASET_DELETE] = "DELETE FROM dataset WHERE workspace = ?1 AND name = ?2",
    [REG_DATASET_EACH] =
        "SELECT id, workspace, name, path, format, folder, created_ms FROM dataset ORDER BY id",
    [REG_INSTANCE_PUT] =
        "INSERT INTO instance (name, kind, host, port, tls, created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [REG_INSTANCE_DELETE] = "DELETE FROM instance WHERE name = ?1",
    [REG_INSTANCE_EACH] = "SELECT name, kind, host, port, tls, created_ms FROM instance ORDER BY id",
    [REG_SOURCE_PUT] =
        "INSERT INTO source (uid, workspace, user, name, label, kind, scope, description, instance, address, "
        "username, database, secret, created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, "
        "?13, ?14)",
    [REG_SOURCE_DELETE] = "DELETE FROM source WHERE id = ?1",
    [REG_SOURCE_EACH] =
        "SELECT s.id, s.uid, s.workspace, s.user, u.name, s.name, s.label, s.kind, s.scope, s.description, "
        "s.instance, s.address, s.username, s.database, s.secret, s.created_ms"
        " FROM source s JOIN user u ON u.id = s.user ORDER BY s.id",
};
