"""An engine process keeps a session for the jobs to come where a statement left no trace in it. So: whatever ran before in the same process (one slot), a statement gives what it gives alone;
and a statement that names no table, which runs without the library's optimizer, gives what it gives with it."""
import os
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quern_client import BLOCK, Daemon, process_table, wait_until

# Each is asked bare and, behind it, FROM (SELECT 1): a word that brings the optimizer back.
ALONE = ["1", "1 + 1.5", "'a' || 'b'", "NULL", "1 IN (1, 2, NULL)", "3 NOT IN (1, 2)", "CASE WHEN 1 > 2 THEN 'x' ELSE 'y' END", "coalesce(NULL, 7)", "'abc' LIKE 'a%'",
         "regexp_replace('abc', '[b-z]', '-', 'g')", "DATE '2024-02-29' + INTERVAL 1 YEAR", "[x * 2 for x in [1, 2, 3]]", "{'a': 1, 'b': [1, NULL]}", "count(*)", "sum(2), min('x')",
         "row_number() OVER ()", "unnest([3, 1, 2])", "generate_subscripts([7, 8], 1)", "(SELECT 42)", "EXISTS (SELECT 1)", "1 / 3", "CAST('1.25' AS DECIMAL(10, 2)) * 3", "greatest(1, 2, NULL)",
         "len(list_sort([3, 1, 2]))", "1 WHERE false", "1 AND NULL", "map([1], ['x'])[1]", "date_trunc('month', TIMESTAMP '2024-05-17 10:11:12')", "1 LIMIT 0", "1 UNION ALL SELECT 2",
         "DISTINCT unnest([1, 1, 2]) AS n ORDER BY n DESC"]


@pytest.fixture(scope="module")
def d():
    daemon = Daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_ENGINE_PLAN_SLOTS": "0", "QUERN_LOG_LEVEL": "warn"})
    daemon.prepare().start()
    yield daemon
    daemon.finish()


def answer(d, sql, **fields):
    """Columns and rows, or the SQLSTATE."""
    got = d.d360_submit(sql, check=False, **fields)
    if got.status_code != 200:
        return got.json()["error"]
    body = got.json()
    assert d.d360_status_of(got)["completionStatus"] == "FINISHED", got.text
    return [(c["name"], c["type"]) for c in body["metadata"]["columns"]], body["data"]


@pytest.mark.parametrize("what", ALONE)
def test_without_the_optimizer_all_is_the_same(d, what):
    head, word, tail = what, "", ""
    for word in (" WHERE ", " LIMIT ", " UNION ", " ORDER "):
        if word in what:
            head, tail = what.split(word, 1)
            break
    bare = answer(d, f"SELECT {what}")
    optimized = answer(d, f"SELECT {head} FROM (SELECT 1) one" + (f"{word}{tail}" if tail else ""))
    assert isinstance(bare, tuple) and bare == optimized


def test_values_without_a_select(d):
    assert answer(d, "VALUES (1, 'x'), (2, NULL)")[1] == [[1, "x"], [2, None]]


# What may stand before: (SQL, fields of the request), and whether it is an error.
BEFORE = [("SELECT 1", {}), ("SELECT count(*) FROM flights", {}), ("SELECT nothing_there", {}), ("SELECT 1/0", {}), ("SELECT error('x') FROM range(10)", {}), ("SELECT setseed(0.25)", {}),
          ("PIVOT (SELECT 'a' AS k, 1 AS v) ON k USING sum(v)", {}), ("PIVOT (SELECT 'b' AS k, 2 AS v UNION ALL SELECT 'c', 3) ON k USING sum(v)", {}),
          ("SELECT range FROM range(100000)", {"queryRowLimit": 3}), ("SELECT now()", {"settings": {"timezone": "Asia/Seoul"}}), ("EXPLAIN SELECT 1", {}), ("SELEC", {}),
          ("DESCRIBE SELECT 1 AS a", {}), ("SELECT * FROM range(200000)", {}), ("SET TimeZone='Asia/Seoul'", {}), ("CREATE TEMP TABLE leftover AS SELECT 1 AS a", {}),
          ("PREPARE leftover AS SELECT 1", {}), ("SET VARIABLE leftover = 1", {}), ("BEGIN", {}), ("USE memory", {})]
# What comes after, and gives what it always gives.
AFTER = [("SELECT current_setting('TimeZone') AS tz", {}, [["UTC"]]), ("SELECT current_setting('TimeZone') AS tz", {"settings": {"timezone": "Asia/Tokyo"}}, [["Asia/Tokyo"]]),
         ("SELECT getvariable('leftover')", {}, [[None]]), ("SELECT count(*) FROM leftover", {}, "42P01"), ("EXECUTE leftover", {}, None),
         ("SELECT count(*) FROM flights", {}, [[3000000]]), ("SELECT typeof(1 / 2.0), 7 / 2", {}, None),
         ("PIVOT (SELECT 'd' AS k, 4 AS v) ON k USING sum(v)", {}, [[4]]), ("SELECT * FROM range(3)", {}, [[0], [1], [2]]), ("SELECT current_schema(), current_database()", {}, None)]


def test_nothing_of_one_statement_reaches_the_next(d):
    seed = int(os.environ.get("QUERN_SEED") or random.SystemRandom().randrange(1 << 30))
    print(f"seed {seed}")
    pick = random.Random(seed)
    alone = {}
    for i in range(len(AFTER)):  # before anything else ran with these words
        alone[i] = answer(d, AFTER[i][0], **AFTER[i][1])
        wanted = AFTER[i][2]
        if wanted is not None:
            assert alone[i] == wanted or alone[i][1] == wanted, f"{AFTER[i]}: {alone[i]}"
    for sql, fields in BEFORE + [pick.choice(BEFORE) for _ in range(40)]:
        answer(d, sql, **fields)
        for i in pick.sample(range(len(AFTER)), 3):
            assert answer(d, AFTER[i][0], **AFTER[i][1]) == alone[i], f"{AFTER[i]} after {sql}"
        if pick.random() < 0.2:  # another profile, other names
            body = d.kakao_query("SELECT 7 / 2, current_schema()")
            assert body["queryData"] == [["3", "main"]] or body["queryData"] == [[3, "main"]], body


def test_random_goes_on_after_a_seed(d):
    """Whoever sets the seed knows the numbers that follow in his own statement, not those of others."""
    seen = []
    for _ in range(3):
        answer(d, "SELECT setseed(0.5)")
        seen.append(answer(d, "SELECT random()")[1][0][0])
    assert len(set(seen)) == 3, seen


def test_a_canceled_statement_leaves_a_good_session(d):
    for _ in range(3):
        qid = d.d360_status_of(d.d360_submit(BLOCK, mode="ASYNC"))["queryId"]
        d.kakao_wait(qid, states=("RUNNING",))
        assert d.http("DELETE", f"/api/v3/query/{qid}", dialect="data360").status_code == 204
        assert answer(d, "SELECT 1 AS a")[1] == [[1]]
        assert answer(d, "SELECT count(*) FROM flights")[1] == [[3000000]]


# ---- statements that stay prepared ----

FLIGHTS_AGAIN = "SELECT origin, count(*) AS n FROM flights GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3"


def replace_days(d, table):
    """The data set `days` holds this table from now on."""
    path = os.path.join(d.folder, "days", "days.parquet")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pq.write_table(table, path + ".new")
    os.replace(path + ".new", path)
    return path


def scanned(d, sql):
    """Rows of the answer, rows and bytes that it scanned."""
    got = d.kakao_query(sql)
    assert got["queryInfo"]["state"] == "FINISHED", got
    stats = got["queryInfo"]["queryStats"]
    return got["queryData"], stats["inputRows"], stats["inputDataSize"]


@pytest.fixture(scope="module")
def days(d):
    path = replace_days(d, pa.table({"day": pa.array([1, 2, 3], pa.int64()), "name": ["a", "b", "c"]}))
    d.admin("dataset", "add", "days", "--url", "file://" + path, "--workspace", "w1")
    return d


def test_a_statement_asked_again_gives_and_scans_the_same(days):
    d = days
    wanted = {FLIGHTS_AGAIN: None, "SELECT sum(day) FROM days": [["6"]], "SELECT name FROM days WHERE day > 1 ORDER BY 1": [["b"], ["c"]], "SELECT count(*) FROM days": [["3"]],
              "SELECT d.name, count(*) FROM flights f JOIN days d ON f.distance % 3 + 1 = d.day GROUP BY 1 ORDER BY 1": None, "SELECT * FROM days LIMIT 1": [["1", "a"]],
              "SELECT distance FROM flights ORDER BY distance DESC, date LIMIT 2": None}
    first = {}
    for turn in range(4):
        for sql, rows in wanted.items():
            got = scanned(d, sql)
            assert rows is None or got[0] == rows, sql
            assert first.setdefault(sql, got) == got, f"{sql}, turn {turn}"
    for sql in wanted:  # and each by itself, as many times as it takes
        for turn in range(3):
            assert scanned(d, sql) == first[sql], f"{sql}, turn {turn}"


def test_the_time_goes_on_in_a_statement_asked_again(days):
    seen = [answer(days, "SELECT localtimestamp, now(), sum(day) FROM days")[1][0] for _ in range(4)]
    assert len({s[0] for s in seen}) == 4 and len({s[1] for s in seen}) == 4 and {str(s[2]) for s in seen} == {"6"}, seen


def test_a_statement_asked_again_sees_a_changed_file(days):
    d, sql = days, "SELECT sum(day) AS s, max(name) FROM days"
    for turn in range(3):
        assert answer(d, sql)[1] == [[6, "c"]]
    for n in (10, 20):
        replace_days(d, pa.table({"day": pa.array(range(n), pa.int64()), "name": ["x%02d" % i for i in range(n)]}))
        for turn in range(3):
            assert answer(d, sql)[1] == [[sum(range(n)), "x%02d" % (n - 1)]], f"{n} rows, turn {turn}"
        for turn in range(3):
            assert scanned(d, "SELECT max(name), min(day) FROM days WHERE day >= 0")[1] == n, f"turn {turn}"
            assert scanned(d, "SELECT max(name), min(day) FROM days WHERE day > 3")[1] == n, f"turn {turn}"
    replace_days(d, pa.table({"day": pa.array([1, 2, 3], pa.int64()), "name": ["a", "b", "c"]}))
    assert answer(d, sql)[1] == [[6, "c"]]


def test_a_statement_asked_again_fails_and_is_canceled_like_any(days):
    d, sql = days, "SELECT day, CASE WHEN day > 2 THEN error('too late') ELSE name END FROM days"
    for _ in range(3):
        assert answer(d, sql) == "22023"
    replace_days(d, pa.table({"day": pa.array([1, 2], pa.int64()), "name": ["a", "b"]}))
    for _ in range(3):
        assert answer(d, sql)[1] == [[1, "a"], [2, "b"]]
    replace_days(d, pa.table({"day": pa.array([1, 2, 3], pa.int64()), "name": ["a", "b", "c"]}))
    for _ in range(2):
        assert answer(d, sql) == "22023"
    slow = "SELECT sum(hash(a.day, b.distance, c.distance)) FROM days a, (SELECT distance FROM flights LIMIT 1000000) b, (SELECT distance FROM flights LIMIT 1000000) c"
    for _ in range(2):
        qid = d.d360_status_of(d.d360_submit(slow, mode="ASYNC"))["queryId"]
        d.kakao_wait(qid, states=("RUNNING",))
        assert d.http("DELETE", f"/api/v3/query/{qid}", dialect="data360").status_code == 204
        assert answer(d, FLIGHTS_AGAIN) == answer(d, FLIGHTS_AGAIN)


def test_statements_that_stay_prepared_do_not_use_up_the_process(days):
    """Each holds the files of its scans open; a process may have 256 descriptors. Also of a file that had other rows before."""
    d = days
    for rows in ([1, 2], [1, 2, 3]):
        replace_days(d, pa.table({"day": pa.array(rows, pa.int64()), "name": ["a", "b", "c"][:len(rows)]}))
        assert answer(d, "SELECT sum(day) FROM days")[1] == [[sum(rows)]]
    for n in range(60):
        scans = n % 14 + 1
        sql = "SELECT " + " + ".join(f"(SELECT sum(day + {i}) FROM days)" for i in range(scans)) + f" + {n}"
        for _ in range(2):
            assert answer(d, sql)[1] == [[sum(6 + 3 * i for i in range(scans)) + n]], sql

    def open_files(pid):
        try:
            return sum("days" in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
        except OSError:  # it closes one just now, or leaves
            return None

    def counts():
        found = [open_files(pid) for pid, row in process_table().items() if row[0] == d.process.pid]
        return None if None in found else found

    found = wait_until("processes that can be looked at", counts)
    assert 1 <= max(found) <= 48, found  # some did stay


def test_functions_of_a_view_are_made_when_it_is_read(make_daemon):
    """A macro that no text names but that of a view: the process that reads the view makes it then."""
    d = make_daemon()
    for sql in ("CREATE TABLE s AS SELECT 'https://a.example/x' AS u, DATE '2024-03-05' AS d", "CREATE VIEW hosts AS SELECT url_extract_host(u) AS h, date_format(d, '%Y%m') AS m FROM s"):
        body = d.kakao_query(sql)
        assert body["queryInfo"]["state"] == "FINISHED", body["queryInfo"].get("error")
    d.restart()
    assert d.kakao_query("SELECT 1")["queryData"] == [["1"]]
    assert d.kakao_query("SELECT h, m FROM hosts")["queryData"] == [["a.example", "202403"]]
    body = d.kakao_query("SELECT nosuch(1) FROM hosts")
    assert body["queryInfo"]["error"]["name"] == "FUNCTION_NOT_FOUND"
