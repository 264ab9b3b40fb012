"""Whose turn it is at rendering and at delivery: a workspace that asks for much holds nobody else up. Render processes are stopped as they come, so that the order
is seen whatever the speed of the machine."""
import os
import signal
import sqlite3
import uuid

import pytest

from quern_client import at_rest, render_process, wait_until

ENV = {"QUERN_RENDER_SLOTS": "1", "QUERN_ENGINE_SILENCE": "300s", "QUERN_RENDER_LINGER": "1h"}
SHEET = "SELECT range AS n, 'some text ' || range AS s FROM range(300000)"  # stopped before it is ready


@pytest.fixture
def d(make_daemon):
    d = make_daemon(env=ENV, start=False)
    d.b = d.new_key(workspace="w2", user="erin", role="admin")
    return d.start()


def finished(d, sql, key=None):
    qid = d.d360_status_of(d.d360_submit(sql, mode="ASYNC", key=key))["queryId"]
    assert d.d360_wait(qid, key=key).status_code == 200
    return qid


def stopped(d, but=None):
    """The next render process, which goes no further."""
    pid = wait_until("a render process", lambda: render_process(d, but), pause=0.001)
    os.kill(pid, signal.SIGSTOP)
    return pid


def ask(d, qid, key=None):
    """State of the rendering, which begins with the first such question."""
    answer = d.download(qid, "xlsx", key=key, wait=0)
    return answer.json()["state"] if answer.status_code == 202 else answer.status_code


def test_renderings_take_turns(d):
    """One of w1 is under way, three more wait, then w2 asks for one: it is the second to begin."""
    a, b = [finished(d, SHEET) for _ in range(4)], finished(d, SHEET, key=d.b)
    assert ask(d, a[0]) in ("waiting", "rendering")
    pid = stopped(d)
    assert [ask(d, qid) for qid in a[1:]] == ["waiting"] * 3 and ask(d, b, key=d.b) == "waiting"
    os.kill(pid, signal.SIGKILL)
    pid = stopped(d, but=pid)
    assert ask(d, a[1]) == "rendering" and ask(d, b, key=d.b) == "waiting"
    os.kill(pid, signal.SIGKILL)
    pid = stopped(d, but=pid)
    assert ask(d, b, key=d.b) == "rendering" and ask(d, a[2]) == ask(d, a[3]) == "waiting"
    os.kill(pid, signal.SIGKILL)
    pid = stopped(d, but=pid)
    assert ask(d, a[2]) == "rendering" and ask(d, a[3]) == "waiting"
    os.kill(pid, signal.SIGCONT)
    assert d.download(a[3], "xlsx").status_code == 200


def test_a_long_delivery_holds_up_no_other(d):
    """The one file that is made takes for ever: other deliveries, of the same workspace too, go on."""
    long = d.kylin_submit(SHEET, format="xlsx")
    pid = stopped(d)
    assert d.kylin_get(long, "status").json()["data"]["status"] == "RUNNING"
    for sql in ("SELECT 1 AS one", "SELECT range FROM range(100000)"):
        assert d.kakao_query(sql)["queryInfo"]["state"] == "FINISHED"
        d.kylin_query(sql, format="csv")
    assert d.kylin_get(long, "status").json()["data"]["status"] == "RUNNING"
    os.kill(pid, signal.SIGCONT)
    assert d.kylin_wait(long)["status"] == "SUCCESSFUL"


def test_deliveries_take_turns(make_daemon):
    """One thread: w1's long file is under way and three more wait; w2's comes after the next of them at the latest."""
    d = make_daemon(env={**ENV, "QUERN_DELIVERY_THREADS": "1"}, start=False)
    d.b = d.new_key(workspace="w2", user="erin", role="admin")
    d.start()
    a = [d.kylin_submit(SHEET, format="xlsx")]
    pid = stopped(d)
    wait_until("the end of its run", lambda: at_rest(d))
    a += [d.kylin_submit(f"SELECT {i} AS n", format="csv") for i in range(5)]
    wait_until("the ends of their runs", lambda: at_rest(d))
    b = d.kylin_submit("SELECT 7 AS n", format="csv", key=d.b, project="w2")
    wait_until("the end of its run", lambda: at_rest(d))
    assert all(d.kylin_get(qid, "status").json()["data"]["status"] == "RUNNING" for qid in a)
    os.kill(pid, signal.SIGCONT)
    assert d.kylin_wait(b, key=d.b, project="w2")["status"] == "SUCCESSFUL"
    for qid in a:
        assert d.kylin_wait(qid)["status"] == "SUCCESSFUL"
    with sqlite3.connect(f"file:{os.path.join(d.data, 'registry.db')}?mode=ro", uri=True, timeout=30) as db:
        ended = {uuid.UUID(bytes=bytes(i)): at for i, at in db.execute("SELECT id, ended_ms FROM query")}
    assert sum(ended[uuid.UUID(qid)] < ended[uuid.UUID(b)] for qid in a[1:]) <= 1
