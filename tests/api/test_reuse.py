"""Reuse, single-flight and idempotency keys: one rule in core (docs/reuse.md), driven through the Kakao and Data 360 dialects."""
import concurrent.futures
import glob
import os
import signal
import sqlite3
import uuid

import pytest

from quern_client import BLOCK, at_rest, render_process, wait_until

RUN = "/v1/data-query/query"


def ask(q, sql, age=60, key=None, path="reuse", headers=None, **more):
    body = {"query": sql, "resultConfig": {"bucketName": "b1", "path": path}, "reuseConfig": {"reuse": True, "maxReuseAge": age}}
    body.update(more)
    return q.http("POST", RUN, json=body, key=key, headers={"X-Data-Source": "data_catalog", "X-Database": "main", **(headers or {})})


def run(q, sql, **more):
    answer = ask(q, sql, **more)
    assert answer.status_code == 202, answer.text
    return q.kakao_wait(answer.json()["queryInfo"]["queryId"], key=more.get("key"))


def unique():
    return uuid.uuid4().hex[:12]


def scanned(done):
    assert done["queryInfo"]["state"] == "FINISHED", done
    return done["queryInfo"]["isScanned"]


@pytest.mark.parametrize("sql", ["select '{tag}' as t, count(*) from flights", "select '{tag}' as t, * from flights limit 40000"])
def test_a_second_submit_is_served_from_the_first(q, sql):
    sql = sql.format(tag=unique())
    first, second = run(q, sql), run(q, sql + " ;\n")  # outer blanks and one semicolon do not matter
    assert scanned(first) and not scanned(second)
    assert first["queryData"] == second["queryData"] and first["queryInfo"]["queryId"] != second["queryInfo"]["queryId"]
    assert second["reuseConfig"]["reuse"] is True
    # from the creation of the result that is used, not of this query
    assert second["reuseConfig"]["expireAt"] == first["queryInfo"]["queryStats"]["createdAt"] + 60 * 60000
    for done in (first, second):  # each has its own files
        folder = os.path.join(q.bucket_dir, done["resultConfig"]["path"])
        assert {os.path.basename(p) for p in glob.glob(folder + "/" + done["queryInfo"]["queryId"] + ".*")} == {
            done["queryInfo"]["queryId"] + ".csv", done["queryInfo"]["queryId"] + ".metadata"}


def test_the_source_need_not_have_asked(q):
    sql = f"select '{unique()}', count(*) from flights"
    done = q.kakao_wait(q.kakao_run(sql))
    assert scanned(done) and done["reuseConfig"] == {"reuse": False}
    assert not scanned(run(q, sql))


@pytest.mark.parametrize("change", ["text", "database", "user's other workspace", "kind", "failed"])
def test_what_is_not_reused(q, change):
    tag = unique()
    sql = f"select '{tag}', count(*) from data_catalog.main.flights"
    if change == "failed":
        bad = f"select '{tag}', count(*) from data_catalog.main.missing"
        ids = {run(q, bad)["queryInfo"]["queryId"] for _ in range(2)}
        assert len(ids) == 2
        return
    if change == "kind":
        sql = "explain " + sql
        run(q, sql)
        assert run(q, sql)["queryInfo"]["queryStats"]["planningTime"] != "0ms"  # planned again
        return
    assert scanned(run(q, sql))
    if change == "text":
        assert scanned(run(q, sql.replace("count(*)", "count( * )")))
    elif change == "database":
        assert scanned(run(q, sql, headers={"X-Database": None, "X-Data-Source": None}))  # other defaults
    else:
        answer = ask(q, sql, key=q.other)
        assert answer.status_code == 404  # it has no such bucket, and sees nothing of the other workspace


def test_each_copy_lives_by_itself(q):
    sql = f"select '{unique()}', * from flights limit 50000"
    first = run(q, sql)["queryInfo"]["queryId"]
    second = run(q, sql)["queryInfo"]["queryId"]
    assert q.http("DELETE", "/api/v3/query/" + first, dialect="data360").status_code == 204
    assert q.d360_get(first).status_code == 404
    body = q.download(second, "csv")
    assert body.status_code == 200 and body.text.count("\n") == 50001
    third = run(q, sql)  # the source is gone: it runs, or is served by the newer copy, but it ends
    assert third["queryInfo"]["state"] == "FINISHED" and third["totalElements"] == 1000


def test_submits_at_the_same_time_run_once(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "4"}, flights=True)
    sql = f"select '{unique()}', count(*) from flights a join flights b on a.distance = b.distance where a.delay > 300 and b.delay > 300"
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: ask(d, sql), range(6)))
    done = [d.kakao_wait(a.json()["queryInfo"]["queryId"]) for a in answers]
    assert len({x["queryInfo"]["queryId"] for x in done}) == 6
    assert all(x["queryInfo"]["state"] == "FINISHED" and x["queryData"] == done[0]["queryData"] for x in done)
    assert sum(x["queryInfo"]["isScanned"] for x in done) == 1


def test_cancel_by_one_does_not_end_the_others(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1"}, flights=True)
    blocker = d.kakao_run(BLOCK)
    sql = f"select '{unique()}' as t"
    ids = [ask(d, sql).json()["queryInfo"]["queryId"] for _ in range(4)]
    assert d.kakao_abort(ids[0]).status_code == 200  # the one that leads
    assert d.kakao_abort(ids[2]).status_code == 200  # one that waits for it
    assert d.kakao_abort(blocker).status_code == 200
    states = [d.kakao_wait(i)["queryInfo"]["state"] for i in ids]
    assert states == ["ABORTED", "FINISHED", "ABORTED", "FINISHED"]


def test_reuse_survives_a_restart(make_daemon):
    d = make_daemon(flights=True)
    sql = f"select '{unique()}', count(*) from flights"
    assert scanned(run(d, sql))
    d.restart()
    assert not scanned(run(d, sql))


# ---- idempotency keys ----

def recorded_writers(d):
    db = sqlite3.connect(f"file:{d.data}/registry.db?mode=ro", uri=True)
    try:
        return db.execute("SELECT count(*) FROM query WHERE writes = 1").fetchone()[0]
    finally:
        db.close()


def test_a_write_that_a_crash_interrupted_ends_reuse(make_daemon):
    """Nobody knows whether it took effect."""
    d = make_daemon()
    d.kakao_query("create table k as select range as a from range(3)")
    sql = "select count(*) from k"
    assert scanned(run(d, sql)) and not scanned(run(d, sql))
    writer = d.kakao_run("insert into k select a.range from range(100000) a, range(1000000) b")
    wait_until("that it writes is recorded", lambda: recorded_writers(d) == 2)  # the CREATE TABLE is the first
    d.kill()
    d.start()
    assert d.kakao_wait(writer)["queryInfo"]["state"] == "FAILED"
    assert scanned(run(d, sql))


@pytest.mark.parametrize("joins", [True, False])
def test_a_write_between_reading_and_ending_ends_reuse(make_daemon, joins):
    """A result that was read before the write and is FINISHED after it (its delivery had to wait) is neither joined nor remembered."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "2", "QUERN_DELIVERY_THREADS": "1", "QUERN_ENGINE_SILENCE": "300s"})
    d.kakao_query("create table k as select range as a from range(3)")
    d.kylin_submit("select range as n, 'some text ' || range as s from range(300000)", format="xlsx")  # its delivery is the one under way
    pid = wait_until("a render process", lambda: render_process(d), pause=0.001)
    os.kill(pid, signal.SIGSTOP)
    wait_until("its delivery", lambda: at_rest(d))  # the file was begun beside the run
    sql = "select count(*) from k"
    old = ask(d, sql).json()["queryInfo"]["queryId"]
    wait_until("the end of its run", lambda: at_rest(d))
    assert d.kakao_query("insert into k values (9)")["queryInfo"]["state"] == "FINISHED"
    assert d.kakao_get(old)["queryInfo"]["state"] == "RUNNING"
    new = ask(d, sql).json()["queryInfo"]["queryId"] if joins else None
    os.kill(pid, signal.SIGCONT)
    done = d.kakao_wait(old)
    assert scanned(done) and done["queryData"] == [["3"]]
    done = d.kakao_wait(new) if joins else run(d, sql)
    assert scanned(done) and done["queryData"] == [["4"]]
    done = run(d, sql)
    assert not scanned(done) and done["queryData"] == [["4"]]


def test_same_key_same_body_is_the_same_query(q):
    key = {"Idempotency-Key": unique()}
    body = {"query": "select 1", "resultConfig": {"bucketName": "b1", "path": "idem"}}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: q.http("POST", RUN, json=body, headers=key), range(8)))
    assert {a.status_code for a in answers} == {202} and len({a.text for a in answers}) == 1
    again = q.http("POST", RUN, json=body, headers=key)
    assert again.status_code == 202 and again.text == answers[0].text
    # another user's key of the same text is another key
    assert q.http("POST", RUN, json=body, headers=key, key=q.member).json() != again.json()


def test_same_key_other_body_is_409(q):
    key = {"Idempotency-Key": unique()}
    body = {"query": "select 1", "resultConfig": {"bucketName": "b1", "path": "idem"}}
    assert q.http("POST", RUN, json=body, headers=key).status_code == 202
    answer = q.http("POST", RUN, json=dict(body, query="select 2"), headers=key)
    assert answer.status_code == 409 and "Idempotency-Key" in answer.json()["error"]["message"]


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_bad_keys_are_400(q, key):
    body = {"query": "select 1", "resultConfig": {"bucketName": "b1", "path": "idem"}}
    answer = q.http("POST", RUN, json=body, headers={"Idempotency-Key": key})
    assert answer.status_code == 400 and "Idempotency-Key" in answer.json()["error"]["message"]


def test_data360_gives_the_same_answer_again(q):
    key = {"Idempotency-Key": unique()}
    answers = [q.d360_submit("select 41 + 1 as n", headers=key) for _ in range(3)]
    assert len({q.d360_status_of(a)["queryId"] for a in answers}) == 1 and len({a.text for a in answers}) == 1
    other = q.d360_submit("select 43 as n", headers=key, check=False)
    assert other.status_code == 409 and "Idempotency-Key" in other.json()["message"]


def test_keys_survive_kill_9(make_daemon):
    d = make_daemon(flights=True)
    key = {"Idempotency-Key": unique()}
    body = {"query": "select 1", "resultConfig": {"bucketName": "b1", "path": "idem"}}
    first = d.http("POST", RUN, json=body, headers=key).json()
    d.kill()
    d.start()
    assert d.http("POST", RUN, json=body, headers=key).json() == first
