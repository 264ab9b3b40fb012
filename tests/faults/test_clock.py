"""The wall clock jumps, stands still and runs backwards, while the daemon runs (clock_shim.c) and between two starts (QUERN_CLOCK_OFFSET_MS):
no query is lost, nothing is deleted early, what waits goes on waiting by the monotonic clock."""
import os
import threading
import time

import pytest

import moved_clock
from quern_client import BLOCK, wait_until

YEAR = 365 * 86400 * 1000
HOUR = 3600 * 1000
JUMPS = {"ten years on": 10 * YEAR, "ten years back": -10 * YEAR, "25 hours on": 25 * HOUR, "a minute back": -60000}


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return moved_clock.build_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def moved(shim, tmp_path):
    """A daemon whose wall clock is moved by `clock`."""
    made = []

    def make(env=None):
        d = moved_clock.daemon(shim, tmp_path, {"QUERN_ENGINE_SLOTS": "2", "QUERN_SERVER_DRAIN": "0", **(env or {})})
        made.append(d)
        return d.start()

    yield make
    for d in made:
        d.finish()


def now_of(d):
    """The daemon's wall clock, from the id of a new query (Kakao's spelling begins with its second, in KST)."""
    qid = d.kakao_run("SELECT 1 AS now")
    d.kakao_wait(qid)
    return time.mktime(time.strptime(qid[:15], "%Y%m%d-%H%M%S"))


def ticks(d, n):
    """Waits for n turns of the janitor (one a second by the monotonic clock), generously."""
    time.sleep(n + 1)
    assert d.http("GET", "/healthz", key=False).status_code == 200


def sane(d, body):
    """No negative duration in what is shown."""
    assert "\"-" not in str(body["queryInfo"]["queryStats"]).replace("'", "\""), body
    listed = d.http("GET", "/v1/data-query/query?size=2000")
    assert listed.status_code == 200 and '"-' not in listed.text.replace('"creatorName":"-"', ""), listed.text[:500]


def large(d):
    qid = d.d360_status_of(d.d360_submit("SELECT range AS n, repeat('x', 100) AS pad FROM range(200000)", mode="ASYNC"))["queryId"]
    assert d.d360_wait(qid).json()["rowCount"] == 200000
    return qid


def test_the_shim_moves_the_clock(moved):
    d = moved()
    before = now_of(d)
    d.clock.jump(10 * YEAR)
    assert now_of(d) - before > 9 * YEAR / 1000
    d.clock.jump(0)
    assert abs(now_of(d) - before) < YEAR / 1000


@pytest.mark.parametrize("name", JUMPS)
def test_jump_while_serving(moved, name):
    """A glitch: the clock jumps, some seconds pass, it jumps back. All that was there is there, and all works in between."""
    d = moved()
    small = d.kakao_query("SELECT 11 AS v")["queryInfo"]["queryId"]
    big = large(d)
    body = d.download(big, "csv").content
    running = d.kakao_run(BLOCK)
    d.kakao_wait(running, states=("RUNNING",))
    second = d.kakao_run(BLOCK)
    d.kakao_wait(second, states=("RUNNING",))
    queued = d.kakao_run("SELECT 12 AS v")
    d.clock.jump(JUMPS[name])
    ticks(d, 4)
    for qid in (running, second):
        assert d.kakao_get(qid)["queryInfo"]["state"] == "RUNNING", "the run time limit goes by the wall clock"
    assert d.kakao_get(queued)["queryInfo"]["state"] == "QUEUED"
    assert d.kakao_get(small)["queryData"] == [["11"]], "a result was deleted early"
    assert d.jackdb_get(small + "/result/0/rows") == [["11"]], "a result expired early"
    assert d.kakao_abort(second).status_code == 200
    assert d.kakao_wait(queued)["queryData"] == [["12"]]
    inside = d.kakao_query("SELECT 13 AS v")
    assert inside["queryData"] == [["13"]]
    sane(d, inside)
    d.clock.jump(0)
    ticks(d, 3)
    sane(d, d.kakao_get(queued))
    assert d.kakao_get(small)["queryData"] == [["11"]]
    assert d.download(big, "csv").content == body
    assert d.kakao_get(running)["queryInfo"]["state"] == "RUNNING"
    assert d.kakao_abort(running).status_code == 200
    ids = {c["queryInfo"]["queryId"] for c in d.http("GET", "/v1/data-query/query?size=2000").json()["content"]}
    assert {small, running, second, queued, inside["queryInfo"]["queryId"]} <= ids, "a query is lost from the list"
    d.works()


def test_download_during_a_jump(moved):
    """A download that began goes on to its end whatever the clock says."""
    d = moved()
    big = large(d)
    whole = d.download(big, "csv").content
    with d.download(big, "csv", stream=True) as answer:
        head = answer.raw.read(1000)
        d.clock.jump(10 * YEAR)
        ticks(d, 3)
        assert head + answer.raw.read() == whole


def test_a_standing_clock(moved):
    """Time-outs are monotonic: with a wall clock that stands, polls end, queries run, ids differ, and nothing spins."""
    d = moved()
    running = d.kakao_run(BLOCK)
    d.kakao_wait(running, states=("RUNNING",))
    d.clock.stand()
    answer = d.d360_get(f"{running}?waitTimeMs=300")
    assert answer.status_code == 200 and answer.json()["completionStatus"] == "RUNNING"
    ids = [d.kakao_run("SELECT 1 AS v") for _ in range(30)]
    assert len(set(ids)) == 30
    for qid in ids:
        assert d.kakao_wait(qid)["queryData"] == [["1"]]
    assert d.kakao_abort(running).status_code == 200
    sane(d, d.kakao_get(running))

    def cpu():
        with open(f"/proc/{d.process.pid}/stat") as f:
            rest = f.read().rsplit(")", 1)[1].split()
        return (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK")

    wait_until("the slots to be free", lambda: d.metrics()["quern_queries_running"] == 0)
    before = cpu()
    time.sleep(3)
    assert cpu() - before < 1.5, "the daemon spins"  # a busy loop takes 3 s of CPU, an idle daemon next to none


def test_back_each_second(moved):
    """A clock that loses a second each time: ids stay apart, the list whole, and each query ends after it began."""
    d = moved()
    ids = []
    for i in range(30):
        d.clock.jump(-1000 * i)
        ids.append(d.kakao_run(f"SELECT {i} AS v"))
    for i, qid in enumerate(ids):
        body = d.kakao_wait(qid)
        assert body["queryData"] == [[str(i)]]
        stats = body["queryInfo"]["queryStats"]
        assert stats["completedAt"] >= stats["createdAt"]
        sane(d, body)
    assert len(set(ids)) == 30
    listed = {c["queryInfo"]["queryId"] for c in d.http("GET", "/v1/data-query/query?size=2000").json()["content"]}
    assert set(ids) <= listed
    assert d.http("GET", "/v1/data-query/query").json()["totalElements"] == 30


def test_a_long_poll_over_a_jump(moved):
    """A poll that waits is neither ended by a jump nor deaf to the end of its query."""
    d = moved()
    running = d.kakao_run(BLOCK)
    d.kakao_wait(running, states=("RUNNING",))
    got = []
    t = threading.Thread(target=lambda: got.append(d.jackdb("GET", f"/query/{running}?wait=60")))
    t.start()
    wait_until("the poll to be parked", lambda: d.metrics()["quern_http_parked"] == 1)
    for jump in (10 * YEAR, -10 * YEAR, 0):
        d.clock.jump(jump)
        ticks(d, 1)
        assert not got and d.metrics()["quern_http_parked"] == 1, "the jump ended the poll"
    assert d.kakao_abort(running).status_code == 200
    t.join()
    assert got[0].status_code == 200 and got[0].json()["success"] is False, got


@pytest.mark.parametrize("name", JUMPS)
def test_another_clock_at_the_next_start(make_daemon, name):
    """Killed with work, started with a clock that is wrong, started again with the right one: nothing accepted is lost, nothing ran amiss."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "0"})
    done = d.kakao_query("SELECT 21 AS v")["queryInfo"]["queryId"]
    running = d.kakao_run(BLOCK)
    d.kakao_wait(running, states=("RUNNING",))
    queued = [d.kakao_run(f"SELECT {i} AS v") for i in range(5)]
    d.kill()
    d.no_children()
    d.start(env={"QUERN_CLOCK_OFFSET_MS": str(JUMPS[name])})
    ticks(d, 3)
    body = d.kakao_wait(running, states=("RUNNING",))
    sane(d, body)
    for qid in queued:
        body = d.kakao_get(qid)
        assert body["queryInfo"]["state"] == "QUEUED"
        sane(d, body)
    inside = d.kakao_run("SELECT 22 AS v")
    assert d.kakao_abort(running).status_code == 200
    for i, qid in enumerate(queued):
        body = d.kakao_wait(qid)
        assert body["queryData"] == [[str(i)]]
        sane(d, body)
    assert d.kakao_wait(inside)["queryData"] == [["22"]]
    d.stop()
    d.start()
    ticks(d, 2)
    for qid in [done, running, inside, *queued]:
        assert d.http("GET", f"/v1/data-query/query/{qid}").status_code == 200, "a query is lost"
    if JUMPS[name] < 24 * HOUR:
        assert d.kakao_get(done)["queryData"] == [["21"]], "a result was deleted early"
    assert d.http("GET", "/v1/data-query/query").json()["totalElements"] == 8
    d.works()
