"""kill -9 of the daemon in the middle of DDL and INSERT: every statement happened wholly or not at all, what was told FINISHED is there, nothing is
run twice, and nobody hears of a lock. QUERN_SEED repeats a run."""
import glob
import os
import random
import time

from quern_client import sanitized, wait_until

ROUNDS = int(os.environ.get("QUERN_KILL_ROUNDS", "8" if sanitized() else "24"))
ROWS = 200000


def rows(d, sql):
    body = d.kakao_query(sql)
    assert body["queryInfo"]["state"] == "FINISHED", f"{sql}: {body}"
    return body["queryData"]


def tables(d):
    return {name for (name,) in rows(d, "SELECT table_name FROM information_schema.tables WHERE table_catalog = 'data_catalog' AND table_schema = 'main'")}


class Model:
    """What may be there: for each statement under way when the daemon died, both what was before and what comes after."""

    def __init__(self):
        self.next = 0

    def statements(self, rng):
        self.next += 1
        n = self.next
        wait = f"(SELECT count(*) * 0 FROM range({rng.randrange(1, 40)} * 1000000))"
        return rng.choice([
            ("insert", f"INSERT INTO t SELECT {n}, range + {wait} FROM range({ROWS})"),
            ("insert", f"INSERT INTO t SELECT {n}, range FROM range({ROWS})"),
            ("update", "UPDATE s SET v = v + 1"),
            ("create", f"CREATE TABLE c{n} AS SELECT range AS a FROM range({ROWS})"),
            ("view", f"CREATE OR REPLACE VIEW v AS SELECT {n} AS n"),
        ]) + (n,)


def test_kill9_while_writing(make_daemon):
    seed = int(os.environ.get("QUERN_SEED", random.randrange(1 << 30)))
    print(f"QUERN_SEED={seed} rounds={ROUNDS}")
    rng = random.Random(seed)
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "4"})
    # The first catalog is made under fire too.
    for attempt in range(6):
        qid = d.kakao_run("CREATE TABLE t (n INTEGER, a BIGINT)")
        time.sleep(rng.random() * 0.25)
        d.kill()
        d.start()
        state = d.kakao_wait(qid)["queryInfo"]["state"]
        if "t" in tables(d):
            break
        assert state == "FAILED", state
    else:
        rows(d, "CREATE TABLE t (n INTEGER, a BIGINT)")
    rows(d, "CREATE TABLE s AS SELECT range AS k, 0 AS v FROM range(5000)")
    model, inserted, maybe, created, maybe_created = Model(), set(), set(), set(), set()
    low = high = 0
    outcomes = {"FINISHED": 0, "FAILED": 0}
    for number in range(ROUNDS):
        flying = []
        for _ in range(rng.randrange(1, 5)):
            what, sql, n = model.statements(rng)
            flying.append((what, n, d.kakao_run(sql)))
        reader = d.kakao_run("SELECT n, count(*) FROM t GROUP BY 1 ORDER BY 1")
        if rng.random() < 0.7:  # in the middle of a write
            wait_until("a write runs", lambda: any(d.kakao_get(qid)["queryInfo"]["state"] != "QUEUED" for _, _, qid in flying))
            time.sleep(rng.random() * 0.15)
        else:
            time.sleep(rng.random() * 0.5)
        d.kill()
        d.start()
        for what, n, qid in flying:
            body = d.kakao_wait(qid)
            info = body["queryInfo"]
            ok = info["state"] == "FINISHED"
            outcomes[info["state"]] += 1
            assert ok or info["error"]["message"] == "interrupted by restart", info
            if what == "insert":
                (inserted if ok else maybe).add(n)
            elif what == "create":
                (created if ok else maybe_created).add(n)
            elif what == "update":
                low, high = low + ok, high + 1
        assert d.kakao_wait(reader)["queryInfo"]["state"] == "FINISHED"
        # All or nothing, each once.
        found = {}
        for n, distinct, count in rows(d, "SELECT n, count(DISTINCT a), count(*) FROM t GROUP BY 1"):
            found[int(n)] = (int(distinct), int(count))
        assert inserted <= set(found), f"lost: {inserted - set(found)}"
        assert set(found) <= inserted | maybe, f"from nowhere: {set(found) - inserted - maybe}"
        for n, (distinct, count) in found.items():
            assert count == ROWS, f"round {number}: insert {n} is there {count / ROWS} times"
            assert distinct == ROWS, (n, distinct)
        ((a, b, count),) = rows(d, "SELECT min(v), max(v), count(*) FROM s")
        assert a == b and int(count) == 5000 and low <= int(a) <= high, f"round {number}: {a}..{b}, between {low} and {high}"
        low = high = int(a)
        there = {int(x[1:]) for x in tables(d) if x[0] == "c"}
        assert created <= there <= created | maybe_created, (created, there, maybe_created)
        for n in there:
            assert rows(d, f"SELECT count(*), sum(a) FROM c{n}") == [[str(ROWS), str(ROWS * (ROWS - 1) // 2)]]
        maybe &= set(found)
        if rng.random() < 0.3:
            for n in there:
                rows(d, f"DROP TABLE c{n}")
            rows(d, "DELETE FROM t")
            inserted, maybe, created, maybe_created = set(), set(), set(), set()
    print(outcomes)
    assert outcomes["FINISHED"] > 0 and (outcomes["FAILED"] > 0 or ROUNDS < 20), outcomes
    assert "Could not set lock" not in d.log()
    d.stop()
    assert not glob.glob(os.path.join(d.data, "catalog", "*", "*.wal"))
