"""The workspace's catalog through Kakao: DDL and DML, readers beside writers, waiting and its limit, what SQL may not touch, and what stays."""
import glob
import os
import random
import re
import signal
import threading
import time

import pytest

from quern_client import PATIENCE, descendants, wait_until

SEED = int(os.environ.get("QUERN_SEED") or random.SystemRandom().randrange(1 << 30))
# Endless as far as a test is concerned; obeys an interrupt. Reads a table of the catalog.
LONG = "SELECT count(sleep_ms(1000000000)) FROM (SELECT 1) a LEFT JOIN {} b ON true"
LOCK_WORDS = re.compile(r"lock|Conflict|read-only|wal|/tmp|/work|\.duckdb", re.IGNORECASE)


def good(d, sql, **more):
    body = d.kakao_query(sql, **more)
    assert body["queryInfo"]["state"] == "FINISHED", f"{sql}: {body}"
    return body


def rows(d, sql, **more):
    return good(d, sql, **more)["queryData"]


def bad(d, sql, name=None, text=None, **more):
    body = d.kakao_query(sql, **more)
    assert body["queryInfo"]["state"] == "FAILED", f"{sql}: {body}"
    error = body["queryInfo"]["error"]
    assert name is None or error["name"] == name, f"{sql}: {error}"
    assert text is None or re.search(text, error["message"]), f"{sql}: {error}"
    return error


def engines(d):
    return [p for (p, _), n in descendants(d.process.pid).items() if n == "quern-engine"]


def running(d, sql):
    qid = d.kakao_run(sql)
    assert d.kakao_wait(qid, states=("RUNNING", "FINISHED", "FAILED"))["queryInfo"]["state"] == "RUNNING"
    return qid


def waiting(d):
    return d.metrics()["quern_catalog_waiting"]


@pytest.fixture(scope="module")
def own():
    from quern_client import Daemon
    daemon = Daemon(env={"QUERN_ENGINE_SLOTS": "4", "QUERN_CATALOG_MAX_WRITER_WAIT": "3s", "QUERN_CATALOG_WAIT": "3600s"})
    daemon.prepare().start()
    yield daemon
    daemon.finish()


@pytest.fixture
def d(own):
    yield own
    own.abort_all()


# --- what works ---------------------------------------------------------------------------------------------------


def test_statements(d):
    body = good(d, "CREATE TABLE t AS SELECT range AS a, 'x' || range AS b FROM range(10)")
    assert body["resultConfig"]["isStored"] is False and body["queryData"] == [] and body["columnData"] == [], body
    assert rows(d, "SELECT count(*), max(b) FROM t") == [["10", "x9"]]
    good(d, "INSERT INTO t VALUES (10, 'y'), (11, NULL)")
    good(d, "INSERT INTO data_catalog.main.t SELECT a + 100, b FROM data_catalog.main.t", database=None, source=None)
    assert rows(d, "SELECT count(*) FROM t") == [["24"]]
    good(d, "UPDATE t SET b = 'z' WHERE a >= 100")
    good(d, "DELETE FROM t WHERE b = 'z'")
    good(d, "WITH n AS (SELECT 77 AS a) INSERT INTO t SELECT a, 'with' FROM n")
    good(d, "MERGE INTO t USING (SELECT 77 AS a, 'merged' AS b) s ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = s.b")
    assert rows(d, "SELECT a, b FROM t WHERE a >= 10 ORDER BY a") == [["10", "y"], ["11", None], ["77", "merged"]]
    good(d, "ALTER TABLE t ADD COLUMN c INTEGER DEFAULT 5")
    assert rows(d, "SELECT sum(c) FROM t") == [["65"]]
    good(d, "CREATE VIEW v AS SELECT a * 2 AS d FROM t")
    assert rows(d, "SELECT max(d) FROM v") == [["154"]]
    good(d, "CREATE SCHEMA s")
    good(d, "CREATE TABLE s.u (i INTEGER PRIMARY KEY)")
    good(d, "INSERT INTO s.u VALUES (1)")
    assert rows(d, "SELECT i FROM u", database="s") == [["1"]]
    assert rows(d, "SELECT count(*) FROM flights f, s.u") == [["3000000"]]
    good(d, "TRUNCATE s.u")
    assert rows(d, "SELECT count(*) FROM s.u") == [["0"]]
    for sql in ("DROP TABLE s.u", "DROP SCHEMA s", "DROP VIEW v", "DROP TABLE t"):
        good(d, sql)
    bad(d, "SELECT * FROM t", "TABLE_NOT_FOUND")
    assert rows(d, "SHOW TABLES") == [["flights"]]


def test_a_statement_that_changes_rows_has_read_them(d):
    good(d, "CREATE TABLE u (a INTEGER)")
    scanned = [good(d, sql)["queryInfo"]["isScanned"] for sql in (
        "INSERT INTO u VALUES (1), (2)", "UPDATE u SET a = a + 1", "DELETE FROM u WHERE a = 9",
        "MERGE INTO u USING (SELECT 2 AS b) AS x ON u.a = x.b WHEN MATCHED THEN UPDATE SET a = 5", "SELECT 1 AS \"update\"")]
    assert scanned == [False, True, True, True, False]
    good(d, "DROP TABLE u")


def test_a_write_can_be_explained_and_is_not_made(d):
    good(d, "CREATE TABLE plan (a INTEGER)")
    for sql, word in [("INSERT INTO plan VALUES (1)", "INSERT"), ("UPDATE plan SET a = 2", "UPDATE"), ("DELETE FROM plan", "DELETE"),
                      ("CREATE TABLE plan2 AS SELECT 1 AS a", "CREATE"), ("DROP TABLE plan", "DROP")]:
        body = good(d, f"EXPLAIN {sql}")
        assert body["columnData"][0]["name"] == "Query Plan" and any(word in line for line, in body["queryData"]), body
    assert rows(d, "SELECT count(*) FROM plan") == [["0"]]
    bad(d, "SELECT * FROM plan2", "TABLE_NOT_FOUND")
    good(d, "DROP TABLE plan")


def test_returning_rows(d):
    good(d, "CREATE TABLE r (a INTEGER)")
    body = good(d, "INSERT INTO r SELECT range FROM range(5) RETURNING a, a * 10 AS b")
    assert [c["name"] for c in body["columnData"]] == ["a", "b"] if "name" in body["columnData"][0] else True
    assert body["queryData"] == [[str(i), str(i * 10)] for i in range(5)]
    good(d, "DROP TABLE r")


def test_errors_change_nothing(d):
    good(d, "CREATE TABLE e (a INTEGER NOT NULL)")
    bad(d, "INSERT INTO e SELECT CASE WHEN range = 5000 THEN NULL ELSE range END FROM range(10000)")
    bad(d, "INSERT INTO e SELECT cast(CASE WHEN range = 9000 THEN 'x' ELSE '1' END AS INTEGER) FROM range(10000)", "INVALID_CAST_ARGUMENT")
    bad(d, "CREATE TABLE e (b INTEGER)", "TABLE_ALREADY_EXISTS")
    bad(d, "CREATE SCHEMA main", "SCHEMA_ALREADY_EXISTS")
    bad(d, "ALTER TABLE e ADD COLUMN a INTEGER", "COLUMN_ALREADY_EXISTS")
    bad(d, "CREATE TABLE e2 AS SELECT cast('x' AS INTEGER)", "INVALID_CAST_ARGUMENT")
    bad(d, "INSERT INTO nosuch VALUES (1)", "TABLE_NOT_FOUND")
    bad(d, "INSERT INTO e VALUES (1", "SYNTAX_ERROR")
    bad(d, "DROP TABLE nosuch", "TABLE_NOT_FOUND")
    assert rows(d, "SELECT count(*) FROM e") == [["0"]]
    bad(d, "SELECT * FROM e2", "TABLE_NOT_FOUND")
    good(d, "DROP TABLE e")


def test_datasets_cannot_be_touched(d):
    good(d, "CREATE TABLE keep AS SELECT 1 AS a")
    for sql in ("DROP VIEW flights", "DROP VIEW IF EXISTS flights", "CREATE OR REPLACE VIEW flights AS SELECT 1 AS x", "ALTER VIEW flights RENAME TO f2", "DROP SCHEMA main CASCADE",
                "DROP SCHEMA quern_internal CASCADE", "DROP TABLE quern_internal.writer", "ALTER TABLE quern_internal.writer RENAME TO w2"):
        bad(d, sql)
    for sql in ("INSERT INTO flights SELECT * FROM flights", "UPDATE flights SET origin = 'x'", "DELETE FROM flights", "DROP TABLE flights", "CREATE TABLE flights (a INTEGER)",
                "CREATE OR REPLACE TABLE flights AS SELECT 1 AS a"):
        bad(d, sql)
    for sql in ("CREATE TABLE memory.main.x (a INTEGER)", "CREATE SCHEMA memory.x", "CREATE TEMP TABLE x (a INTEGER)", "CREATE MACRO m(a) AS a", "CREATE SEQUENCE q", "CREATE TYPE m AS ENUM ('a')",
                "CREATE INDEX i ON keep (a)", "CREATE SECRET x (TYPE s3)", "ATTACH ':memory:' AS x", "DETACH data_catalog", "CHECKPOINT", "BEGIN", "COMMIT", "VACUUM", "USE data_catalog.main",
                "COPY keep TO 'x.csv'", "COPY keep FROM 'x.csv'", "SET threads = 1", "PRAGMA database_list", "EXPORT DATABASE 'x'", "CALL force_checkpoint()"):
        bad(d, sql, "PERMISSION_DENIED")
    assert rows(d, "SELECT count(*) FROM flights") == [["3000000"]]
    assert rows(d, "SELECT count(*) FROM flights, keep") == [["3000000"]]
    good(d, "DROP TABLE keep")


def test_a_catalog_shows_only_what_its_users_made(d):
    """What the writer needs for itself is nowhere to be seen, read or taken; a value that says its name is only a value."""
    good(d, "CREATE TABLE mine AS SELECT 'quern_internal' AS a")
    assert rows(d, "SELECT schema_name FROM information_schema.schemata WHERE catalog_name = 'data_catalog'") == [["main"]]
    assert [r for r in rows(d, "SELECT table_schema, table_name FROM information_schema.tables") if r[0] != "main"] == []
    assert rows(d, "SELECT count(*) FROM duckdb_tables() WHERE schema_name <> 'main'") == [["0"]]
    assert rows(d, "SELECT a FROM mine WHERE a = 'quern_internal'") == [["quern_internal"]]
    bad(d, "SELECT * FROM quern_internal.writer", "SCHEMA_NOT_FOUND")
    for sql in ("CREATE SCHEMA quern_internal", 'CREATE TABLE data_catalog."Quern_Internal".x (a INTEGER)', "INSERT INTO quern_internal.writer VALUES (1)",
                "ALTER TABLE quern_internal.writer ADD COLUMN b INTEGER", "DROP SCHEMA IF EXISTS quern_internal"):
        bad(d, sql, "PERMISSION_DENIED", "the schema quern_internal is not allowed here")
    good(d, "DROP TABLE mine")


def test_other_dialect_only_reads(d):
    good(d, "CREATE TABLE seen AS SELECT 42 AS a")
    answer = d.d360_submit("SELECT a FROM seen")
    assert answer.json()["data"] == [[42]], answer.text
    for sql in ("INSERT INTO seen VALUES (1)", "CREATE TABLE x (a INTEGER)", "DROP TABLE seen", "DELETE FROM seen", "UPDATE seen SET a = 1", "CREATE VIEW x AS SELECT 1", "CREATE SCHEMA x",
                "WITH n AS (SELECT 1) INSERT INTO seen SELECT * FROM n", "INSERT INTO seen VALUES (1) RETURNING a", "EXPLAIN ANALYZE INSERT INTO seen VALUES (1)"):
        for mode in ("ADAPTIVE", "ASYNC"):
            answer = d.d360_submit(sql, mode=mode, check=False)
            assert answer.status_code == 400 and answer.json()["error"] == "0A000", f"{sql}: {answer.status_code} {answer.text}"
    assert rows(d, "SELECT * FROM seen") == [["42"]]
    good(d, "DROP TABLE seen")


def test_workspaces_have_their_own(d):
    other = d.new_key(workspace="w2", user="erin")
    os.makedirs(os.path.join(d.folder, "b2"), exist_ok=True)
    d.admin("bucket", "create", "b1", "--url", "file://" + os.path.join(d.folder, "b2"), "--workspace", "w2")
    good(d, "CREATE TABLE mine AS SELECT 1 AS a")
    bad(d, "SELECT * FROM mine", "TABLE_NOT_FOUND", key=other)
    good(d, "CREATE TABLE mine AS SELECT 2 AS a", key=other)
    assert rows(d, "SELECT a FROM mine") == [["1"]] and rows(d, "SELECT a FROM mine", key=other) == [["2"]]
    good(d, "DROP TABLE mine")
    good(d, "DROP TABLE mine", key=other)


def test_a_reader_key_may_not_write(d):
    reader = d.new_key(user="dave", role="reader")
    assert d.kakao_run("CREATE TABLE x (a INTEGER)", key=reader, check=False).status_code == 403
    member = d.new_key(user="bob", role="member")
    good(d, "CREATE TABLE x (a INTEGER)", key=member)
    good(d, "DROP TABLE x", key=member)


# --- waiting ------------------------------------------------------------------------------------------------------


def test_a_long_reader_and_a_writer(d):
    """The writer waits QUEUED and holds no slot; readers wait behind it for catalog.max_writer_wait, then pass; what does not touch the catalog never waits."""
    good(d, "CREATE TABLE l AS SELECT 1 AS a")
    blocker = running(d, LONG.format("l"))
    insert = d.kakao_run("INSERT INTO l VALUES (2)")
    wait_until("the writer waits", lambda: waiting(d) >= 1)
    assert d.kakao_get(insert)["queryInfo"]["state"] == "QUEUED"
    assert rows(d, "SELECT 1") == [["1"]]
    assert rows(d, "SELECT count(*) FROM flights WHERE origin = 'nowhere'") == [["0"]]
    assert rows(d, "SELECT a FROM l") == [["1"]], "a reader passes"
    assert d.kakao_get(insert)["queryInfo"]["state"] == "QUEUED"
    assert d.kakao_abort(blocker).status_code == 200
    assert d.kakao_wait(insert)["queryInfo"]["state"] == "FINISHED"
    assert rows(d, "SELECT sum(a) FROM l") == [["3"]]
    good(d, "DROP TABLE l")


def test_waiting_writers_hold_no_slot(d):
    good(d, "CREATE TABLE n AS SELECT 0 AS a")
    blocker = running(d, LONG.format("n"))
    inserts = [d.kakao_run(f"INSERT INTO n VALUES ({i})") for i in range(1, 9)]
    wait_until("eight writers wait", lambda: waiting(d) == 8)
    assert rows(d, "SELECT 1") == [["1"]], "all slots but one are free"
    # Canceled while it waits: at once, for good, and the others go on.
    gone = inserts.pop(3)
    assert d.kakao_abort(gone).json()["queryInfo"]["state"] == "ABORTED"
    wait_until("seven writers wait", lambda: waiting(d) == 7)
    assert d.kakao_abort(blocker).status_code == 200
    for qid in inserts:
        assert d.kakao_wait(qid)["queryInfo"]["state"] == "FINISHED"
    assert d.kakao_get(gone)["queryInfo"]["state"] == "ABORTED"
    assert rows(d, "SELECT count(*), sum(a) FROM n") == [["8", str(36 - 4)]]
    assert waiting(d) == 0
    good(d, "DROP TABLE n")


def test_writers_in_order(d):
    """Two writers at once: both work, in the order in which they came to the lock."""
    good(d, "CREATE TABLE o (a INTEGER)")
    blocker = running(d, LONG.format("o"))
    inserts = []
    for i in range(6):
        inserts.append(d.kakao_run(f"INSERT INTO o SELECT {i} WHERE (SELECT count(*) FROM o) = {i}"))
        wait_until("it stands in the line", lambda: waiting(d) == i + 1)
    assert d.kakao_abort(blocker).status_code == 200
    for qid in inserts:
        assert d.kakao_wait(qid)["queryInfo"]["state"] == "FINISHED"
    assert rows(d, "SELECT count(*) FROM o") == [["6"]], "each found what those before it had written"
    good(d, "DROP TABLE o")


def test_writes_submitted_without_waiting(d):
    """One after the other on one connection, none waits for the one before, all slots are free: workers take them at the same instant, and still each
    finds what those before it had written."""
    for turn in range(3):
        made = [d.kakao_run(f"CREATE TABLE s{turn} (a INTEGER)")]
        made += [d.kakao_run(f"INSERT INTO s{turn} SELECT {i} WHERE (SELECT count(*) FROM s{turn}) = {i}") for i in range(8)]
        made.append(d.kakao_run(f"SELECT count(*) FROM s{turn}"))
        bodies = [d.kakao_wait(qid) for qid in made]
        assert {b["queryInfo"]["state"] for b in bodies} == {"FINISHED"}, bodies
        assert bodies[-1]["queryData"] == [["8"]]
        good(d, f"DROP TABLE s{turn}")


def test_writes_that_follow_each_other(d):
    """Each submitted when the one before has begun to wait or run: each finds what the one before made."""
    good(d, "CREATE TABLE first AS SELECT 1 AS a")
    blocker = running(d, LONG.format("first"))
    made = []
    for sql in ("CREATE TABLE q (a INTEGER)", "INSERT INTO q VALUES (1)", "UPDATE q SET a = a + 1", "CREATE TABLE qb AS SELECT * FROM q", "DROP TABLE q"):
        made.append(d.kakao_run(sql))
        wait_until("it stands in the line", lambda: waiting(d) == len(made))
    assert d.kakao_abort(blocker).status_code == 200
    for qid in made:
        body = d.kakao_wait(qid)
        assert body["queryInfo"]["state"] == "FINISHED", body
    assert rows(d, "SELECT a FROM qb") == [["2"]]
    good(d, "DROP TABLE qb")


def test_canceled_writers(d):
    """A writer that is canceled in the middle of its work leaves nothing, and the next one works."""
    print("seed", SEED)
    rng = random.Random(SEED)
    good(d, "CREATE TABLE c (a BIGINT)")
    for _ in range(3):
        qid = running(d, "INSERT INTO c SELECT a.range FROM range(100000) a, range(1000000) b")
        time.sleep(rng.random())
        assert d.kakao_abort(qid).status_code == 200
        assert rows(d, "SELECT count(*) FROM c") == [["0"]]
    good(d, "INSERT INTO c VALUES (1)")
    good(d, "DROP TABLE c")


def test_a_writer_is_killed(d):
    """SIGKILL of the writer's process in the middle of an INSERT."""
    print("seed", SEED)
    rng = random.Random(SEED)
    good(d, "CREATE TABLE k AS SELECT range AS a FROM range(1000)")
    for _ in range(3):
        qid = running(d, "INSERT INTO k SELECT a.range FROM range(100000) a, range(1000000) b")
        folder = os.path.join(d.data, "catalog")

        def writer():
            for pid in engines(d):
                try:
                    for fd in os.listdir(f"/proc/{pid}/fd"):
                        if os.readlink(f"/proc/{pid}/fd/{fd}").startswith(folder):
                            with open(f"/proc/{pid}/fdinfo/{fd}") as f:
                                flags = int(re.search(r"flags:\s+(\d+)", f.read()).group(1), 8)
                            if flags & os.O_ACCMODE != os.O_RDONLY:  # a reader may just be leaving
                                return pid
                except OSError:
                    pass
            return None

        pid = wait_until("the writer has the file", writer)
        time.sleep(0.2 + rng.random())
        os.kill(pid, signal.SIGKILL)
        error = d.kakao_wait(qid)["queryInfo"]["error"]
        assert "SIGKILL" in error["message"] and not LOCK_WORDS.search(error["message"]), error
        assert rows(d, "SELECT count(*) FROM k") == [["1000"]]
        good(d, "INSERT INTO k VALUES (1)")
        good(d, "DELETE FROM k WHERE a = 1")
        good(d, "INSERT INTO k VALUES (1)")
    good(d, "DROP TABLE k")


def test_cancel_with_the_lock_in_hand(make_daemon):
    """A writer that has got the lock and waits for a slot, all of which another workspace has: canceled there it gives the lock back."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "2"})
    other = d.new_key(workspace="w2", user="erin")
    d.admin("bucket", "create", "b1", "--url", "file://" + d.bucket_dir, "--workspace", "w2")
    good(d, "CREATE TABLE g AS SELECT 1 AS a")
    for _ in range(3):
        reader = running(d, LONG.format("g"))
        writer = d.kakao_run("INSERT INTO g VALUES (2)")
        wait_until("the writer waits", lambda: waiting(d) == 1)
        others = [d.kakao_run(LONG.format("range(1)"), key=other) for _ in range(3)]
        d.kakao_wait(others[0], key=other, states=("RUNNING",))
        assert d.kakao_abort(reader).status_code == 200
        wait_until("the writer has the lock", lambda: waiting(d) == 0)
        d.kakao_abort(writer)
        for qid in others:
            assert d.kakao_abort(qid, key=other).status_code == 200
        state = d.kakao_wait(writer)["queryInfo"]["state"]
        assert state in ("ABORTED", "FINISHED"), state
        good(d, "DELETE FROM g WHERE a = 2")
        assert rows(d, "SELECT sum(a) FROM g") == [["1"]]


# --- many at once -------------------------------------------------------------------------------------------------


def test_readers_and_writers_mixed(make_daemon):
    """20 readers and 4 writers under way together: nobody sees half a write, nobody hears of a lock. (A writer is passed by readers only after a long
    time: where each read is slow, none would get its turn.)"""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "4", "QUERN_CATALOG_MAX_WRITER_WAIT": "600s", "QUERN_CATALOG_WAIT": "3600s"})
    print("seed", SEED)
    good(d, "CREATE TABLE m AS SELECT range AS a, 0 AS v FROM range(1000)")
    end, last = time.monotonic() + 12, time.monotonic() + PATIENCE
    wrong, done = [], {"read": 0, "write": 0}
    lock = threading.Lock()

    def going_on():
        """Some seconds, and longer where little was done in them."""
        now = time.monotonic()
        return not wrong and (now < end or (now < last and (done["read"] <= 20 or done["write"] <= 4)))

    def check(ok, what):
        if not ok:
            with lock:
                wrong.append(what)

    def reader(number):
        seen = -1
        while going_on():
            body = d.kakao_query("SELECT count(*), min(v), max(v) FROM m" + ("" if number % 2 else ", (SELECT 1) x"))
            check(body["queryInfo"]["state"] == "FINISHED", body)
            if body["queryData"]:
                n, low, high = map(int, body["queryData"][0])
                check(n == 1000 and low == high, f"half a write: {body['queryData']}")
                check(high >= seen, f"went back from {seen} to {high}")
                seen = high
                with lock:
                    done["read"] += 1

    def writer(number):
        rng = random.Random(SEED + number)
        while going_on():
            sql = rng.choice(["UPDATE m SET v = v + 1", f"CREATE OR REPLACE TABLE w{number} AS SELECT * FROM m", "CREATE OR REPLACE TABLE m AS SELECT a, v + 1 AS v FROM m"])
            body = d.kakao_query(sql)
            check(body["queryInfo"]["state"] == "FINISHED", f"{sql}: {body}")
            with lock:
                done["write"] += 1
            time.sleep(rng.random() * 0.3)

    threads = [threading.Thread(target=reader, args=(i,)) for i in range(20)] + [threading.Thread(target=writer, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(done)
    assert not wrong, wrong[:3]
    assert done["read"] > 20 and done["write"] > 4, done
    assert "Could not set lock" not in d.log()


# --- what stays ---------------------------------------------------------------------------------------------------


def test_a_write_ends_reuse(d):
    good(d, "CREATE TABLE u AS SELECT 1 AS a")
    sql = "SELECT sum(a) AS total FROM u"
    assert rows(d, sql, reuse=60) == [["1"]]
    again = good(d, sql, reuse=60)
    assert again["reuseConfig"]["reuse"] and again["queryData"] == [["1"]]
    good(d, "INSERT INTO u VALUES (10)")
    assert rows(d, sql, reuse=60) == [["11"]]
    # What was under way when the write came is not taken for what is there afterwards.
    good(d, "DELETE FROM u WHERE a = 10")
    assert rows(d, sql, reuse=60) == [["1"]]
    good(d, "DROP TABLE u")


def test_restart(make_daemon):
    d = make_daemon(flights=True)
    good(d, "CREATE TABLE p AS SELECT range AS a FROM range(100000)")
    good(d, "CREATE VIEW pv AS SELECT max(a) AS m FROM p")
    done = d.kakao_run("INSERT INTO p VALUES (-1)")
    d.kakao_wait(done)
    assert rows(d, "SELECT count(*) FROM p", reuse=60) == [["100001"]]
    for _ in range(2):
        d.restart()
        assert d.kakao_get(done)["queryInfo"]["state"] == "FINISHED"
        assert rows(d, "SELECT count(*), min(a) FROM p") == [["100001", "-1"]]
        assert rows(d, "SELECT m FROM pv") == [["99999"]]
        assert rows(d, "SELECT count(*) FROM flights, (SELECT 1 FROM pv) x") == [["3000000"]]
    good(d, "INSERT INTO p VALUES (-2)")
    d.restart()
    assert rows(d, "SELECT count(*) FROM p", reuse=60) == [["100002"]], "what was stored before the write is not reused after a restart"
    assert not glob.glob(os.path.join(d.data, "catalog", "*", "*.wal"))


def test_datasets_come_and_go(make_daemon):
    d = make_daemon()
    path = os.path.join(d.folder, "extra.csv")
    with open(path, "w") as f:
        f.write("k,v\n1,one\n2,two\n")
    good(d, "CREATE TABLE a AS SELECT 2 AS k")
    bad(d, "SELECT * FROM a JOIN extra USING (k)", "TABLE_NOT_FOUND")
    d.admin("dataset", "add", "extra", "--url", "file://" + path, "--workspace", "w1")
    assert rows(d, "SELECT v FROM extra ORDER BY k") == [["one"], ["two"]]
    assert rows(d, "SELECT v FROM a JOIN extra USING (k)") == [["two"]]
    assert rows(d, "SELECT v FROM a, extra WHERE a.k < extra.k + 1 AND v = 'two'") == [["two"]]
    bad(d, "DROP VIEW extra")
    good(d, "CREATE TABLE b AS SELECT * FROM extra")
    d.admin("dataset", "remove", "extra", "--workspace", "w1")
    bad(d, "SELECT * FROM extra", "TABLE_NOT_FOUND")
    bad(d, "SELECT * FROM a JOIN extra USING (k)", "TABLE_NOT_FOUND")
    assert rows(d, "SHOW TABLES") == [["a"], ["b"]]
    good(d, "CREATE TABLE extra AS SELECT * FROM b")
    assert rows(d, "SELECT count(*) FROM extra") == [["2"]]


@pytest.mark.parametrize("blank", ["\u00a0", "\u2009", "\u3000", "\ufeff"], ids=ascii)
def test_blanks_of_pasted_text(d, blank):
    """Text from pages and chats has other blanks than ASCII's; the engine takes them, so whoever looks for words in a statement must."""
    name = f"pasted_{ord(blank):x}"

    def run(sql):
        body = d.kakao_query(sql.replace(" ", blank))
        assert body["queryInfo"]["state"] == "FINISHED", (sql, body)
        return body["queryData"]

    run(f"CREATE TABLE {name} AS SELECT 5 AS a, 'x' AS b")
    run(f"INSERT INTO {name} VALUES (2, 'y' )")
    assert run(f"SELECT a FROM {name} ORDER BY a") == [["2"], ["5"]]   # the catalog is there
    assert run(f"SELECT max(a) / 2 FROM {name}") == [["2"]]            # and it is Trino's division
    query = d.jackdb_query(f"DELETE FROM {name} WHERE a = 2; SELECT count(*) AS n FROM {name}".replace(" ", blank))
    assert query["success"] and query["numResults"] == 2, query
    assert d.kakao_query(f"DROP TABLE {name}".replace(" ", blank))["queryInfo"]["state"] == "FINISHED"
