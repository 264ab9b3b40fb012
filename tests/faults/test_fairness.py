"""Fairness between workspaces: thousands of queued queries of one hold another's next one back by at most one start, also after a restart;
the bounds of the queue name themselves and are each workspace's own. The order of starts is read from the registry."""
import os
import sqlite3
import threading

import pytest
import requests

from quern_client import BLOCK, PATIENCE, sanitized, wait_until

MANY = 5000
CLIENTS = 16


def flood(d, key, n, bucket="b1", marker="many"):
    """n queries of this key, submitted by several clients at once; every one must be accepted."""
    wrong = []

    def client(number):
        for i in range(number, n, CLIENTS):
            answer = d.kakao_run(f"SELECT '{marker}', {i}", key=key, bucket=bucket, check=False)
            if answer.status_code != 202:
                wrong.append(f"{i}: {answer.status_code} {answer.text}")
                return

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong


def records(d, sql, *values):
    """Rows of the registry, read beside the daemon."""
    with sqlite3.connect(f"file:{os.path.join(d.data, 'registry.db')}?mode=ro", uri=True, timeout=PATIENCE) as db:
        return db.execute(sql, values).fetchall()


def started(d, workspace):
    """Starts of this workspace's queries but for the blocker, in milliseconds, in order."""
    return [row[0] for row in records(d, "SELECT q.started_ms FROM query q JOIN workspace w ON w.id = q.workspace WHERE w.name = ? AND q.started_ms > 0"
                                         " AND q.sql <> ? ORDER BY 1", workspace, BLOCK)]


@pytest.fixture
def place(make_daemon):
    """One slot, and that is taken by a query of w1."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "0", "QUERN_LOG_LEVEL": "warn"}, start=False)
    d.keys = {"w1": d.key}
    for name in ("w2", "w3"):
        d.keys[name] = d.new_key(workspace=name, user=f"user of {name}")
        d.admin("bucket", "create", f"bucket-{name}", "--url", "file://" + d.bucket_dir, "--workspace", name)
    d.start()
    d.blocker = d.kakao_run(BLOCK)
    d.kakao_wait(d.blocker, states=("RUNNING",))
    return d


def one_of(d, name, text="SELECT 'theirs'"):
    return d.kakao_run(text, key=d.keys[name], bucket="b1" if name == "w1" else f"bucket-{name}")


@pytest.mark.timeout(1800)
def test_next_of_another_workspace_starts_next(place):
    d = place
    flood(d, d.key, MANY)
    assert d.metrics()["quern_queries_queued"] == MANY
    theirs = one_of(d, "w2")
    assert started(d, "w1") == [] and started(d, "w2") == []
    assert d.kakao_abort(d.blocker).status_code == 200
    assert d.kakao_wait(theirs, key=d.keys["w2"])["queryInfo"]["state"] == "FINISHED"
    at = started(d, "w2")
    before = [ms for ms in started(d, "w1") if ms < at[0]]
    assert len(at) == 1 and len(before) <= 1, f"{len(before)} of w1 started before the one of w2"
    # and again in mid-flow: what comes later than thousands goes before them
    for _ in range(5):
        again = one_of(d, "w2")
        left = d.metrics()["quern_queries_queued"]
        assert d.kakao_wait(again, key=d.keys["w2"])["queryInfo"]["state"] == "FINISHED"
        if left > 0:
            break
        flood(d, d.key, MANY)  # too slow: nothing was queued any more
    assert left > 0, "nothing was queued any more: the test shows nothing"


@pytest.mark.timeout(1800)
def test_after_a_restart_too(place):
    """Killed with thousands queued, the other's query came last: the start does not let it wait until it has seen all that came before."""
    d = place
    flood(d, d.key, MANY)
    theirs = one_of(d, "w2")
    d.kill()
    d.no_children()
    d.start(env={"QUERN_RECOVERY_MAX_RUNS": "1"})  # the blocker is not run again: its slot is free from the first moment on
    assert d.kakao_wait(theirs, key=d.keys["w2"])["queryInfo"]["state"] == "FINISHED"
    at = started(d, "w2")[0]
    before = [ms for ms in started(d, "w1") if ms < at]
    assert len(before) <= 1, f"{len(before)} of w1 started before the one of w2"
    rows = records(d, "SELECT count(*) FROM query WHERE sql LIKE ?", "SELECT 'many'%")
    assert rows == [(MANY,)], "an accepted query is lost"
    assert d.kakao_get(d.blocker)["queryInfo"]["state"] == "FAILED"


def test_turns(place):
    """Three workspaces with work: each start goes to the next one's oldest."""
    d = place
    flood(d, d.keys["w1"], 60)
    for name in ("w2", "w3"):
        for i in range(5):
            one_of(d, name, f"SELECT {i} AS i")
    assert d.kakao_abort(d.blocker).status_code == 200
    wait_until("all to end", lambda: d.metrics()["quern_queries_ended_total{ending=\"finished\"}"] == 70)
    w1, w2, w3 = (started(d, name) for name in ("w1", "w2", "w3"))
    assert len(w1) == 60 and len(w2) == len(w3) == 5
    for other in (w2, w3):
        for i, ms in enumerate(other):
            before = len([s for s in w1 if s < ms])
            assert before <= i + 1, f"the {i + 1}. of a small workspace came after {before} of the large one"
    for name in ("w2", "w3"):
        order = records(d, "SELECT q.sql FROM query q JOIN workspace w ON w.id = q.workspace WHERE w.name = ? ORDER BY q.started_ms, q.ended_ms, q.created_ms, q.sql", name)
        assert [row[0] for row in order] == [f"SELECT {i} AS i" for i in range(5)], "not first come, first served inside a workspace"


def test_a_full_queue_names_its_key(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "0", "QUERN_QUEUE_PER_WORKSPACE": "5", "QUERN_QUEUE_TOTAL": "8"}, start=False)
    other = d.new_key(workspace="w2", user="erin")
    d.admin("bucket", "create", "b2", "--url", "file://" + d.bucket_dir, "--workspace", "w2")
    d.start()
    d.kakao_wait(d.kakao_run(BLOCK), states=("RUNNING",))
    queued = [d.kakao_run(f"SELECT {i}") for i in range(5)]
    for answer in (d.kakao_run("SELECT 6", check=False), d.d360_submit("SELECT 6", mode="ASYNC", check=False)):
        assert answer.status_code == 429 and "queue.per_workspace" in answer.text, f"{answer.status_code} {answer.text}"
        assert int(answer.headers["Retry-After"]) > 0
    # another workspace has its own bound, up to the total
    for i in range(3):
        d.kakao_run(f"SELECT {i}", key=other, bucket="b2")
    answer = d.kakao_run("SELECT 9", key=other, bucket="b2", check=False)
    assert answer.status_code == 429 and "queue.total" in answer.text, f"{answer.status_code} {answer.text}"
    assert int(answer.headers["Retry-After"]) > 0
    # what was refused left nothing behind
    assert d.http("GET", "/v1/data-query/query").json()["totalElements"] == 6
    d.kill()
    d.start()
    assert d.http("GET", "/v1/data-query/query").json()["totalElements"] == 6
    assert d.kakao_get(queued[0])["queryInfo"]["state"] == "QUEUED"


def test_a_canceled_query_gives_its_place_back(make_daemon):
    """What was canceled while it waited does not count against the bounds, although no slot became free meanwhile."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "0", "QUERN_QUEUE_PER_WORKSPACE": "5"})
    d.kakao_wait(d.kakao_run(BLOCK), states=("RUNNING",))
    for _ in range(3):
        queued = [d.kakao_run(f"SELECT {i}") for i in range(5)]
        assert d.kakao_run("SELECT 6", check=False).status_code == 429
        for qid in queued:
            assert d.kakao_abort(qid).status_code == 200
    wait_until("the queue to be empty", lambda: d.metrics()["quern_queries_queued"] == 0)


def test_submit_storm_beyond_the_bound(make_daemon):
    """Far more clients than places: exactly the places are taken, the rest is told to come back, and what was taken ends."""
    places = 50
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "0", "QUERN_QUEUE_PER_WORKSPACE": str(places), "QUERN_LOG_LEVEL": "warn"})
    blocker = d.kakao_run(BLOCK)
    d.kakao_wait(blocker, states=("RUNNING",))
    statuses, taken = [], []

    def client():
        for _ in range(20 if sanitized() else 60):
            try:
                answer = d.kakao_run("SELECT 1", check=False)
            except requests.exceptions.RequestException as e:
                statuses.append(repr(e))
                return
            statuses.append(answer.status_code)
            if answer.status_code == 202:
                taken.append(answer.json()["queryInfo"]["queryId"])

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert set(statuses) == {202, 429}, set(statuses)
    # a submit that is being decided while another takes the last place may pass too: never more than there are clients
    assert places <= len(taken) <= places + CLIENTS, len(taken)
    assert d.kakao_abort(blocker).status_code == 200
    for qid in taken:
        assert d.kakao_wait(qid)["queryInfo"]["state"] == "FINISHED"
