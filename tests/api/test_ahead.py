"""A file that is wanted from the start is made while its query runs (docs/formats.md): the same file, nothing sooner than the
result, and an attempt that costs nobody anything."""
import io
import os
import signal
import threading
import zipfile

import pyarrow.parquet as pq
import pytest

from quern_client import render_process, sanitized, wait_until

ROWS = 200000
LONG = 8000 if sanitized() else 2500  # ms: long enough to be seen running
# All rows but the last come at once; the last one takes its time. Who is too slow to see it run asks again for one that takes longer.
ROW = "range AS n, 'text ' || range AS t, DATE '2024-01-01' + (range % 100)::INTEGER AS d"
SQL = f"SELECT {ROW}, CASE WHEN range = {ROWS - 1} THEN {{}} END AS z FROM range({ROWS})"
ENDLESS = SQL.format("sleep_ms(1000000000)")
TRIES = 5


def slow(attempt):
    return SQL.format(f"sleep_ms({LONG << attempt})")


def broken(attempt):
    return SQL.format(f"coalesce(sleep_ms({LONG << attempt}), error('boom'))")


@pytest.fixture(scope="module")
def d():
    """Keeps no file, so that every download is a rendering of its own, and renders one result at a time."""
    from quern_client import Daemon
    d = Daemon(env={"QUERN_RENDER_KEEP": "0ms", "QUERN_RENDER_SLOTS": "1"})
    try:
        yield d.prepare().start()
    finally:
        d.finish()


def submit(d, sql):
    return d.d360_status_of(d.d360_submit(sql, mode="ASYNC"))["queryId"]


def state(d, qid):
    return d.d360_get(f"{qid}?waitTimeMs=0").json()["completionStatus"]


class Waiting(threading.Thread):
    """A download that was asked for before its query had ended."""

    def __init__(self, d, qid, fmt, **more):
        super().__init__()
        self.call, self.answer = (lambda: d.download(qid, fmt, wait=100, **more)), None
        self.start()

    def run(self):
        while self.answer is None or self.answer.status_code == 202:  # its longest time was over
            self.answer = self.call()

    def end(self):
        self.join()
        return self.answer


def done(d):
    return int(d.metrics().get('quern_renderings_total{outcome="done"}', 0))


def seen_while_running(d, qid, run_on=lambda: True):
    """The render process beside the query that runs; None when the query has ended before it was seen, and before `run_on` was done."""
    pid = wait_until("a render process beside the query", lambda: going(d, qid) and render_process(d) or not going(d, qid) and -1, pause=0.005)
    run_on()
    return pid if pid > 0 and going(d, qid) else None


def going(d, qid):
    answer = d.d360_get(f"{qid}?waitTimeMs=0")
    return answer.status_code == 200 and answer.json()["completionStatus"] == "RUNNING"


def begun(d, sql, fmt, run_on=lambda qid: True):
    """(done before, query, its download, the render process) with both under way."""
    for attempt in range(TRIES):
        before, qid = done(d), submit(d, sql(attempt))
        waiting = Waiting(d, qid, fmt)
        pid = seen_while_running(d, qid, lambda: run_on(qid))
        if pid:
            return before, qid, waiting, pid
        waiting.end()
    raise AssertionError("never seen beside its query")


@pytest.mark.parametrize("fmt", ["parquet", "xlsx"])
def test_the_file_is_the_one_of_the_stored_result(d, fmt):
    told = []
    before, qid, waiting, _ = begun(d, slow, fmt, lambda qid: told.append(d.download(qid, fmt, wait=0)))
    assert told[-1].json() == {"state": "running", "permille": 0}, "nothing is told before the result"
    answer = waiting.end()
    assert answer.status_code == 200, answer.text
    assert done(d) == before + 1, "made once"
    again = d.download(qid, fmt)
    assert again.content == answer.content and again.headers["ETag"] == answer.headers["ETag"] and done(d) == before + 2
    if fmt == "parquet":
        assert pq.read_table(io.BytesIO(answer.content)).column("n").to_pylist() == list(range(ROWS))
    else:
        assert zipfile.ZipFile(io.BytesIO(answer.content)).read("xl/worksheets/sheet1.xml").count(b"<row ") == ROWS + 1


def test_without_wait_and_until_a_deadline(d):
    qid = submit(d, ENDLESS)
    for fmt in ("csv", "arrow", "parquet", "xlsx"):
        assert d.download(qid, fmt).status_code == 409
        answer = d.download(qid, fmt, wait=0)
        assert answer.status_code == 202 and answer.json()["state"] == "running" and answer.headers["Retry-After"] == "1"
    assert d.download(qid, "parquet", wait=1).status_code == 202, "it waited for a second in vain"
    assert d.http("DELETE", f"/api/v3/query/{qid}", dialect="data360").status_code == 204
    wait_until("the render process's end", lambda: not render_process(d))


def test_text_waits_for_the_end(d):
    qid = submit(d, "SELECT count(sleep_ms(1000)) AS n")
    answer = Waiting(d, qid, "csv").end()
    assert answer.status_code == 200 and answer.text == "n\n0\n"


def test_a_cancel_ends_both(d):
    qid = submit(d, ENDLESS)
    waiting = Waiting(d, qid, "parquet")
    pid = seen_while_running(d, qid)
    os.kill(pid, signal.SIGSTOP)  # it cannot end by itself
    assert d.http("DELETE", f"/api/v3/query/{qid}", dialect="data360").status_code == 204
    wait_until("the render process's end", lambda: render_process(d) is None)
    assert waiting.end().status_code in (404, 409)
    wait_until("the end of its file", lambda: int(d.metrics()["quern_rendered_bytes"]) == 0)


def test_a_query_that_fails_leaves_no_file(d):
    before, qid, waiting, _ = begun(d, broken, "parquet")
    answer = waiting.end()
    assert answer.status_code == 409 and answer.json()["error"]["message"], answer.text
    wait_until("the render process's end", lambda: render_process(d) is None)
    wait_until("the end of its file", lambda: int(d.metrics()["quern_rendered_bytes"]) == 0)
    assert done(d) == before


def test_it_gives_way_to_a_result_that_is_complete(d):
    """The one slot is taken by a file whose query may never end: who has a result does not wait for it."""
    small = submit(d, "SELECT 42 AS answer")
    d.d360_wait(small)
    qid = submit(d, ENDLESS)
    waiting = Waiting(d, qid, "parquet")
    seen_while_running(d, qid)
    answer = d.download(small, "parquet")
    assert answer.status_code == 200 and pq.read_table(io.BytesIO(answer.content)).to_pylist() == [{"answer": 42}]
    assert state(d, qid) == "RUNNING"
    assert d.http("DELETE", f"/api/v3/query/{qid}", dialect="data360").status_code == 204
    assert waiting.end().status_code in (404, 409)


def test_one_that_is_killed_is_made_again(d):
    _, qid, waiting, pid = begun(d, slow, "parquet")
    os.kill(pid, signal.SIGKILL)
    answer = waiting.end()
    assert answer.status_code == 200 and pq.read_table(io.BytesIO(answer.content)).num_rows == ROWS


def test_more_rows_than_a_sheet_holds(d):
    qid = submit(d, "SELECT range AS n FROM range(1048576)")
    answer = Waiting(d, qid, "xlsx").end()
    assert answer.status_code == 400 and "1,048,576 rows with the header" in answer.json()["error"]["message"], answer.text


@pytest.mark.parametrize("kill", [False, True])
def test_kylin_makes_its_file_beside_the_query(d, kill):
    for attempt in range(TRIES):
        before = done(d)
        qid = d.kylin_submit(slow(attempt), format="parquet")
        pid = seen_while_running(d, qid)
        if pid:
            break
        d.kylin_wait(qid)
    assert pid, "never seen beside its query"
    if kill:
        os.kill(pid, signal.SIGKILL)
    assert d.kylin_wait(qid)["status"] == "SUCCESSFUL"
    answer = d.kylin_get(qid, "result_download")
    assert answer.status_code == 200 and pq.read_table(io.BytesIO(answer.content)).num_rows == ROWS
    assert done(d) - before in ((2, 3) if kill else (1, 2)), "for the bucket once; the download may make its own"

