"""kill -9 of the daemon while scripts run (design.md decision 1): what only reads and gave nothing away runs again, all else keeps the
results of the statements that had ended and says so; a write is done once or not at all. The seed is printed; QUERN_SEED=N repeats it."""
import os
import random
import threading
import time

import pytest
import requests

from quern_client import BUILD, PATIENCE, RELEASE, Daemon, descendants, kill_all, wait_until

LONG = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1"
SOME_TIME = "SELECT count(*) AS n FROM range(6000) a, range(6000) b WHERE a.range * b.range % 7 = 3"
ERROR = {"error": "interrupted by restart"}


def at_result(d, qid, n):
    return wait_until(f"{n} results of {qid}", lambda: (lambda x: (x["numResults"] or 0) >= n and x)(d.jackdb_get(qid)))


def kill_and_start(d):
    d.kill()
    d.no_children()
    d.start()


def files(d):
    return sorted(name for _, _, names in os.walk(os.path.join(d.data, "spool")) for name in names)


def test_a_script_that_gave_nothing_away_runs_again(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1"})
    qid = d.jackdb_execute(f"SELECT range AS n FROM range(60000); {SOME_TIME}; {SOME_TIME}; {SOME_TIME}; SELECT 5 AS five")["id"]
    at_result(d, qid, 1)  # known, but no row was read
    kill_and_start(d)
    query = d.jackdb_wait(qid)
    assert query["success"] is True and query["numResults"] == 5
    assert d.jackdb_get(f"{qid}/result/0/rows?seek=59999") == [["59999"]]
    assert d.jackdb_get(f"{qid}/result/4/rows") == [["5"]]
    wait_until("the first run's file to go", lambda: len(files(d)) == 1)


def test_a_script_whose_rows_were_read_keeps_them(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1"})
    qid = d.jackdb_execute(f"SELECT range AS n FROM range(60000); SELECT 2 AS two; {LONG}")["id"]
    at_result(d, qid, 2)
    assert d.jackdb_get(f"{qid}/result/0/rows?seek=59999") == [["59999"]]
    before = [d.jackdb_get(f"{qid}/result/{i}") for i in range(2)]
    kill_and_start(d)
    query = d.jackdb_wait(qid)
    assert query["success"] is False and query["numResults"] == 3 and query["completedAt"]
    assert [d.jackdb_get(f"{qid}/result/{i}") for i in range(2)] == before
    assert d.jackdb_get(f"{qid}/result/2")["detail"] == ERROR
    assert d.jackdb_get(f"{qid}/result/0/rows?seek=59999") == [["59999"]]
    assert d.jackdb_get(f"{qid}/result/1/rows") == [["2"]]
    body = d.kakao_get(qid)
    assert body["queryInfo"]["state"] == "FAILED" and body["queryData"] == []
    d.jackdb("DELETE", f"/query/{qid}")
    wait_until("the files to go", lambda: not files(d))


@pytest.mark.parametrize("autocommit,there", [("true", "2"), ("false", "0")])
def test_a_script_that_writes_is_never_run_again(make_daemon, autocommit, there):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1"})
    assert d.jackdb_query("CREATE TABLE t(a INT)")["success"] is True
    qid = d.jackdb_execute(f"INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); {LONG}; INSERT INTO t VALUES (3)", autocommit=autocommit)["id"]
    at_result(d, qid, 2)
    time.sleep(0.3)  # their rows are in the registry, or they are not: both are right
    kill_and_start(d)
    query = d.jackdb_wait(qid)
    assert query["success"] is False
    results = d.jackdb_results(query)
    assert results[-1]["type"] == "error" and results[-1]["detail"] == ERROR
    assert [r["detail"] for r in results[:-1]] == [{"updateCount": 1}] * (len(results) - 1)
    count = d.jackdb_query("SELECT count(*) FROM t")
    assert d.jackdb_get(f"{count['id']}/result/0/rows") == [[there]]


def test_a_canceled_script_stays_canceled(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1"})
    qid = d.jackdb_execute(f"SELECT range AS n FROM range(60000); {LONG}")["id"]
    at_result(d, qid, 1)
    assert d.jackdb("POST", f"/query/{qid}/cancel").json() == {}
    kill_and_start(d)  # at once: the answer said that it is durable
    query = d.jackdb_get(qid)
    assert query["success"] is False and query["numResults"] == 2
    assert d.jackdb_get(f"{qid}/result/1")["detail"] == {"error": "Query was canceled"}
    assert d.jackdb_get(f"{qid}/result/0/rows?seek=59999") == [["59999"]]


def test_a_crash_of_the_engine_costs_the_statement(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1"})
    assert d.jackdb_query("CREATE TABLE t(a INT)")["success"] is True
    for autocommit, there in (("true", "1"), ("false", "1")):
        qid = d.jackdb_execute(f"INSERT INTO t VALUES (1); {LONG}; INSERT INTO t VALUES (2)", autocommit=autocommit, stopOnError="false")["id"]
        at_result(d, qid, 1)
        kill_all(pid for (pid, _), name in descendants(d.process.pid).items() if name == "quern-engine")
        query = d.jackdb_wait(qid)
        results = d.jackdb_results(query)
        assert query["success"] is False and [r["type"] for r in results] == ["update", "error"], results
        assert "engine" in results[1]["detail"]["error"]
        count = d.jackdb_query("SELECT count(*) FROM t")
        assert d.jackdb_get(f"{count['id']}/result/0/rows") == [[there]]


def test_a_stop_in_the_middle_and_a_start(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "0"})
    qid = d.jackdb_execute(f"SELECT range AS n FROM range(60000); {SOME_TIME}; {SOME_TIME}; {SOME_TIME}; SELECT 5 AS five")["id"]
    at_result(d, qid, 1)
    d.restart()
    query = d.jackdb_wait(qid)
    assert query["success"] is True and query["numResults"] == 5
    assert d.jackdb_get(f"{qid}/result/0/rows?seek=59999") == [["59999"]]
    wait_until("the first run's file to go", lambda: len(files(d)) == 1)


class Writers:
    """Each script inserts its own number, once or (atomic) twice, between reads."""

    def __init__(self, d):
        self.d, self.accepted, self.lock, self.next, self.stop = d, {}, threading.Lock(), 0, threading.Event()
        self.wrong = []

    def write(self, rng):
        while not self.stop.is_set():
            atomic = rng.random() < 0.5
            with self.lock:
                self.next += 1
                n = self.next
            insert = f"INSERT INTO t VALUES ({n})"
            command = f"SELECT {n}; {insert}; " + (f"{insert}; " if atomic else "") + "SELECT count(*) >= 1 FROM t"
            try:
                answer = self.d.jackdb_execute(command, autocommit="false" if atomic else "true", check=False, wait=rng.choice((0, 0, 1)))
            except (requests.RequestException, OSError):
                return
            if answer.status_code != 200:
                self.wrong.append(answer.text)
                return
            with self.lock:
                self.accepted[answer.json()["id"]] = (n, atomic)


@pytest.mark.timeout(1800)
def test_random_kills():
    seed = int(os.environ.get("QUERN_SEED") or time.time_ns() % 1_000_000_000)
    kills = int(os.environ.get("QUERN_KILLS", "10"))
    build = RELEASE if os.path.exists(os.path.join(RELEASE, "quernd")) else BUILD
    print(f"seed {seed}, {kills} kills")
    rng = random.Random(seed)
    d = Daemon(build=build, env={"QUERN_LOG_LEVEL": "warn"})
    try:
        d.prepare(flights=False).start()
        assert d.jackdb_query("CREATE TABLE t(a INT)")["success"] is True
        w = Writers(d)
        for round_number in range(kills):
            w.stop.clear()
            threads = [threading.Thread(target=w.write, args=(random.Random(f"{seed}/{round_number}/{i}"),), daemon=True) for i in range(3)]
            for t in threads:
                t.start()
            time.sleep(0.2 + rng.random() * 1.2)
            d.kill()
            w.stop.set()
            for t in threads:
                t.join(PATIENCE)
                assert not t.is_alive(), "a writer hangs"
            d.no_children()
            d.start()
            assert not w.wrong, w.wrong[:3]
        ends = {qid: d.jackdb_wait(qid) for qid in w.accepted}
        counted = d.jackdb_query("SELECT a, count(*) FROM t GROUP BY a")
        rows = {int(a): int(n) for a, n in d.jackdb_get(f"{counted['id']}/result/0/rows?limit=1000000")}
        done = 0
        for qid, (n, atomic) in w.accepted.items():
            query, got = ends[qid], rows.get(n, 0)
            results = d.jackdb_results(query)
            whole = 2 if atomic else 1
            if query["success"]:
                done += 1
                assert got == whole and len(results) == (4 if atomic else 3), f"seed {seed}: {qid} {got} {results}"
            else:
                assert results[-1]["type"] == "error" and results[-1]["detail"] == ERROR, f"seed {seed}: {qid} {results}"
                assert got in (0, whole), f"seed {seed}: {qid} inserted {got} times"
                if not atomic and any(r["type"] == "update" for r in results):
                    assert got == 1, f"seed {seed}: {qid} says that it inserted, and did not: {results}"
        print(f"{len(w.accepted)} accepted, {done} succeeded")
        assert done and len(w.accepted) >= kills, "hardly any load: the test proves nothing"
        d.finish()
    except BaseException:
        print(f"seed {seed}")
        raise
    finally:
        if d.process:
            d.process.kill()
            d.process.wait()
