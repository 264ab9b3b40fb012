"""Every deadline of stored things (src/core/janitor.c): results, history with its rows, idempotency keys, files that no record names, downloads,
idle engines. The wall clock is moved where a deadline is far; nothing here waits longer than some turns of the janitor (one a second)."""
import glob
import json
import os
import sqlite3
import time

import pytest

import moved_clock
from quern_client import StartFailed, descendants, records_of, wait_until

HOUR = 3600 * 1000
DAY = 24 * HOUR
LARGE = "SELECT range AS n, repeat('x', 100) AS pad FROM range(100000)"
JACKDB = "/data-source/data_catalog/execute"


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return moved_clock.build_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def moved(shim, tmp_path):
    made = []

    def make(env=None):
        d = moved_clock.daemon(shim, tmp_path, {"QUERN_RETENTION_QUIET": "0", **(env or {})})
        made.append(d)
        return d.start()

    yield make
    for d in made:
        d.finish()


def files(d):
    return {f for f in glob.glob(d.data + "/spool/*/*") if os.path.isfile(f)}


def rows_of(d, table):
    with sqlite3.connect(f"file:{d.data}/registry.db?mode=ro", uri=True) as db:
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def d360(d, sql, **more):
    qid = d.d360_status_of(d.d360_submit(sql, mode="ASYNC", **more))["queryId"]
    assert d.d360_wait(qid).status_code == 200
    return qid


def events(d, word):
    d.admin("audit", "verify")
    return [r for r in map(json.loads, records_of(d.data + "/audit/audit.log", whole=False)) if r["event"] == word]


def test_results_expire(moved):
    """After result.retention rows and files are gone, in each dialect's words; the record stays; what has its own retention keeps it."""
    d = moved({"QUERN_RESULT_RETENTION": "1h"})
    assert d.kakao_query("CREATE TABLE t AS SELECT 1 AS a")["queryInfo"]["state"] == "FINISHED"
    small, large = d360(d, "SELECT 1 AS a"), d360(d, LARGE)
    forever = d.jackdb_query(LARGE, retention=0)
    day = d.jackdb_query("SELECT 3 AS a", retention=86400)
    kylin = d.kylin_query("select 4 as a")
    written = d.kakao_run("INSERT INTO t VALUES (2)")
    assert d.kakao_wait(written)["queryInfo"]["state"] == "FINISHED"
    failed = d.kakao_run("SELECT no_such")
    d.kakao_wait(failed)
    assert len(files(d)) == 2
    with d.download(large, stream=True) as running:
        head = running.raw.read(1000)
        d.clock.jump(2 * HOUR)
        wait_until("the file to go", lambda: len(files(d)) == 1)
        rest = running.raw.read()
        assert (head + rest).count(b"\n") == 100001, "a download that began goes on"
    wait_until("the bytes to be free", lambda: d.metrics()["quern_spool_bytes"] == os.path.getsize(files(d).pop()))
    for qid in (small, large):
        assert d.kakao_get(qid)["queryInfo"]["state"] == "FINISHED" and d.kakao_get(qid)["queryData"] == []
        assert d.d360_get(qid).status_code == 404 and d.d360_get(f"{qid}/rows?offset=0").status_code == 404
        assert d.jackdb("GET", f"/query/{qid}").status_code == 404
        workspace = f"workspaceId={d.key['workspaceId']}"
        canner = d.http("GET", f"/api/v1/query/{qid}/result?{workspace}", dialect="canner")
        assert canner.status_code == 404 and canner.json()["code"] == "RESULT_EXPIRED"
        assert d.http("GET", f"/api/v1/query/{qid}?{workspace}", dialect="canner").json()["status"] == "FINISHED"
        assert d.download(qid).status_code == 410
    assert d.kylin_get(kylin, "status").json()["data"]["status"] == "MISSING"
    assert d.kakao_get(failed)["queryInfo"]["state"] == "FAILED"
    assert d.jackdb_get(f"{day['id']}/result/0/rows") == [["3"]]
    assert len(d.download(forever["id"]).content.splitlines()) == 100001
    assert d.http("GET", "/v1/data-query/query").json()["totalElements"] == 8, "the history keeps them"
    gone = wait_until("the records", lambda: (lambda g: g if {small, large, kylin} <= g else None)({r["query"] for r in events(d, "retention_delete") if r["what"] == "result"}))
    assert forever["id"] not in gone and day["id"] not in gone
    d.restart()
    assert d.download(large).status_code == 410 and d.kakao_get(small)["queryData"] == []
    assert len(d.download(forever["id"]).content.splitlines()) == 100001
    d.clock.jump(26 * HOUR)
    wait_until("the other to expire", lambda: d.jackdb("GET", f"/query/{day['id']}").status_code == 404)
    assert len(files(d)) == 1


def test_a_file_stays_while_its_record_cannot_say_gone(moved):
    """The record first, then the file: else a restart would promise rows that are not there."""
    d = moved({"QUERN_RESULT_RETENTION": "1h"})
    qid = d360(d, LARGE)
    body = d.download(qid).content
    d.stop()
    for k in range(1, 200):  # the first write of a start that may fail, with all that follow
        try:
            d.start(env={"QUERN_FAULT": f"write:{k}:EIO:1000000"})
            break
        except StartFailed:
            pass
    assert d.download(qid).content == body
    d.clock.jump(2 * HOUR)
    wait_until("the age to be seen", lambda: d.download(qid).status_code == 410)
    time.sleep(2.5)  # some turns of the janitor; being slow makes nothing fail
    d.kill()
    d.clock.jump(0)
    d.start()
    assert d.download(qid).content == body


def test_nothing_goes_early(moved):
    """With retention.quiet a jump deletes nothing until it is over."""
    d = moved({"QUERN_RESULT_RETENTION": "1h", "QUERN_RETENTION_QUIET": "1h", "QUERN_RETENTION_HISTORY": "2h"})
    qid = d360(d, LARGE)
    d.clock.jump(10 * DAY)
    time.sleep(3)
    assert len(files(d)) == 1 and d.download(qid).status_code == 200
    assert d.http("GET", "/v1/data-query/query").json()["totalElements"] == 1


def test_history_leaves_with_its_rows(moved):
    """After retention.history nothing is left of a query: not in lists, not by id, no row, no file; also of results that never expire."""
    d = moved({"QUERN_RESULT_RETENTION": "10d", "QUERN_RETENTION_HISTORY": "3d"})
    old = [d360(d, LARGE), d.jackdb_query(f"{LARGE}; SELECT 2", retention=86400)["id"], d360(d, "SELECT 1 AS a")]
    forever = d.jackdb_query(LARGE, retention=0)["id"]
    assert len(files(d)) == 3
    d.clock.jump(2 * DAY)
    young = d360(d, "SELECT 5 AS a")
    waiting = d.jackdb("POST", JACKDB, json={"command": "SELECT count(sleep_ms(1000000000))"}).json()["id"]
    assert rows_of(d, "query") == 6
    d.clock.jump(4 * DAY)
    wait_until("the history to be cleared", lambda: rows_of(d, "query") == 3)
    wait_until("the files to go", lambda: len(files(d)) == 1)
    assert rows_of(d, "result") == 2
    for qid in old:
        assert d.http("GET", f"/v1/data-query/query/{qid}").status_code == 404 and d.jackdb("GET", f"/query/{qid}").status_code == 404
        assert d.d360_get(qid).status_code == 404 and d.download(qid).status_code == 404
        assert d.http("GET", f"/api/v1/query/{qid}?workspaceId={d.key['workspaceId']}", dialect="canner").status_code == 404
    listed = d.http("GET", "/v1/data-query/query").json()
    assert listed["totalElements"] == len(listed["content"]) == 3
    assert {q["id"] for q in d.admin("query", "list")} == {young, waiting, forever}
    assert d.d360_rows(young) == [[5]]
    wait_until("the records", lambda: {r["query"] for r in events(d, "retention_delete") if r["what"] == "history"} == set(old))
    d.clock.jump(40 * DAY)  # one that runs stays, however old it is
    wait_until("the young one to go too", lambda: rows_of(d, "query") == 2)
    assert d.jackdb("DELETE", f"/query/{forever}").status_code == 200  # until somebody deletes it
    wait_until("that to go at last", lambda: rows_of(d, "query") == 1 and not files(d))
    assert d.kakao_get(waiting)["queryInfo"]["state"] == "RUNNING"
    d.kakao_abort(waiting)
    d.kakao_wait(waiting)
    d.clock.jump(44 * DAY)
    wait_until("that one to go when it has ended", lambda: rows_of(d, "query") == 0)


def test_keys_of_submits_leave(moved):
    """An Idempotency-Key lives as long as the history, at least a day; then it means nothing any more."""
    d = moved({"QUERN_RETENTION_HISTORY": "1h"})

    def submit(sql="SELECT 1 AS a"):
        return d.http("POST", "/api/v1/query", dialect="canner", headers={"Idempotency-Key": "one"},
                      json={"workspaceId": d.key["workspaceId"], "sql": sql})

    first = submit().json()["id"]
    assert submit().json()["id"] == first
    wait_until("its end", lambda: submit().json()["status"] == "FINISHED")
    d.clock.jump(2 * HOUR)
    wait_until("the query to leave", lambda: rows_of(d, "query") == 0)
    left = submit()
    assert left.status_code == 409 and "left the history" in left.text, left.text
    assert submit("SELECT 2").status_code == 409
    d.restart()
    assert submit().status_code == 409 and rows_of(d, "idempotency") == 1
    d.clock.jump(25 * HOUR)
    d.restart()  # a start looks at once, later it is looked every hour
    wait_until("the key to leave", lambda: rows_of(d, "idempotency") == 0)
    second = submit("SELECT 2 AS b")
    assert second.status_code == 200 and second.json()["id"] != first


def test_files_that_no_record_names(make_daemon):
    """While the daemon serves and at a start; what is in use stays."""
    d = make_daemon(env={"QUERN_SPOOL_SWEEP": "2s", "QUERN_RETENTION_QUIET": "0"})
    kept = d360(d, LARGE)
    mine = files(d).pop()
    body = d.download(kept).content

    def strange(n):
        """Files as the spool names them, of queries whose results are deleted: as if removing them had failed."""
        paths = []
        for _ in range(n):
            qid = d360(d, "SELECT 1 AS a")
            assert d.http("DELETE", f"/api/v3/query/{qid}", dialect="data360").status_code == 204
            paths.append(os.path.join(d.data, "spool", qid[-2:], f"{qid}-0.seg"))
            os.makedirs(os.path.dirname(paths[-1]), exist_ok=True)
            with open(paths[-1], "wb") as f:
                f.write(b"orphan" * 1000)
        return paths

    running = d.jackdb_execute(f"{LARGE}; SELECT count(sleep_ms(1000000000))")["id"]  # a script: its first result is there while it runs
    wait_until("its first result", lambda: d.jackdb_get(running)["numResults"] == 1)
    put = strange(5)
    wait_until("the strange files to go", lambda: not any(os.path.exists(p) for p in put))
    assert d.kakao_get(running)["queryInfo"]["state"] == "RUNNING" and d.download(kept).content == body
    assert len(files(d)) == 2 and mine in files(d), "what a running query has is not swept"
    wait_until("a line in the log", lambda: "files that no record names" in d.log())
    assert d.jackdb("DELETE", f"/query/{running}").status_code == 200
    put = strange(5)
    d.kill()
    d.start(env={"QUERN_SPOOL_SWEEP": "1d"})
    assert not any(os.path.exists(p) for p in put), "a start removes them before it serves"
    assert d.download(kept).content == body and files(d) == {mine}


def test_a_download_has_an_age(make_daemon):
    """A reader that goes on reading, slowly, is ended at download.max_age; the body is not ended as if it were whole."""
    d = make_daemon(env={"QUERN_DOWNLOAD_MAX_AGE": "2s"})
    qid = d360(d, "SELECT range AS n, repeat('x', 1000) AS pad FROM range(200000)")
    with d.download(qid, stream=True) as answer:
        got = 0
        try:
            while True:
                piece = answer.raw.read(100000)
                got += len(piece)
                if not piece:
                    break
                time.sleep(0.01)  # 10 MB a second at most: 20 s in all
            whole = True
        except Exception:
            whole = False
    assert not whole and 0 < got < 200000 * 1000
    wait_until("its record", lambda: [r["complete"] for r in events(d, "result_download") if r["query"] == qid] == ["no"])
    d.restart({"QUERN_DOWNLOAD_MAX_AGE": "1h"})  # 2 s may be short for 200 MB on a busy machine
    assert len(d.download(qid).content) > 200000 * 1000


def test_idle_engines_leave(make_daemon):
    """All but the blank spare, which no workspace has used yet."""
    d = make_daemon(env={"QUERN_ENGINE_IDLE": "1s"})
    d.works()

    def engines():
        return {p for p, name in descendants(d.process.pid).items() if name == "quern-engine"}

    used = engines()
    wait_until("the idle engines to leave", lambda: d.metrics()["quern_engine_idle"] == 0 and len(engines()) <= 1)
    assert used
    wait_until("that to be counted", lambda: d.metrics()['quern_engine_ended_total{reason="idle"}'] >= 1)
    d.works()
