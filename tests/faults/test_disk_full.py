"""A disk that is really full: the whole data folder (registry, spool, reserve) on a small file system. What was accepted ends and is recorded, nothing new is accepted and the
reason is told, and with space again all goes on without a restart. Also: fsync of the registry fails, its writes meet a full disk once."""
import io
import os
import shutil
import sqlite3
import subprocess
import threading
import time
import zipfile

import pyarrow.parquet as pq
import pytest
import requests

from quern_client import BLOCK, StartFailed, render_process, wait_until

SIZE = 48  # MiB
ENV = {"QUERN_ENGINE_SLOTS": "1", "QUERN_SPOOL_MIN_FREE": "4MiB", "QUERN_SPOOL_RESERVE": "2MiB", "QUERN_LOG_LEVEL": "info", "QUERN_SERVER_DRAIN": "2s"}
BIG = "SELECT range AS n, rpad('', 200, 'x') AS pad FROM range(1000000)"


@pytest.fixture
def small(make_daemon):
    """A daemon whose data folder is a file system of 48 MiB; started by the test."""
    d = make_daemon(env=ENV, start=False, prepare=False)
    os.makedirs(d.data)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}m,mode=700", "quern-test", d.data], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        pytest.skip(f"NOT TESTED, no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        d.prepare(flights=False)
        yield d
        d.stop()
    finally:
        if d.process:
            d.kill()
        subprocess.run(["umount", "-l", d.data])


def free(d):
    st = os.statvfs(d.data)
    return st.f_bavail * st.f_frsize


def fill(d, leave=0):
    """A foreign file takes all but `leave` bytes."""
    path = os.path.join(d.data, "foreign")
    with open(path, "ab", buffering=0) as f:
        while (room := free(d) - leave) > 0:
            try:
                f.write(b"x" * min(room, 1 << 20))
            except OSError:
                break
    return path


def refused(d):
    for answer in (d.kakao_run("SELECT 1", check=False), d.d360_submit("SELECT 1", check=False)):
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0, f"{answer.status_code} {answer.text}"
        assert "disk" in answer.text and "spool.min_free" in answer.text, answer.text


def ready(d):
    return d.http("GET", "/readyz", key=False)


def recorded(d, qid):
    """State in the registry, read beside the daemon: QUEUED 1, RUNNING 2, FINISHED 3, FAILED 4, CANCELED 5."""
    with sqlite3.connect(f"file:{os.path.join(d.data, 'registry.db')}?mode=ro", uri=True, timeout=30) as db:
        rows = db.execute("SELECT state, err_sqlstate FROM query WHERE created_ms = (SELECT max(created_ms) FROM query WHERE sql = ?)", (qid,)).fetchall()
    return rows[0]


def back_without_a_restart(d, path):
    os.unlink(path)
    wait_until("accepting again", lambda: d.kakao_run("SELECT 1", check=False).status_code == 202)
    wait_until("ready again", lambda: ready(d).status_code == 200)
    wait_until("the reserve to be there again", lambda: os.path.exists(os.path.join(d.data, "reserve")))
    d.works()


def test_too_little_space_refuses_and_recovers(small):
    d = small.start()
    kept = d.kakao_query("SELECT range AS n FROM range(100000)")["queryInfo"]["queryId"]
    blocker = d.kakao_run(BLOCK)
    d.kakao_wait(blocker, states=("RUNNING",))
    waiting = d.kakao_run("SELECT 'later'")
    path = fill(d, leave=3 << 20)  # below spool.min_free
    wait_until("not ready", lambda: ready(d).status_code == 503)
    assert "spool.min_free" in ready(d).json()["reason"]
    refused(d)
    assert d.metrics()["quern_disk_low"] == 1
    assert d.kakao_abort(blocker).status_code == 200  # a slot is free, but nothing new starts
    assert d.kakao_get(blocker)["queryInfo"]["state"] == "ABORTED"
    time.sleep(1)
    assert d.kakao_get(waiting)["queryInfo"]["state"] == "QUEUED"
    assert d.download(kept, "csv").text.count("\n") == 100001  # reading goes on
    back_without_a_restart(d, path)
    assert d.kakao_wait(waiting)["queryInfo"]["state"] == "FINISHED"


def test_a_result_that_fills_the_disk(small):
    d = small.start()
    kept = d.kakao_query("SELECT range AS n FROM range(100000)")["queryInfo"]["queryId"]
    body = d.kakao_query(BIG, bucket="b1")
    info = body["queryInfo"]
    assert info["state"] == "FAILED" and "disk is full" in info["error"]["message"], info
    wait_until("the part of the result to go", lambda: not os.listdir(os.path.join(d.data, "spool", "tmp")))
    wait_until("ready", lambda: ready(d).status_code == 200)
    d.works()
    assert d.download(kept, "csv").text.count("\n") == 100001
    d.kill()
    d.start()
    assert d.kakao_get(info["queryId"])["queryInfo"]["state"] == "FAILED"
    d.works()


def test_a_catalog_that_fills_the_disk(small):
    """A table that does not fit: the write fails as a whole with a reason, what was there before is there, and with space again it can be written."""
    d = small.start()
    assert d.kakao_query("CREATE TABLE kept AS SELECT range AS n FROM range(1000)")["queryInfo"]["state"] == "FINISHED"
    for sql in ("CREATE TABLE big AS SELECT random() AS a, random() AS b FROM range(4000000)", "INSERT INTO kept SELECT hash(range) % 1000000007 FROM range(8000000)"):
        path = fill(d, leave=14 << 20)
        info = d.kakao_query(sql)["queryInfo"]
        assert info["state"] == "FAILED" and info["error"]["message"], info
        assert d.data not in info["error"]["message"] and "quern-test" not in info["error"]["message"], info
        os.unlink(path)  # the engine keeps what its file grew by, for later writes (docs/engine.md)
        wait_until("ready", lambda: ready(d).status_code == 200)
        assert d.kakao_query("SELECT count(*), sum(n) FROM kept")["queryData"] == [["1000", "499500"]]
        assert d.kakao_query("SELECT count(*) FROM information_schema.tables WHERE table_name = 'big'")["queryData"] == [["0"]]
    d.kill()
    d.start()
    assert d.kakao_query("SELECT count(*), sum(n) FROM kept")["queryData"] == [["1000", "499500"]]
    assert d.kakao_query("INSERT INTO kept SELECT range FROM range(10)")["queryInfo"]["state"] == "FINISHED"
    assert d.kakao_query("SELECT count(*) FROM kept")["queryData"] == [["1010"]]


def test_not_one_byte_left(small):
    """The registry itself meets the full disk: the reserve is given up, and what was running ends FAILED or CANCELED in the record too."""
    d = small.start()
    fill(d, leave=12 << 20)
    d.works()
    with open(os.path.join(d.data, "registry.db-wal"), "rb"):
        pass
    running = d.kakao_run(BLOCK + " WHERE 'here' = 'here'")
    d.kakao_wait(running, states=("RUNNING",))
    path = fill(d)
    wait_until("not ready", lambda: ready(d).status_code == 503)
    refused(d)
    assert d.kakao_abort(running).status_code == 200
    assert d.kakao_wait(running)["queryInfo"]["state"] == "ABORTED"
    # every record that follows is made in the reserve: the log of the registry grows until it is used up
    assert recorded(d, BLOCK + " WHERE 'here' = 'here'")[0] == 5
    for _ in range(3):
        refused(d)
    d.kill()
    d.start()  # on a full disk: serves what is there, accepts nothing
    assert d.kakao_get(running)["queryInfo"]["state"] == "ABORTED"
    refused(d)
    back_without_a_restart(d, path)


def test_the_reserve_is_used_and_made_again(make_daemon):
    """One write of the registry meets ENOSPC: the reserve makes room, the transaction is tried again, nobody notices."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_LOG_LEVEL": "info"})
    d.stop()
    count = os.path.join(d.folder, "count")
    d.start(env={"QUERN_FAULT_COUNT": count})
    d.works()
    d.stop()
    with open(count) as f:
        writes = int(dict(line.split() for line in f)["write"])
    used = 0
    for k in range(max(1, writes // 3), writes + 1):
        mark = len(d.log())
        try:
            d.start(env={"QUERN_FAULT": f"write:{k}:ENOSPC"})
        except StartFailed:
            continue  # met at the start: refused, with a text
        answer = d.kakao_run("SELECT 42", check=False)
        if answer.status_code == 202:
            assert d.kakao_wait(answer.json()["queryInfo"]["queryId"])["queryInfo"]["state"] in ("FINISHED", "FAILED")
        if "the reserve was given up" in d.log()[mark:]:
            used += 1
            wait_until("the reserve", lambda: os.path.exists(os.path.join(d.data, "reserve")))
            wait_until("ready", lambda: ready(d).status_code == 200)
            d.works()
        d.stop()
        if used >= 2:
            break
    assert used, f"no write of {writes} was the registry's"


def test_registry_fsync_failure_ends_the_process(make_daemon):
    """Exit code 70 at once, nothing acknowledged is lost, the next start is clean."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_LOG_LEVEL": "info"})
    d.works()
    d.stop()
    count = os.path.join(d.folder, "count")
    d.start(env={"QUERN_FAULT_COUNT": count})
    d.stop()
    with open(count) as f:
        start = int(dict(line.split() for line in f)["fsync"])
    ended = 0
    for k in range(max(1, start - 3), start + 12):
        try:
            d.start(env={"QUERN_FAULT": f"fsync:{k}:EIO"})
        except StartFailed:
            continue  # during the start: refused, with a text
        accepted, gone = [], False
        try:
            for i in range(4):
                answer = d.kakao_run(f"SELECT {i}", check=False)
                if answer.status_code == 202:
                    accepted.append(answer.json()["queryInfo"]["queryId"])
                    d.kakao_wait(accepted[-1])
        except requests.exceptions.RequestException:
            d.local.session, gone = None, True
        except AssertionError:  # refused in plain words
            pass
        if gone:
            wait_until(f"fsync:{k}: the process's end", lambda: d.process.poll() is not None)
            assert d.process.returncode == 70, f"fsync:{k}: {d.process.returncode}\n{d.log()[-2000:]}"
            assert "fsync of the registry failed" in d.log()
            d.process = None
            ended += 1
        else:
            d.stop(code=None)
        d.start()
        for qid in accepted:
            assert d.kakao_wait(qid)["queryInfo"]["state"] in ("FINISHED", "FAILED")
        d.works()
        d.stop()
        if ended >= 3:
            break
    assert ended, "no fsync of the registry was met"
    shutil.rmtree(count, ignore_errors=True)


def test_an_end_that_cannot_be_recorded_is_tried_again(make_daemon):
    """All writes of the registry fail for a while: nobody is told FINISHED before it is recorded, and it is recorded when writing works again."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_LOG_LEVEL": "info"})
    d.works()
    d.stop()
    count = os.path.join(d.folder, "count")
    d.start(env={"QUERN_FAULT_COUNT": count})
    qid = d.kakao_run("SELECT 'counted'")
    d.kakao_wait(qid)
    d.stop()
    with open(count) as f:
        steps = int(dict(line.split() for line in f)["sqlite"])
    tried = 0
    for k in range(steps - 30, steps + 1, 3):
        try:
            d.start(env={"QUERN_FAULT": f"sqlite:{k}:EIO:3"})
        except StartFailed:
            continue  # met at the start: refused, with a text
        answer = d.kakao_run("SELECT 'counted'", check=False)
        if answer.status_code == 202:
            qid = answer.json()["queryInfo"]["queryId"]
            state = d.kakao_wait(qid)["queryInfo"]["state"]
            again = "will be tried again" in d.log()
            tried += again
            d.kill()
            d.start()
            assert d.kakao_get(qid)["queryInfo"]["state"] == state, "told before it was recorded"
        d.stop()
        if tried >= 2:
            break
    if not tried:
        pytest.skip("no end was met by the failing calls")


def test_what_cannot_be_recorded_is_not_told(make_daemon):
    """The registry cannot be written any more when a query ends: it is shown as it is recorded, who waits for its end is told why, and the next
    start decides by the record."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_LOG_LEVEL": "info", "QUERN_SERVER_DRAIN": "0", "QUERN_RECOVERY_MAX_RUNS": "100"})
    d.works()
    d.stop()
    count = os.path.join(d.folder, "count")
    d.start(env={"QUERN_FAULT_COUNT": count})
    qid = d.kakao_run(BLOCK)
    d.kakao_wait(qid, states=("RUNNING",))
    assert d.kakao_abort(qid).status_code == 200
    d.stop()
    with open(count) as f:
        steps = int(dict(line.split() for line in f)["sqlite"])
    low, high, tried = 1, steps + 10, 0
    while tried < 60:  # the step from which on all fail is looked for: they differ by what the janitor does, the longer a run takes the more
        tried, k = tried + 1, (low + high) // 2
        try:
            d.start(env={"QUERN_FAULT": f"sqlite:{k}:EIO:100000"})
        except StartFailed:
            low, high = k + 1, max(high, k + 8)
            continue
        answer = d.kakao_run(BLOCK, check=False)
        early = answer.status_code != 202
        if not early:
            qid = answer.json()["queryInfo"]["queryId"]
            early = d.kakao_wait(qid, states=("RUNNING", "FAILED"))["queryInfo"]["state"] == "FAILED"
            answer = d.kakao_abort(qid)
            if answer.status_code == 503:
                break
        low, high = (k + 1, max(high, k + 8)) if early else (max(1, min(low, k - 8)), k - 1)
        d.kill()
        d.start()
        d.abort_all()
        d.stop()
    assert answer.status_code == 503 and "cannot be recorded" in answer.text and int(answer.headers["Retry-After"]) > 0, f"{answer.status_code} {answer.text}"
    assert "could not be recorded" in d.log()
    assert d.kakao_get(qid)["queryInfo"]["state"] == "RUNNING", "told before it was recorded"
    d.kill()
    d.start()
    d.kakao_wait(qid, states=("RUNNING",))
    assert d.kakao_abort(qid).status_code == 200
    assert d.kakao_get(qid)["queryInfo"]["state"] == "ABORTED"


# --- files of results, and scripts

DENSE_ROWS = {"parquet": 90000, "csv": 90000, "xlsx": 50000}
# Nothing in it repeats: 7 MB stored, and as Parquet without a codec; a sheet of 14 MB before it is compressed
DENSE = "SELECT range AS n, sha256(range::VARCHAR) AS a, sha256((range + 1000000)::VARCHAR) AS b FROM range({})"
LEFT = 6 << 20  # more than spool.min_free, less than either file


def nothing_rendered(d):
    run = os.path.join(d.data, "run")
    wait_until("no rendered file", lambda: not any(os.path.exists(os.path.join(run, e, "out")) for e in os.listdir(run)))


def nothing_half(d):
    nothing_rendered(d)
    wait_until("no unfinished result", lambda: not os.listdir(os.path.join(d.data, "spool", "tmp")))


def whole(fmt, content):
    if fmt == "parquet":
        return pq.read_table(io.BytesIO(content)).num_rows == DENSE_ROWS[fmt]
    return zipfile.ZipFile(io.BytesIO(content)).read("xl/worksheets/sheet1.xml").count(b"<row ") in (DENSE_ROWS[fmt], DENSE_ROWS[fmt] + 1)  # the header


@pytest.mark.parametrize("fmt", ["parquet", "xlsx"])
def test_while_a_download_is_rendered(small, fmt):
    d = small.start()
    qid = d.kakao_query(DENSE.format(DENSE_ROWS[fmt]))["queryInfo"]["queryId"]
    path = fill(d, leave=LEFT)
    answer = d.download(qid, fmt, codec="none")
    assert answer.status_code == 503 and answer.json()["error"]["message"] == "the disk is full", answer.headers
    nothing_half(d)
    assert d.download(qid, "csv").text.count("\n") == DENSE_ROWS[fmt] + 1, "reading goes on"
    os.unlink(path)
    answer = d.download(qid, fmt)
    assert answer.status_code == 200 and whole(fmt, answer.content)


def test_a_sheet_whose_second_copy_does_not_fit(small):
    """The library makes the sheet from its rows in another temporary file, and looks at no error there."""
    d = small.start()
    qid = d.kakao_query(DENSE.format(90000))["queryInfo"]["queryId"]
    answer = d.download(qid, "xlsx")  # 2 x 25 MB of 48
    assert answer.status_code == 503 and answer.json()["error"]["message"] == "the disk is full", answer.headers
    nothing_half(d)


@pytest.mark.parametrize("fmt", ["parquet", "xlsx", "csv"])
def test_while_kylin_makes_its_file(small, fmt):
    d = small.start()
    path = fill(d, leave=(18 if fmt == "xlsx" else 12) << 20)  # its rows fit, the file does not
    qid = d.kylin_submit(DENSE.format(DENSE_ROWS[fmt]), format=fmt)
    done = d.kylin_wait(qid)
    assert done["status"] == "FAILED" and ("disk is full" in done["info"] or "bucket: No space left" in done["info"]), done
    nothing_half(d)
    left = [f for folder, _, files in os.walk(d.data) for f in files if qid in f or f.startswith(".quern-")]
    assert not left, left
    os.unlink(path)
    wait_until("ready", lambda: d.http("GET", "/readyz", key=False).status_code == 200)
    qid = d.kylin_query(DENSE.format(DENSE_ROWS[fmt]), format=fmt)
    content = d.kylin_get(qid, "result_download").content
    assert content.count(b"\n") >= DENSE_ROWS[fmt] if fmt == "csv" else whole(fmt, content)


def waiting(d, qid, fmt, **more):
    """A download that was asked for before its query had ended."""
    answer = []

    def ask():
        while (got := d.download(qid, fmt, wait=100, **more)).status_code == 202:  # its longest time was over
            pass
        answer.append(got)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, answer


def test_rows_that_are_followed_fill_the_disk(small):
    """The query fails, and who waits for its file is told why."""
    d = small.start()
    qid = d.d360_status_of(d.d360_submit(BIG, mode="ASYNC"))["queryId"]
    thread, answer = waiting(d, qid, "parquet")
    thread.join()
    assert answer[0].status_code == 409 and "disk is full" in answer[0].json()["error"]["message"], answer[0].text
    nothing_half(d)
    wait_until("ready", lambda: ready(d).status_code == 200)
    d.works()


def test_a_file_that_is_made_ahead_takes_no_room_from_its_query(small):
    """On a low disk the attempt is given up, and none begun: the rows need what is left."""
    d = small.start()
    rows = 130000  # 4 MB; most come at once, the last one never
    sql = f"SELECT range AS n, 'text ' || range AS t, CASE WHEN range = {rows - 1} THEN sleep_ms(1000000000) END AS z FROM range({rows})"
    qid = d.d360_status_of(d.d360_submit(sql, mode="ASYNC"))["queryId"]
    thread, answer = waiting(d, qid, "parquet")
    wait_until("a render process beside the query", lambda: render_process(d), pause=0.001)
    path = fill(d, leave=(4 << 20) - 1)  # below spool.min_free
    wait_until("the end of the attempt", lambda: render_process(d) is None)
    nothing_rendered(d)
    assert d.download(qid, "xlsx", wait=1).json()["state"] == "running" and not render_process(d)
    assert d.kakao_get(qid)["queryInfo"]["state"] == "RUNNING"
    os.unlink(path)
    wait_until("ready", lambda: ready(d).status_code == 200)
    other, answer_xlsx = waiting(d, qid, "xlsx")
    wait_until("a render process beside the query", lambda: render_process(d), pause=0.001)
    assert d.kakao_abort(qid).status_code == 200
    thread.join(), other.join()
    assert answer[0].status_code == answer_xlsx[0].status_code == 409
    nothing_half(d)


def test_in_the_middle_of_a_script(small):
    """What came before stays, the statement that met the full disk says so, nothing runs behind it."""
    d = small.start()
    query = d.jackdb_wait(d.jackdb_execute(f"SELECT 1 AS a; SELECT range AS n FROM range(50000); {BIG}; SELECT 4 AS d")["id"])
    results = d.jackdb_results(query)
    assert not query["success"] and len(results) == 3, query
    assert d.jackdb_get(f"{query['id']}/result/0/rows?seek=0&limit=5") == [["1"]]
    assert len(d.jackdb_get(f"{query['id']}/result/1/rows?seek=0&limit=50000")) == 50000
    assert "disk is full" in str(results), results
    nothing_half(d)
    wait_until("ready", lambda: d.http("GET", "/readyz", key=False).status_code == 200)
    d.works()
