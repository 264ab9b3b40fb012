"""kill -9 of the daemon at random instants with 8 writers through both dialects: nothing accepted is lost, nothing stays
stuck, no half result. The seed is printed; QUERN_SEED=N runs the same kills again, QUERN_KILLS=N more of them."""
import csv
import io
import os
import random
import threading
import time

import duckdb
import pytest
import requests

from quern_client import BUILD, FLIGHTS, PATIENCE, RELEASE, Daemon, wait_until

KILLS = int(os.environ.get("QUERN_KILLS", "60"))
WRITERS = 8
STATEMENTS = {
    "one": "SELECT 1 AS one",
    "small": "SELECT range AS n, 'row ' || range AS label FROM range(100) ORDER BY n",
    "large": "SELECT range AS n, range % 7 AS rest, 'a longer text ' || range AS label FROM range(100000)",
    "group": "SELECT origin, count(*) AS n, sum(delay) AS total FROM flights GROUP BY origin ORDER BY n DESC, origin",
    "scan": "SELECT count(*) AS n, max(distance) AS far FROM flights WHERE delay > 0",
}
WEIGHTS = {"one": 6, "small": 4, "large": 2, "group": 1, "scan": 1}


def expected_rows():
    """What the engine itself answers, as text cells."""
    con = duckdb.connect()
    con.execute(f"CREATE VIEW flights AS SELECT * FROM read_parquet('{FLIGHTS}')")
    return {name: [[str(v) for v in row] for row in con.execute(sql).fetchall()] for name, sql in STATEMENTS.items()}


class Load:
    """Eight writers that submit until the daemon is gone, and the history of what was answered."""

    def __init__(self, daemon, seed):
        self.daemon, self.seed = daemon, seed
        self.lock = threading.Lock()
        self.accepted = {}  # id -> (statement, dialect, may have been exposed)
        self.wrong = []
        self.stop = threading.Event()
        self.threads = []

    def begin(self, round_number):
        self.stop.clear()
        self.threads = [threading.Thread(target=self.write, args=(random.Random(f"{self.seed}/{round_number}/{i}"), i), daemon=True)
                        for i in range(WRITERS)]
        for t in self.threads:
            t.start()

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join(PATIENCE)
            assert not t.is_alive(), "a writer hangs"

    def accept(self, qid, statement, dialect, exposed):
        with self.lock:
            assert qid not in self.accepted, f"the id {qid} was given twice"
            self.accepted[qid] = (statement, dialect, exposed)

    def write(self, rng, number):
        self.daemon.local = threading.local()
        while not self.stop.is_set():
            statement = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            try:
                if number % 2:
                    self.one_kakao(rng, statement)
                else:
                    self.one_d360(rng, statement)
            except (requests.exceptions.RequestException, OSError):
                return
            except Exception as e:  # anything else is a finding
                with self.lock:
                    self.wrong.append(f"{statement}: {type(e).__name__}: {e}")
                return

    def one_kakao(self, rng, statement):
        answer = self.daemon.kakao_run(STATEMENTS[statement], check=False)
        if answer.status_code != 202:
            raise AssertionError(f"submit: {answer.status_code} {answer.text}")
        qid = answer.json()["queryInfo"]["queryId"]
        self.accept(qid, statement, "kakao", False)
        for _ in range(rng.choice((0, 1, 1, 40))):
            if self.stop.is_set():
                return
            body = self.daemon.kakao_get(qid)
            if body["queryInfo"]["state"] not in ("QUEUED", "RUNNING"):
                if body["queryInfo"]["state"] != "FINISHED":
                    raise AssertionError(f"{qid}: {body}")
                return
            time.sleep(0.02)

    def one_d360(self, rng, statement):
        mode = rng.choice(("ADAPTIVE", "ADAPTIVE", "ASYNC"))
        answer = self.daemon.d360_submit(STATEMENTS[statement], mode=mode, check=False)
        if answer.status_code != 200:
            raise AssertionError(f"submit: {answer.status_code} {answer.text}")
        self.accept(self.daemon.d360_status_of(answer)["queryId"], statement, "data360", mode == "ADAPTIVE")


def check_round(daemon, accepted, bodies, totals):
    """Every accepted query is there, ends, and has either all of its rows or a state without rows."""
    for qid, (statement, dialect, exposed) in accepted.items():
        def probe():
            body = daemon.http("GET", f"/v1/data-query/query/{qid}")
            assert body.status_code == 200, f"LOST: {qid} ({statement}, {dialect}): {body.status_code} {body.text}"
            body = body.json()
            return body if body["queryInfo"]["state"] not in ("QUEUED", "RUNNING") else None

        body = wait_until(f"STUCK: {qid} ({statement}, {dialect})", probe)
        state = body["queryInfo"]["state"]
        totals[state] = totals.get(state, 0) + 1
        if state == "FAILED":
            error = body["queryInfo"]["error"]
            assert exposed and error["message"] == "interrupted by restart", f"{qid} ({statement}, {dialect}): {error}"
            assert body["queryData"] == [] and body["totalElements"] == 0
            gone = daemon.download(qid, "csv")
            assert gone.status_code >= 400, f"{qid} FAILED and has rows: {gone.status_code}"
            continue
        assert state == "FINISHED", f"{qid}: {body}"
        rows = daemon.download(qid, "csv")
        assert rows.status_code == 200, f"{qid}: {rows.status_code} {rows.text[:300]}"
        assert rows.content == bodies[statement], f"HALF: {qid} ({statement}, {dialect}): {len(rows.content)} bytes of {len(bodies[statement])}"
        if dialect == "kakao":
            config = body["resultConfig"]
            assert config["isStored"], f"{qid}: {config}"
            base = os.path.join(daemon.bucket_dir, config["path"], qid)
            assert os.path.exists(base + ".csv") and os.path.exists(base + ".metadata"), f"{qid}: not delivered"


@pytest.mark.timeout(1800)
def test_kill9_loses_nothing():
    seed = int(os.environ.get("QUERN_SEED") or time.time_ns() % 1_000_000_000)
    build = RELEASE if os.path.exists(os.path.join(RELEASE, "quernd")) else BUILD
    print(f"seed {seed}, {KILLS} kills, {os.path.basename(build)}")
    rng = random.Random(seed)
    want = expected_rows()
    daemon = Daemon(build=build, env={"QUERN_LOG_LEVEL": "warn"})
    try:
        daemon.prepare().start()
        bodies = {}
        for name, sql in STATEMENTS.items():
            body = daemon.kakao_query(sql)
            got = daemon.download(body["queryInfo"]["queryId"], "csv")
            rows = list(csv.reader(io.StringIO(got.content.decode())))
            assert rows[1:] == want[name], f"{name}: the engine's own answer differs"
            bodies[name] = got.content
        load, totals, all_accepted = Load(daemon, seed), {}, {}
        for number in range(KILLS):
            load.begin(number)
            time.sleep(rng.random() * rng.choice((0.03, 0.3, 0.6)))
            daemon.kill()
            load.end()
            daemon.no_children()
            daemon.start()
            check_round(daemon, load.accepted, bodies, totals)
            assert not load.wrong, f"seed {seed}: {load.wrong}"
            all_accepted.update(load.accepted)
            load.accepted = {}
        for qid, (statement, _, _) in rng.sample(sorted(all_accepted.items()), min(300, len(all_accepted))):
            state = daemon.kakao_get(qid)["queryInfo"]["state"]
            if state == "FINISHED":
                assert daemon.download(qid, "csv").content == bodies[statement], f"{qid} changed later"
        assert not os.listdir(os.path.join(daemon.data, "spool", "tmp")), "temporary files are left"
        print(f"{len(all_accepted)} accepted over {KILLS} kills: {totals}")
        assert len(all_accepted) >= KILLS, "hardly any load: the test proves nothing"
        daemon.finish()
    except BaseException:
        print(f"seed {seed}")
        raise
    finally:
        if daemon.process:
            daemon.process.kill()
            daemon.process.wait()


def delete(daemon, qid, dialect):
    if dialect == "data360":
        return daemon.http("DELETE", f"/api/v3/query/{qid}", dialect="data360").status_code == 204
    if dialect == "jackdb":
        return daemon.jackdb("DELETE", f"/query/{qid}").status_code == 200
    return daemon.kylin("DELETE", f"async_query/{qid}?project=w1").json().get("data") is True


def test_kill9_loses_no_deletion():
    """What was answered to be deleted has no rows after the next start, whichever dialect was asked."""
    build = RELEASE if os.path.exists(os.path.join(RELEASE, "quernd")) else BUILD
    daemon = Daemon(build=build, env={"QUERN_LOG_LEVEL": "warn"})
    daemon.prepare().start()
    told = 0
    for number in range(6):
        ids = [daemon.d360_status_of(daemon.d360_submit("SELECT range AS n FROM range(3)"))["queryId"] for _ in range(40)]
        answered = []

        def work(mine):
            daemon.local = threading.local()
            for i, qid in enumerate(mine):
                try:
                    if delete(daemon, qid, ("data360", "jackdb", "kylin")[i % 3]):
                        answered.append(qid)
                except requests.exceptions.RequestException:
                    return

        threads = [threading.Thread(target=work, args=(ids[i::2],)) for i in range(2)]
        for t in threads:
            t.start()
        wait_until("the first deletions", lambda: len(answered) >= 3 + 5 * number, pause=0)
        daemon.kill()
        for t in threads:
            t.join(PATIENCE)
        daemon.no_children()
        daemon.start()
        for qid in answered:
            assert daemon.download(qid, "csv").status_code in (404, 410), f"{qid} came back"
        told += len(answered)
    assert told >= 60
    daemon.finish()
