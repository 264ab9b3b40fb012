"""A file that is made while its query runs (docs/formats.md, "Beside the query"), and one of those that make it goes: the daemon, the query's process, the
process that renders, the query, its client. Who waits gets a plain error or no answer, never a file that looks whole; the next download is right; nothing stays
behind. (The disk that fills meanwhile is in test_disk_full.py.)"""
import io
import os
import signal
import socket
import threading
import zipfile

import pyarrow.parquet as pq
import pytest
import requests

from quern_client import Daemon, descendants, kill_all, render_process, sanitized, unrecorded, wait_until

ROWS = 130000
LONG = 8000 if sanitized() else 2500  # ms: long enough to be seen running
# Most rows come at once (the engine gives them out by 122,880), the last one takes its time.
SQL = f"SELECT range AS n, 'text ' || range AS t, CASE WHEN range = {ROWS - 1} THEN {{}} END AS z FROM range({ROWS})"
ENDLESS = SQL.format("sleep_ms(1000000000)")
TRIES = 5  # who is too slow to see it run asks again for one that takes longer
# No file is kept, so that every download is a rendering.
ENV = {"QUERN_RENDER_KEEP": "0ms", "QUERN_RENDER_LINGER": "0ms", "QUERN_ENGINE_SLOTS": "1", "QUERN_SERVER_DRAIN": "0"}


@pytest.fixture(scope="module")
def d():
    d = Daemon(env=ENV)
    try:
        yield d.prepare(flights=False).start()
    finally:
        d.finish()


def submit(d, sql):
    return d.d360_status_of(d.d360_submit(sql, mode="ASYNC"))["queryId"]


def state(d, qid):
    return d.kakao_get(qid)["queryInfo"]["state"]


def delete(d, qid):
    assert d.http("DELETE", f"/api/v3/query/{qid}", dialect="data360").status_code == 204


class Waiting(threading.Thread):
    """A download that was asked for before its query had ended."""

    def __init__(self, d, qid, fmt, **more):
        super().__init__()
        self.call = lambda: d.http("GET", f"/quern/v1/query/{qid}/download?format={fmt}&wait=100", **more)
        self.answer = self.broken = None
        self.start()

    def run(self):
        try:
            while self.answer is None or self.answer.status_code == 202:  # its longest time was over
                self.answer = self.call()
        except requests.exceptions.RequestException as e:
            self.broken = e

    def end(self):
        self.join()
        return self.answer


def slow(attempt):
    return SQL.format(f"sleep_ms({LONG << attempt})")


def beside(d, qid, but=None):
    """The process that renders while the query runs; None when the query has ended before that was seen."""
    def probe():
        return render_process(d, but) if (now := state(d, qid)) == "RUNNING" else now not in ("QUEUED", "RUNNING") and -1

    pid = wait_until("a render process beside the query, or the query's end", probe, pause=0.005)
    return pid if pid > 0 and state(d, qid) == "RUNNING" else None


def begun(d, fmt):
    """(query, its download, the process that renders), with all under way."""
    for attempt in range(TRIES):
        qid = submit(d, slow(attempt))
        waiting = Waiting(d, qid, fmt)
        if pid := beside(d, qid):
            return qid, waiting, pid
        waiting.end()
        nothing_left(d)
    raise AssertionError("never seen beside its query")


def whole(fmt, content):
    if fmt == "parquet":
        return pq.read_table(io.BytesIO(content)).column("n").to_pylist() == list(range(ROWS))
    return zipfile.ZipFile(io.BytesIO(content)).read("xl/worksheets/sheet1.xml").count(b"<row ") == ROWS + 1


def in_bucket(d):
    """What was delivered: Kylin's files, which go to the workspace's own bucket."""
    return [f for _, _, files in os.walk(os.path.join(d.data, "buckets")) for f in files]


def kill_query_of(d, renders):
    """The process of the query, and idle ones."""
    kill_all({pid for (pid, _), name in descendants(d.process.pid).items() if name == "quern-engine"} - {renders})


def no_file_left(d):
    run = os.path.join(d.data, "run")
    wait_until("the render process's end", lambda: render_process(d) is None)
    wait_until("the end of its file", lambda: int(d.metrics()["quern_rendered_bytes"]) == 0
               and not any(os.path.exists(os.path.join(run, e, "out")) for e in os.listdir(run)))


def nothing_left(d):
    no_file_left(d)
    wait_until("an empty spool but for results", lambda: not unrecorded(d))
    assert not [f for f in in_bucket(d) if f.startswith(".")]


def next_one_is_right(d, qid, fmt):
    answer = d.download(qid, fmt, wait=100)
    assert answer.status_code == 200 and whole(fmt, answer.content), answer.headers
    nothing_left(d)


@pytest.mark.parametrize("end", [Daemon.kill, Daemon.stop], ids=["kill -9", "SIGTERM"])
def test_the_daemon_goes(make_daemon, end):
    """Two queries, one that is downloaded and one that is delivered; the next start runs both anew."""
    d = make_daemon(env={**ENV, "QUERN_ENGINE_SLOTS": "2"})
    for attempt in range(TRIES):
        qid = submit(d, slow(attempt))
        waiting = Waiting(d, qid, "parquet")
        delivered = d.kylin_submit(slow(attempt), format="parquet")
        first = beside(d, qid)
        if first and beside(d, delivered, but=first) and state(d, qid) == "RUNNING":
            break
        waiting.end()
        d.kylin_wait(delivered)
        assert d.kylin("DELETE", f"async_query/{delivered}?project=w1").json()["data"] is True
        wait_until("an empty bucket", lambda: not in_bucket(d))
    end(d)
    answer = waiting.end()
    assert waiting.broken if end is Daemon.kill else waiting.broken or answer.status_code == 503, answer and answer.headers
    d.no_children()
    assert not in_bucket(d)
    d.start()
    wait_until("an empty spool but for results", lambda: not unrecorded(d) or state(d, qid) == "RUNNING")
    next_one_is_right(d, qid, "parquet")
    assert d.kylin_wait(delivered)["status"] == "SUCCESSFUL"
    assert whole("parquet", d.kylin_get(delivered, "result_download").content)
    nothing_left(d)


def test_the_query_s_process_is_killed(d):
    for fmt in ("parquet", "xlsx"):
        qid = submit(d, ENDLESS)
        waiting = Waiting(d, qid, fmt)
        kill_query_of(d, beside(d, qid))
        answer = waiting.end()
        assert answer.status_code == 409 and "SIGKILL" in answer.json()["error"]["message"], answer.text
        assert state(d, qid) == "FAILED" and d.download(qid, fmt).status_code == 409
        nothing_left(d)
    qid = d.kylin_submit(ENDLESS, format="parquet")
    kill_query_of(d, beside(d, qid))
    done = d.kylin_wait(qid)
    assert done["status"] == "FAILED" and "SIGKILL" in done["info"], done
    assert not [f for f in in_bucket(d) if qid in f]
    nothing_left(d)


def test_every_process_that_renders_is_killed(d):
    """The one that follows costs nothing, the one after the query's end is told."""
    for _ in range(TRIES):  # one may be ready before it is seen
        qid, waiting, _ = begun(d, "xlsx")
        while waiting.is_alive():
            if pid := render_process(d):
                kill_all([pid])
        answer = waiting.end()
        if answer.status_code != 200:
            break
    assert answer.status_code == 500 and answer.json()["error"]["message"] == "the render process was killed by SIGKILL", answer.text
    nothing_left(d)
    next_one_is_right(d, qid, "xlsx")


@pytest.mark.parametrize("how", ["delete", "abort", "kylin"])
def test_the_query_is_canceled(d, how):
    qid = d.kylin_submit(ENDLESS, format="parquet") if how == "kylin" else submit(d, ENDLESS)
    waiting = Waiting(d, qid, "parquet")
    os.kill(beside(d, qid), signal.SIGSTOP)  # it cannot end by itself
    if how == "delete":
        delete(d, qid)
    elif how == "abort":
        assert d.kakao_abort(qid).status_code == 200
    else:
        answer = d.kylin("DELETE", f"async_query/{qid}?project=w1")
        assert answer.status_code == 200 and answer.json()["data"] is True, answer.text
    answer = waiting.end()
    assert answer.status_code in (404, 409, 410) and answer.json()["error"]["message"], answer.text
    nothing_left(d)
    assert not [f for f in in_bucket(d) if qid in f]
    assert d.download(qid, "parquet").status_code in (404, 409, 410)


def test_the_result_is_deleted_while_its_file_is_completed(d):
    """The query has ended, the process that followed it has not."""
    qid, waiting, pid = begun(d, "parquet")
    os.kill(pid, signal.SIGSTOP)
    assert d.d360_wait(qid).status_code == 200
    assert d.download(qid, "parquet", wait=0).status_code == 202
    delete(d, qid)
    answer = waiting.end()
    assert answer.status_code in (404, 410), answer.text
    nothing_left(d)


def test_the_client_goes(d):
    """Nobody waits for the file any more: the query goes on alone."""
    qid = submit(d, ENDLESS)
    credential = "".join(f"{k}: {v}\r\n" for k, v in d.key["headers"]["kakao"].items())
    with socket.create_connection(("127.0.0.1", d.port)) as client:
        client.sendall(f"GET /quern/v1/query/{qid}/download?format=parquet&wait=100 HTTP/1.1\r\nHost: q\r\n{credential}\r\n".encode())
        assert beside(d, qid)
    no_file_left(d)
    assert state(d, qid) == "RUNNING"
    delete(d, qid)


def test_a_delivery_that_died_and_is_not_wanted_any_more(make_daemon):
    """kill -9 while two files are being delivered; the second query is deleted before the next start gets to it: what its upload left behind goes."""
    d = make_daemon(env={"QUERN_DELIVERY_THREADS": "2", "QUERN_ENGINE_SILENCE": "300s", "QUERN_SERVER_DRAIN": "0"})
    sheet = "SELECT range AS n, 'some text ' || range AS s FROM range(300000)"  # stopped before it is ready
    first, second = d.kylin_submit(sheet, format="xlsx"), d.kylin_submit(sheet, format="xlsx")

    def stopped(but=None):
        pid = wait_until("a render process", lambda: render_process(d, but), pause=0.001)
        os.kill(pid, signal.SIGSTOP)
        return pid

    stopped(but=stopped())
    wait_until("both uploads", lambda: len([f for f in in_bucket(d) if f.startswith(".quern-")]) == 2)
    d.kill()
    d.start({"QUERN_DELIVERY_THREADS": "1"})
    pid = stopped()
    answer = d.kylin("DELETE", f"async_query/{second}?project=w1")
    assert answer.status_code == 200 and answer.json()["data"] is True, answer.text
    os.kill(pid, signal.SIGCONT)
    assert d.kylin_wait(first)["status"] == "SUCCESSFUL"
    wait_until("nothing but the first one's file in the bucket", lambda: in_bucket(d) == [f"{first}.xlsx"])
    wait_until("an empty spool but for results", lambda: not unrecorded(d))
