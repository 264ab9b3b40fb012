"""Several statements in one command: one result each, in one session (specs/jackdb.md section 5; design.md section 7, What may be run)."""
import threading

import pytest

from quern_client import wait_until

LONG = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1"


def rows(q, query, index=0):
    return q.jackdb_get(f"{query['id']}/result/{index}/rows")


def run(q, command, **more):
    """The Query object and the results as (type, what it says)."""
    query = q.jackdb_query(command, wait=60, **more)
    said = []
    for i, r in enumerate(q.jackdb_results(query)):
        d = r["detail"]
        said.append((r["type"], d["error"] if "error" in d else d["updateCount"] if r["type"] == "update" else rows(q, query, i)))
    return query, said


def test_split_by_the_engines_own_parser(q):
    query, said = run(q, """SELECT 'a;b' AS x; SELECT "c;d" FROM (SELECT 1 AS "c;d"); -- no; statement
        SELECT $$e;f$$; /* nor; this */ SELECT $t$;$$;$t$ ; ; ;; SELECT E'\\';' /* last /* inside; */ ; */; -- end""")
    assert query["success"] is True, said
    assert said == [("query", [["a;b"]]), ("query", [["1"]]), ("query", [["e;f"]]), ("query", [[";$$;"]]), ("query", [["';"]])]


def test_pivot_is_one_statement(q):
    query, said = run(q, "SELECT 1; PIVOT (SELECT 'a' AS k, 1 AS v) ON k USING sum(v); SELECT 2")
    assert query["success"] is True and [s[0] for s in said] == ["query"] * 3, said


def test_a_comment_only(q):
    for text in ("-- nothing", "/* nothing */", ";", " ; ;; "):
        query, said = run(q, text)
        assert query["success"] is True and query["numResults"] == 0 and said == [], text
        assert q.jackdb("GET", f"/query/{query['id']}/result/0").status_code == 404
        assert q.kakao_get(query["id"])["queryInfo"]["state"] == "FINISHED"


def test_a_syntax_error_anywhere_runs_nothing(q):
    run(q, "CREATE OR REPLACE TABLE js(a INT)")
    query, said = run(q, "INSERT INTO js VALUES (1);\nSELECT 2;\nSELEC 3")
    assert query["success"] is False and len(said) == 1 and said[0][0] == "error" and "selec" in said[0][1].lower()
    assert q.jackdb_get(f"{query['id']}/result/0?expand=errorDetail")["detail"]["errorDetail"]["line"] == 3
    assert run(q, "SELECT count(*) FROM js")[1] == [("query", [["0"]])]


def test_stops_at_the_first_error(q):
    query, said = run(q, "SELECT 1; SELECT * FROM nowhere; CREATE TABLE never(a INT)")
    assert query["success"] is False and [s[0] for s in said] == ["query", "error"]
    assert said[0][1] == [["1"]]
    assert run(q, "SELECT * FROM never")[1][0][0] == "error"


def test_goes_on_after_an_error(q):
    query, said = run(q, "SELECT 1; SELECT * FROM nowhere; SELECT 2; SELECT nope; SELECT 3; COPY x TO 'y'; SELECT 4", stopOnError="false")
    assert query["success"] is False
    assert [s[0] for s in said] == ["query", "error", "query", "error", "query", "error", "query"]
    assert "nowhere" in said[1][1] and "nope" in said[3][1] and "not allowed" in said[5][1]
    assert [s[1] for s in said if s[0] == "query"] == [[["1"]], [["2"]], [["3"]], [["4"]]]


def test_each_statement_commits(q):
    run(q, "CREATE OR REPLACE TABLE jc(a INT)")
    query, said = run(q, "INSERT INTO jc VALUES (1); INSERT INTO jc VALUES (2); SELECT nope")
    assert query["success"] is False and said[:2] == [("update", 1), ("update", 1)]
    assert run(q, "SELECT count(*) FROM jc")[1] == [("query", [["2"]])]


def test_one_transaction(q):
    run(q, "CREATE OR REPLACE TABLE jx(a INT)")
    query, said = run(q, "INSERT INTO jx VALUES (1); SELECT count(*) FROM jx; INSERT INTO jx VALUES (2)", autocommit="false")
    assert query["success"] is True and said == [("update", 1), ("query", [["1"]]), ("update", 1)]
    query, said = run(q, "INSERT INTO jx VALUES (3); CREATE TABLE jx2(a INT); SELECT count(*) FROM jx; SELECT nope; INSERT INTO jx VALUES (4)",
                      autocommit="false", stopOnError="false")  # undone at the first error, so that nothing goes on
    assert query["success"] is False and [s[0] for s in said] == ["update", "update", "query", "error"]
    assert said[2][1] == [["3"]]
    assert run(q, "SELECT count(*) FROM jx")[1] == [("query", [["2"]])]
    assert run(q, "SELECT * FROM jx2")[1][0][0] == "error"


def test_one_transaction_of_reads(q):
    query, said = run(q, "SELECT 1; SELECT 2", autocommit="false")
    assert query["success"] is True and said == [("query", [["1"]]), ("query", [["2"]])]
    assert run(q, "SELECT 3", autocommit="false")[1] == [("query", [["3"]])]
    assert q.jackdb_query("SELECT 4")["success"] is True  # the process is as good as before


@pytest.mark.parametrize("word", ["BEGIN", "COMMIT", "SET threads = 1", "USE memory", "ATTACH 'x'", "COPY (SELECT 1) TO 'x'", "PRAGMA version", "CALL pragma_version()",
                                  "CREATE MACRO m() AS 1", "CREATE TEMP TABLE t(a INT)", "INSTALL json", "SELECT * FROM duckdb_settings()"])
def test_what_is_refused_is_refused_in_a_script(q, word):
    query, said = run(q, f"SELECT 1; {word}; SELECT 2")
    assert query["success"] is False and [s[0] for s in said] == ["query", "error"], said
    assert "not allowed" in said[1][1]


def test_earlier_results_while_later_ones_run(q):
    started = q.jackdb_execute("SELECT range AS n FROM range(50000); CREATE OR REPLACE TABLE jl(a INT); INSERT INTO jl VALUES (1); " + LONG)
    try:
        query = wait_until("three results", lambda: (lambda x: x["numResults"] == 3 and x)(q.jackdb_get(started["id"])))
        assert query["success"] is None and query["completedAt"] is None
        results = [q.jackdb_get(f"{started['id']}/result/{i}") for i in range(3)]
        assert [r["type"] for r in results] == ["query", "update", "update"] and all(r["completedAt"] for r in results)
        assert results[0]["detail"]["hasMore"] is False and results[0]["detail"]["numRows"] == 50000
        assert results[2]["detail"] == {"updateCount": 1}
        assert q.jackdb_get(f"{started['id']}/result/0/rows?seek=49999") == [["49999"]]
        assert q.jackdb("GET", f"/query/{started['id']}/result/3").status_code == 404
        # the others do not know yet which result it will show them
        assert q.kakao_get(started["id"])["queryInfo"]["state"] == "RUNNING"
    finally:
        q.jackdb("POST", f"/query/{started['id']}/cancel")
    query = q.jackdb_get(started["id"])
    assert query["success"] is False and query["numResults"] == 4
    assert q.jackdb_get(f"{started['id']}/result/3")["detail"] == {"error": "Query was canceled"}
    assert q.jackdb_get(f"{started['id']}/result/0/rows?seek=49999") == [["49999"]]


def test_numbers_are_true_at_every_instant(q):
    """Results appear in order, never go, and complete ones never change; hasMore is true for the last one only."""
    started = q.jackdb_execute("; ".join(f"SELECT range + {i} AS n FROM range({20000 * (i + 1)})" for i in range(12)))
    seen, wrong, done = {}, [], threading.Event()

    def look():
        most = 0
        while not done.is_set():
            n = q.jackdb_get(started["id"])["numResults"] or 0
            if n < most:
                wrong.append(f"{most} results, then {n}")
            most = max(n, most)
            for i in range(n):
                r = q.jackdb_get(f"{started['id']}/result/{i}")
                rows_now = int(q.jackdb("GET", f"/query/{started['id']}/result/{i}/rows?seek={r['detail']['numRows'] - 1}&limit=1").headers["X-Row-Count"])
                if rows_now < r["detail"]["numRows"]:
                    wrong.append(f"result {i}: {r['detail']['numRows']} rows, then {rows_now}")
                if r["completedAt"] is None and not r["detail"]["hasMore"]:
                    wrong.append(f"result {i} is under way and has no more")
                if r["completedAt"]:
                    if seen.setdefault(i, r) != r:
                        wrong.append(f"result {i} changed: {seen[i]} {r}")
                    if r["detail"]["numRows"] != 20000 * (i + 1):
                        wrong.append(f"result {i} is complete with {r['detail']['numRows']} rows")

    threads = [threading.Thread(target=look) for _ in range(2)]
    for t in threads:
        t.start()
    try:
        query = q.jackdb_wait(started["id"])
    finally:
        done.set()
        for t in threads:
            t.join()
    assert not wrong, wrong[:5]
    assert query["success"] is True and query["numResults"] == 12
    for i in range(12):
        assert rows(q, query, i)[:2] == [[str(i)], [str(i + 1)]]


def test_what_the_others_see(q):
    """The last result with rows, else the last (design.md section 7)."""
    query, _ = run(q, "SELECT 1 AS a; SELECT 2 AS b, 'x' AS c; CREATE OR REPLACE TABLE jo(a INT)")
    body = q.kakao_get(query["id"])
    assert body["queryInfo"]["state"] == "FINISHED" and body["queryData"] == [["2", "x"]]
    assert q.d360_rows(query["id"]) == [[2, "x"]]
    assert q.download(query["id"], "csv").text == "b,c\n2,x\n"
    query, _ = run(q, "CREATE OR REPLACE TABLE jo(a INT); INSERT INTO jo VALUES (1)")
    assert q.kakao_get(query["id"])["queryInfo"]["state"] == "FINISHED"
    query, _ = run(q, "SELECT 1; SELECT nope")
    assert q.kakao_get(query["id"])["queryInfo"]["state"] == "FAILED"
    assert q.d360_get(query["id"]).status_code == 400
    assert q.download(query["id"], "csv").status_code == 409


def test_the_others_queries(q):
    """A statement of another dialect is a query with one result."""
    qid = q.kakao_run("SELECT range AS n FROM range(2500)")
    q.kakao_wait(qid)
    query = q.jackdb_get(qid)
    assert query["success"] is True and query["numResults"] == 1
    assert q.jackdb_get(f"{qid}/result/0")["detail"]["numRows"] == 2500
    assert len(q.jackdb_get(f"{qid}/result/0/rows?seek=2000")) == 500
    qid = q.kakao_run("SELECT nope")
    q.kakao_wait(qid)
    assert q.jackdb_get(qid)["success"] is False
    assert q.jackdb_get(f"{qid}/result/0")["type"] == "error"
    several = q.kakao_query("SELECT 1; SELECT 2")
    assert several["queryInfo"]["state"] == "FAILED"  # several statements are JackDB's only


def test_the_others_cancel_and_delete(q):
    """Whoever ends it, the results before stay here, and it says the same."""
    ends = {"kakao": lambda x: q.kakao_abort(x), "data360": lambda x: q.http("DELETE", f"/api/v3/query/{x}", dialect="data360"),
            "jackdb": lambda x: q.jackdb("POST", f"/query/{x}/cancel")}
    for dialect, end in ends.items():
        started = q.jackdb_execute("SELECT 1 AS one; " + LONG)["id"]
        wait_until("the first result", lambda: q.jackdb_get(started)["numResults"])
        answer = end(started)
        assert answer.status_code in (200, 204), answer.text
        assert q.kakao_wait(started)["queryInfo"]["state"] == "ABORTED"
        if dialect == "data360":  # it deletes
            assert q.jackdb("GET", f"/query/{started}").status_code == 404
            continue
        query = q.jackdb_get(started)
        assert query["success"] is False and query["numResults"] == 2
        assert q.jackdb_get(f"{started}/result/0/rows") == [["1"]]
        assert q.jackdb_get(f"{started}/result/1")["detail"] == {"error": "Query was canceled"}
        assert q.jackdb("DELETE", f"/query/{started}").json() == {}
    other = q.kakao_run(LONG)
    q.kakao_wait(other, states=("RUNNING",))
    assert q.jackdb("POST", f"/query/{other}/cancel").json() == {}
    assert q.kakao_get(other)["queryInfo"]["state"] == "ABORTED"
    assert q.jackdb_get(f"{other}/result/0")["detail"] == {"error": "Query was canceled"}


def test_many_statements(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_MAX_STATEMENTS": "200"})
    query = d.jackdb_query(";".join(f"SELECT {i}" for i in range(200)), wait=60)
    assert query["success"] is True and query["numResults"] == 200
    assert [d.jackdb_get(f"{query['id']}/result/{i}/rows") for i in (0, 99, 199)] == [[["0"]], [["99"]], [["199"]]]
    query = d.jackdb_query(";".join(f"SELECT {i}" for i in range(201)), wait=60)
    assert query["success"] is False and "engine.max_statements" in d.jackdb_results(query)[0]["detail"]["error"]
    d.restart()
    again = d.jackdb_query("SELECT 1")
    assert again["success"] is True


def test_a_quota_ends_a_script_and_names_itself(make_daemon):
    d = make_daemon()
    d.admin("workspace", "set", "w1", "spool_bytes=3000000")
    query = d.jackdb_query("SELECT range FROM range(50000); SELECT range FROM range(2000000); SELECT 4", wait=60, stopOnError="false")
    results = d.jackdb_results(query)
    assert query["success"] is False and len(results) == 2  # there is no room for what comes behind either
    assert "error" not in results[0]["detail"] and "spool_bytes" in results[1]["detail"]["error"]
    assert d.jackdb_get(f"{query['id']}/result/0/rows?seek=49999") == [["49999"]]
    assert d.jackdb_query("SELECT 1")["success"] is True


def test_results_survive_a_restart(make_daemon):
    d = make_daemon()
    query = d.jackdb_query("SELECT range FROM range(20000); CREATE TABLE t(a INT); INSERT INTO t VALUES (1),(2); SELECT nope")
    before = d.jackdb_results(query)
    d.restart()
    assert d.jackdb_get(query["id"]) == query
    assert d.jackdb_results(query) == before
    assert d.jackdb_get(f"{query['id']}/result/0/rows?seek=19999") == [["19999"]]
