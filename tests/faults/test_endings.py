"""Every row of the endings table (src/core/ending.c), produced for real and read through both dialects: state, SQLSTATE and
HTTP status, Trino's name, text; and afterwards a query runs, so the slot is free."""
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

from quern_client import BLOCK, BUILD, ROOT, StartFailed, descendants, kill_all, process_table, sanitized, wait_until

# Works without end as far as a test is concerned; obeys an interrupt.
LONG = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1"
# One call of a function that no interrupt reaches, for about an hour and in little memory: only SIGKILL ends it. (The length comes from a
# table function, or the call would be made when the statement is compiled.)
DEAF = "SELECT levenshtein(rpad('', n, 'a'), rpad('', n, 'b')) AS d FROM (SELECT CAST(range AS INTEGER) AS n FROM range(1000000, 1000001)) t"

# ending: (state in Kakao's words, SQLSTATE, Trino name, Trino number, Trino type, text (regular expression), HTTP status in Data 360)
ROWS = {
    "canceled_queued": ("ABORTED", "57014", None, None, None, "canceled by user", 408),
    "canceled_running": ("ABORTED", "57014", None, None, None, "canceled by user", 408),
    "run_timeout": ("FAILED", "57014", "EXCEEDED_TIME_LIMIT", 131075, "INSUFFICIENT_RESOURCES",
                    r"canceled by query timeout: .*engine\.run_timeout", 408),
    "plan_timeout": ("FAILED", "57014", "EXCEEDED_TIME_LIMIT", 131075, "INSUFFICIENT_RESOURCES",
                     r"canceled by query timeout: .*engine\.plan_timeout", 408),
    "memory": ("FAILED", "53200", "EXCEEDED_LOCAL_MEMORY_LIMIT", 131079, "INSUFFICIENT_RESOURCES", r"engine\.(memory|spill)", 400),
    "result_limit": ("FAILED", "54000", "GENERIC_INSUFFICIENT_RESOURCES", 131072, "INSUFFICIENT_RESOURCES", r"result\.max_", 400),
    "engine_crashed": ("FAILED", "58000", "GENERIC_INTERNAL_ERROR", 65536, "INTERNAL_ERROR", r"engine", 500),
    "engine_hung": ("FAILED", "58000", "GENERIC_INTERNAL_ERROR", 65536, "INTERNAL_ERROR", r"engine stopped answering.*engine\.silence", 500),
    "engine_lied": ("FAILED", "58000", "GENERIC_INTERNAL_ERROR", 65536, "INTERNAL_ERROR", r"malformed answer", 500),
    "disk_full": ("FAILED", "53100", None, None, "INSUFFICIENT_RESOURCES", r"disk is full", 500),
    "restarted": ("FAILED", "57P01", None, None, None, r"interrupted by restart", 500),
    "catalog_wait": ("FAILED", "55P03", "EXCEEDED_TIME_LIMIT", 131075, "INSUFFICIENT_RESOURCES", r"catalog\.wait", 408),
    "delivery": ("FAILED", "58030", "GENERIC_EXTERNAL", 16777216, "EXTERNAL", r".", 500),
}
# Those whose SQLSTATE is the engine's own, or that are no error, are checked below by name.
OTHERS = {"finished", "sql_error", "refused", "internal"}
NO_PATH = re.compile(r"(/tmp/|/root|/home|/proc|/work|quern-test)")


def in_both(daemon, qid, ending):
    """The query ended as the table says, in Kakao's words and in Data 360's, with the same id."""
    state, sqlstate, name, number, kind, text, status = ROWS[ending]
    body = daemon.kakao_wait(qid)
    info = body["queryInfo"]
    assert info["state"] == state, body
    assert body["queryData"] == [] and body["columnData"] == [] and body["totalElements"] == 0, body
    assert info["queryStats"]["completedAt"]
    if state == "FAILED":
        error = info["error"]
        if name:
            assert (error["name"], error["code"]) == (name, number), error
        if kind:
            assert error["type"] == kind, error
        assert re.search(text, error["message"]), error
        assert not NO_PATH.search(error["message"]), error
    answer = daemon.d360_get(f"{qid}?waitTimeMs=0")
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    fault = answer.json()
    assert fault["error"] == sqlstate and fault["details"]["sqlState"] == sqlstate, fault
    assert re.search(text, fault["message"]) and not NO_PATH.search(answer.text), fault
    assert fault["details"]["errorSource"] == ("User" if status < 500 else "System"), fault
    for path in ("rows?offset=0", "chunks/0"):
        other = daemon.d360_get(f"{qid}/{path}")
        assert other.status_code in (status, 404), f"{path}: {other.status_code} {other.text}"
    rows = daemon.download(qid, "csv")
    assert rows.status_code >= 400, f"a failed query has rows: {rows.status_code} {rows.text[:200]}"
    return body


def sql_fails(daemon, sql, sqlstate, name, number, position=None, at_submit=True):
    """An error of the statement: in Kakao a FAILED query, in Data 360 the submit's own answer when it can be known then."""
    body = daemon.kakao_query(sql)
    assert body["queryInfo"]["state"] == "FAILED", body
    error = body["queryInfo"]["error"]
    assert (error["name"], error["code"]) == (name, number), error
    assert not NO_PATH.search(error["message"]), error
    seen = daemon.d360_get(f"{body['queryInfo']['queryId']}?waitTimeMs=0")
    assert seen.status_code == 400 and seen.json()["error"] == sqlstate, seen.text
    answer = daemon.d360_submit(sql, mode="ASYNC", check=False)
    if answer.status_code == 200:
        assert not at_submit, f"accepted: {answer.text}"
        answer = daemon.d360_wait(daemon.d360_status_of(answer)["queryId"])
    assert answer.status_code == 400, f"{answer.status_code} {answer.text}"
    fault = answer.json()
    assert fault["error"] == sqlstate and fault["details"]["errorSource"] == "User", fault
    if position is not None:
        assert fault["details"]["position"]["errorBeginCharacterOffset"] == str(position), fault
    daemon.works()


def running(daemon, sql, **more):
    """Submits, and waits until its engine runs it: it has compiled the statement."""
    qid = daemon.kakao_run(sql, **more)
    body = daemon.kakao_wait(qid, states=("RUNNING", "FINISHED", "FAILED", "ABORTED"))
    assert body["queryInfo"]["state"] == "RUNNING", body
    answer = daemon.d360_get(f"{qid}/metadata", key=more.get("key"))
    assert answer.status_code == 200, answer.text
    return qid


def engines(daemon):
    return {p: n for p, n in descendants(daemon.process.pid).items() if n == "quern-engine"}


def cpu_ticks(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            rest = f.read().rsplit(")", 1)[1].split()
        return int(rest[11]) + int(rest[12])
    except OSError:
        return 0


def has_a_job(pid):
    """True of an engine process that was given memory for a result; one that is being started has none."""
    try:
        return any("memfd:" in os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def busy_engine(daemon):
    """pid of the engine process that runs a query: it was given one, now or before, and its CPU time grows. (An idle one uses none.)"""
    looks = []

    def probe():
        before = {p[0]: cpu_ticks(p[0]) for p in engines(daemon)}
        looks.append(0.3 * (1 + len(looks)))  # longer and longer: on a busy machine it gets the processor seldom
        time.sleep(min(5, looks[-1]))
        busy = [p for p, ticks in before.items() if cpu_ticks(p) - ticks >= 5 and has_a_job(p)]
        return busy[0] if len(busy) == 1 else None

    return wait_until("an engine process that works", probe)


def gone(pid):
    """True of a process that has ended, even if nobody asked for its exit code yet."""
    return process_table().get(pid, (0, 0, "X"))[2] in "ZX"


def killed_for_grace(daemon):
    """How many engine processes did not obey their cancel within engine.grace."""
    return daemon.metrics()['quern_engine_ended_total{reason="killed"}']


def recorded(daemon, starts):
    """Waits until the registry knows of so many starts; no answer tells that."""
    def probe():
        db = sqlite3.connect(f"file:{daemon.data}/registry.db?mode=ro", uri=True)
        try:
            return db.execute("SELECT max(runs) FROM query").fetchone()[0] == starts
        finally:
            db.close()

    wait_until(f"that start {starts} is recorded", probe)


@pytest.fixture(scope="module")
def one_slot():
    """One daemon with one slot, so that a slot that is not given back is noticed at once."""
    from quern_client import Daemon
    daemon = Daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_ENGINE_SILENCE": "20s", "QUERN_ENGINE_GRACE": "500ms"})
    daemon.prepare().start()
    yield daemon
    daemon.finish()


@pytest.fixture
def d(one_slot):
    yield one_slot
    one_slot.abort_all()


def test_the_table_has_no_row_without_test():
    with open(os.path.join(ROOT, "src", "core", "ending.c")) as f:
        names = set(re.findall(r"\[END_\w+\] =\s*\{END_\w+,\s*\"(\w+)\"", f.read()))
    assert names - {"none"} == set(ROWS) | OTHERS


def test_finished(d):
    body = d.kakao_query("SELECT origin, count(*) AS n FROM flights GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3")
    assert body["queryInfo"]["state"] == "FINISHED" and len(body["queryData"]) == 3
    status = d.d360_get(f"{body['queryInfo']['queryId']}?waitTimeMs=0")
    assert status.status_code == 200 and status.json()["completionStatus"] == "FINISHED" and status.json()["progress"] == 1.0
    assert status.json()["rowCount"] == 3
    d.works()


@pytest.mark.parametrize("sql, sqlstate, name, number, position", [
    ("SELEC 1", "42601", "SYNTAX_ERROR", 1, 0),
    ("SELECT 'é', FROM FROM flights", "42601", "SYNTAX_ERROR", 1, 17),
    ("SELECT * FROM nothing_there", "42P01", "TABLE_NOT_FOUND", 46, None),
    ("SELECT nothing_there FROM flights", "42703", "COLUMN_NOT_FOUND", 47, None),
    ("SELECT nothing_there(1)", "42883", "FUNCTION_NOT_FOUND", 6, None),
])
def test_sql_error_at_compile_time(d, sql, sqlstate, name, number, position):
    sql_fails(d, sql, sqlstate, name, number, position)


@pytest.mark.parametrize("sql, sqlstate, name, number", [
    ("SELECT CAST(range AS TINYINT) FROM range(1000)", "22003", "NUMERIC_VALUE_OUT_OF_RANGE", 19),
    ("SELECT CAST(label AS INTEGER) FROM (SELECT 'x' || range AS label FROM range(3))", "22P02", "INVALID_CAST_ARGUMENT", 9),
])
def test_sql_error_at_run_time(d, sql, sqlstate, name, number):
    sql_fails(d, sql, sqlstate, name, number, at_submit=False)


def test_refused(d):
    target = os.path.join(d.folder, "must-not-exist.csv")
    sql = f"COPY (SELECT 1) TO '{target}'"
    body = d.kakao_query(sql)
    assert body["queryInfo"]["state"] == "FAILED", body
    error = body["queryInfo"]["error"]
    assert error["name"] == "PERMISSION_DENIED" and error["code"] == 4, error
    answer = d.d360_submit(sql, check=False)
    assert answer.status_code == 400 and answer.json()["error"] in ("42501", "0A000"), answer.text
    assert not os.path.exists(target)
    d.works()


def test_canceled_queued(d):
    blocker = running(d, BLOCK)
    waiting = d.kakao_run("SELECT 1")
    assert d.kakao_get(waiting)["queryInfo"]["state"] == "QUEUED"
    answer = d.kakao_abort(waiting)
    assert answer.status_code == 200 and answer.json()["queryInfo"]["state"] == "ABORTED", answer.text
    in_both(d, waiting, "canceled_queued")
    assert d.kakao_abort(waiting).status_code == 409
    other = d.d360_status_of(d.d360_submit("SELECT 2", mode="ASYNC"))["queryId"]
    assert d.http("DELETE", f"/api/v3/query/{other}", dialect="data360").status_code == 204
    assert d.d360_get(other).status_code == 408 and d.kakao_wait(other)["queryInfo"]["state"] == "ABORTED"
    assert d.kakao_get(blocker)["queryInfo"]["state"] == "RUNNING"
    assert d.kakao_abort(blocker).status_code == 200
    d.works()


@pytest.mark.parametrize("sql", [LONG, DEAF], ids=["obeys", "needs SIGKILL"])
def test_canceled_running(d, sql):
    for dialect in ("kakao", "data360"):
        killed = killed_for_grace(d)
        qid = running(d, sql)
        pid = busy_engine(d)
        if dialect == "kakao":
            assert d.kakao_abort(qid).status_code == 200
            assert d.kakao_get(qid)["queryInfo"]["state"] == "ABORTED", "200 of abort means ABORTED"
            assert d.kakao_abort(qid).status_code == 409
        else:
            assert d.http("DELETE", f"/api/v3/query/{qid}", dialect="data360").status_code == 204
        in_both(d, qid, "canceled_running")
        if sql == DEAF:
            wait_until("the deaf engine's end", lambda: gone(pid))
            wait_until("that it counts as killed", lambda: killed_for_grace(d) == killed + 1)
        d.works()


@pytest.mark.parametrize("sql", [LONG, DEAF], ids=["obeys", "needs SIGKILL"])
def test_run_timeout(make_daemon, sql):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_ENGINE_GRACE": "500ms"}, start=False)

    for attempt in range(5):
        d.restart({"QUERN_ENGINE_RUN_TIMEOUT": f"{1500 << attempt}ms"})
        in_both(d, d.kakao_run(sql), "run_timeout")
        if sql == LONG:
            break
        try:
            wait_until("that its engine counts as killed", lambda: killed_for_grace(d) == 1, limit=10 << attempt)
            break
        except AssertionError:
            assert attempt < 4  # one that was still being compiled obeys: more time then

    def works():  # in 1.5 s, which may be too short for a new process now and then
        body = d.kakao_query("SELECT 42 AS answer")
        assert body["queryData"] == [["42"]] or "engine.run_timeout" in body["queryInfo"]["error"]["message"], body
        return body["queryData"]

    wait_until("a query to run", works)


def test_catalog_wait(make_daemon):
    d = make_daemon(env={"QUERN_CATALOG_WAIT": "700ms", "QUERN_ENGINE_SLOTS": "2"})
    assert d.kakao_query("CREATE TABLE t AS SELECT 1 AS a")["queryInfo"]["state"] == "FINISHED"
    blocker = running(d, BLOCK + " FROM t")
    qid = d.kakao_run("INSERT INTO t VALUES (2)")
    in_both(d, qid, "catalog_wait")
    assert d.kakao_get(blocker)["queryInfo"]["state"] == "RUNNING"
    assert d.kakao_abort(blocker).status_code == 200
    assert d.kakao_query("SELECT count(*) FROM t")["queryData"] == [["1"]]
    d.works()


def test_memory(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_ENGINE_MEMORY": "512MiB", "QUERN_ENGINE_SPILL": "0"})
    for sql in ("SELECT len(list(range)) FROM range(400000000)", "SELECT count(DISTINCT range::VARCHAR || rpad('', 100, 'x')) FROM range(50000000)"):
        qid = d.kakao_run(sql)
        in_both(d, qid, "memory")
        d.works()


def test_result_limit(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_RESULT_MAX_ROWS": "1000", "QUERN_RESULT_MAX_BYTES": "1MiB"})
    for sql in ("SELECT range FROM range(200000)", "SELECT rpad('', 100000, 'x') AS wide FROM range(900)"):
        in_both(d, d.kakao_run(sql), "result_limit")
        d.works()
    assert d.kakao_query("SELECT range FROM range(1000)")["totalElements"] == 1000
    wait_until("no unfinished result", lambda: not os.listdir(os.path.join(d.data, "spool", "tmp")))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT], ids=lambda n: n.name)
def test_engine_crashed(d, number):
    if number == signal.SIGSEGV and sanitized():
        pytest.skip("the sanitizer would report it")
    qid = running(d, LONG)
    os.kill(busy_engine(d), number)
    in_both(d, qid, "engine_crashed")
    d.works()


def test_engine_crashed_leaves_neighbours_alone(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "4"})
    victim = running(d, LONG)
    pid = busy_engine(d)
    others = [d.kakao_run("SELECT count(*), sum(a.range * b.range) FROM range(20000) a, range(2000) b") for _ in range(3)]
    os.kill(pid, signal.SIGKILL)
    in_both(d, victim, "engine_crashed")
    for other in others:
        body = d.kakao_wait(other)
        assert body["queryInfo"]["state"] == "FINISHED" and body["queryData"][0][0] == "40000000", body
    d.works()


def test_engine_hung(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_ENGINE_SILENCE": "6s"})
    qid = running(d, LONG)
    pid = busy_engine(d)
    os.kill(pid, signal.SIGSTOP)
    in_both(d, qid, "engine_hung")
    wait_until("the stopped engine's end", lambda: gone(pid))
    d.works()


def test_engine_starved(make_daemon):
    """An engine that gets the processor only now and then is slow, not dead: its query ends as it should, and others are answered meanwhile."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_ENGINE_SILENCE": "30s"})
    d.works()
    stops = attempt = 0
    while stops < 3:  # who is too slow to see it run asks again for more rows
        rows = 3000 << attempt
        qid = d.kakao_run(f"SELECT count(*) AS n, sum(a.range * b.range) AS s FROM range(30000) a, range({rows}) b")
        stops, attempt = 0, attempt + 1
        while (state := d.kakao_get(qid)["queryInfo"]["state"]) in ("QUEUED", "RUNNING") and stops < 12:
            for number in (signal.SIGSTOP, signal.SIGCONT):
                kill_all((p for p, _ in engines(d)), number)
                time.sleep(0.25 if number == signal.SIGSTOP else 0.05)
                assert d.http("GET", "/healthz", key=False).status_code == 200
            stops += state == "RUNNING"
        body = d.kakao_wait(qid)
        assert body["queryInfo"]["state"] == "FINISHED" and body["queryData"][0][0] == str(30000 * rows), body
        assert attempt < 8, "never seen running"
    d.works()


def test_restarted(make_daemon):
    """Rows were handed out before the daemon died: the statement is not run again."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1"})
    sql = "SELECT a.range AS n, b.range AS m FROM range(200000) a, range(100000000) b WHERE b.range % 1000000 = a.range % 7"
    qid = running(d, sql)

    def rows():
        answer = d.d360_get(f"{qid}/rows?offset=0&limit=10")
        return answer.status_code == 200 and answer.json()["data"]

    assert wait_until("early rows", rows)
    assert d.kakao_get(qid)["queryInfo"]["state"] == "RUNNING"
    d.kill()
    d.no_children()
    d.start()
    in_both(d, qid, "restarted")
    d.works()


def test_a_running_query_that_showed_nothing_runs_again(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_RECOVERY_MAX_RUNS": "3"})
    qid = running(d, LONG)
    queued = d.kakao_run("SELECT 7 AS seven")
    recorded(d, 1)
    for starts in (2, 3):
        d.kill()
        d.no_children()
        d.start()
        assert d.kakao_wait(qid, states=("RUNNING", "FAILED"))["queryInfo"]["state"] == "RUNNING"
        recorded(d, starts)
    d.kill()
    d.start()
    in_both(d, qid, "restarted")
    assert d.kakao_wait(queued)["queryData"] == [["7"]]


def test_delivery(d):
    """The bucket is gone when the result is to be delivered."""
    kept = d.bucket_dir + ".away"
    blocker = running(d, BLOCK)
    qid = d.kakao_run("SELECT 5 AS five")
    os.rename(d.bucket_dir, kept)
    with open(d.bucket_dir, "w") as f:
        f.write("a file where the bucket was")
    try:
        assert d.kakao_abort(blocker).status_code == 200
        in_both(d, qid, "delivery")
    finally:
        os.unlink(d.bucket_dir)
        os.rename(kept, d.bucket_dir)
    d.works()


def test_disk_full(make_daemon):
    """The spool is on a file system of 8 MB that is really full; afterwards, with space again, all goes on without a restart."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_SPOOL_MIN_FREE": "0"}, start=False)
    spool = os.path.join(d.data, "spool")
    os.makedirs(spool, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "quern-test", spool], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        d.start()
        small = d.kakao_query("SELECT range AS n FROM range(100000)")
        assert small["queryInfo"]["state"] == "FINISHED", small
        qid = d.kakao_run("SELECT range AS n, rpad('', 200, 'x') AS pad FROM range(1000000)")
        in_both(d, qid, "disk_full")
        wait_until("the part of the result to go", lambda: not os.listdir(os.path.join(spool, "tmp")))
        d.works()
        assert d.kakao_query("SELECT range AS n FROM range(100000)")["queryInfo"]["state"] == "FINISHED"
        assert d.download(small["queryInfo"]["queryId"], "csv").text.count("\n") == 100001
        assert d.http("GET", "/readyz", key=False).status_code == 200
        d.stop()
    finally:
        if d.process:
            d.process.kill()
            d.process.wait()
            d.process = None
        subprocess.run(["umount", "-l", spool], check=False)


# --- the fake engine ----------------------------------------------------------------------------------------------


@pytest.fixture
def fake(fake_daemon):
    """With time for everything."""
    yield with_limits(fake_daemon, {})
    fake_daemon.abort_all()


@pytest.fixture
def fake_silence(fake_daemon):
    """An engine without heartbeat is soon killed."""
    yield with_limits(fake_daemon, {"QUERN_ENGINE_SILENCE": "3s"})
    fake_daemon.abort_all()


@pytest.fixture
def fake_plan(fake_daemon):
    """A statement is compiled in a second, or not at all."""
    yield with_limits(fake_daemon, {"QUERN_ENGINE_PLAN_TIMEOUT": "1s"})
    fake_daemon.abort_all()


def with_limits(d, wanted):
    """Started anew where it has others: on a slow machine nothing but what a test is about may be short."""
    if d.wanted != wanted:
        d.wanted = wanted
        d.restart({"QUERN_ENGINE_SILENCE": "120s", "QUERN_ENGINE_PLAN_TIMEOUT": "120s", **wanted})
    return d


@pytest.fixture(scope="module")
def fake_daemon(tmp_path_factory):
    """quernd beside a program that speaks the engine's wire and lies on it."""
    from quern_client import Daemon
    program = wait_fake()
    folder = tmp_path_factory.mktemp("fake")
    shutil.copy(os.path.join(BUILD, "quernd"), folder / "quernd")
    shutil.copy(program, folder / "quern-engine")
    daemon = Daemon(build=str(folder), env={"QUERN_ENGINE_SLOTS": "1", "QUERN_ENGINE_GRACE": "200ms", "QUERN_SERVER_DRAIN": "0"})
    daemon.wanted = None
    try:
        yield daemon.prepare(flights=False)
    finally:
        daemon.finish()


def wait_fake():
    for path in (os.path.join(BUILD, "tests", "unit", "fake-engine"), os.path.join(BUILD, "tests", "unit", "pool", "fake-engine")):
        if os.path.exists(path):
            return path
    pytest.skip("no fake-engine in this build")


def fake_works(d):
    def works():
        body = d.kakao_query("small")
        error = body["queryInfo"].get("error", {}).get("message", "")
        if d.wanted and re.search(r"engine\.(silence|plan_timeout)", error):
            return False  # those may be too short for an honest one too, now and then
        assert body["queryInfo"]["state"] == "FINISHED" and body["queryData"] == [["0", "row 0"], ["1", "row 1"], ["2", "row 2"]], body
        return True

    wait_until("a query to run", works)


def lies():
    with open(os.path.join(ROOT, "tests", "faults", "fake_engine.c")) as f:
        text = f.read()
    table = re.findall(r'\{"(lie [a-z ]+)", lie_\w+\}', text)
    flaws = sorted(set(re.findall(r'strcmp\(f, "([a-z0-9-]+)"\)', text)) | {"frame-rows"})
    return table + ["flaw " + f for f in flaws]


@pytest.mark.parametrize("lie", lies())
def test_engine_lied(fake, lie):
    in_both(fake, fake.kakao_run(lie), "engine_lied")
    fake_works(fake)


@pytest.mark.parametrize("sql", ["exit 0", "exit 0 mid", "exit 7", "segv", "abort", "close", "fatal"])
def test_fake_engine_crashed(fake, sql):
    body = fake.kakao_query(sql)
    assert body["queryInfo"]["state"] == "FAILED", body
    if sql != "fatal":  # it ends with a word of its own
        in_both(fake, body["queryInfo"]["queryId"], "engine_crashed")
    fake_works(fake)


@pytest.mark.parametrize("sql", ["hang", "stop", "trickle"])
def test_fake_engine_hung(fake_silence, sql):
    in_both(fake_silence, fake_silence.kakao_run(sql), "engine_hung")
    fake_works(fake_silence)


def test_plan_timeout(fake_plan):
    in_both(fake_plan, fake_plan.kakao_run("hang at once"), "plan_timeout")
    fake_works(fake_plan)


@pytest.mark.parametrize("sql", ["ignore cancel", "obey cancel"])
def test_fake_engine_canceled(fake, sql):
    qid = running(fake, sql)
    assert fake.kakao_abort(qid).status_code == 200
    in_both(fake, qid, "canceled_running")
    fake_works(fake)


def test_cancel_races_completion(d):
    """Cancel and completion at once: one winner, and all readers say the same."""
    for i in range(40):
        qid = d.kakao_run(f"SELECT {i} AS n FROM range({1 + i * 20})")
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(d.kakao_abort(qid).status_code)) for _ in range(2)]
        time.sleep((i % 8) * 0.002)
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        body = d.kakao_wait(qid)
        state = body["queryInfo"]["state"]
        assert sorted(answers) in ([200, 409], [409, 409]), answers
        assert (state == "ABORTED") == (200 in answers), f"{answers}: {body}"
        assert bool(body["queryData"]) == (state == "FINISHED")
        status = d.d360_get(f"{qid}?waitTimeMs=0").status_code
        assert status == (200 if state == "FINISHED" else 408)
    d.works()


def test_self_test_that_fails_refuses_to_serve(tmp_path):
    """A daemon whose confined engine can do what it must not does not start."""
    from quern_client import Daemon
    program = wait_fake()
    folder = tmp_path / "hostile"
    folder.mkdir()
    shutil.copy(os.path.join(BUILD, "quernd"), folder / "quernd")
    shutil.copy(program, folder / "quern-engine")
    daemon = Daemon(build=str(folder), folder=str(folder))
    daemon.prepare(flights=False, bucket=False)
    with pytest.raises(StartFailed) as caught:
        daemon.start()
    assert "COPY TO" in str(caught.value)
    daemon.start(env={"QUERN_ENGINE_UNSAFE_NO_SANDBOX": "yes"})
    daemon.finish()
