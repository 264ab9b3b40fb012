"""A workspace is removed for ever: nobody gets in, nothing of it is left on disk or in the registry, and a daemon that is killed in the middle goes on."""
import os
import sqlite3
import threading

import pytest

from quern_client import BLOCK, FLIGHTS, wait_until

MARK = "a text that must not stay"


def registry(d, sql, *arguments):
    with sqlite3.connect(f"file:{os.path.join(d.data, 'registry.db')}?mode=ro", uri=True, timeout=30) as db:
        return db.execute(sql, arguments).fetchall()


def fill(d, workspace="gone", n=3):
    """A workspace with a little of everything; its admin's key."""
    key = d.new_key(workspace=workspace, user="gina")
    d.admin("dataset", "add", "flights", "--url", "file://" + FLIGHTS, "--workspace", workspace)
    d.admin("workspace", "set", workspace, "rows=1000000")
    if d.process is None:
        d.start()
    more = {"source": "data_catalog", "database": "main", "key": key, "bucket": None}
    for sql in [f"CREATE TABLE t AS SELECT '{MARK}' AS a", "SELECT * FROM t"] + [f"SELECT range AS r, '{MARK}' AS x FROM range({20000 + i})" for i in range(n)]:
        d.d360_wait(d.d360_status_of(d.d360_submit(sql, mode="ASYNC", key=key))["queryId"], key=key) if sql.startswith("SELECT") else \
            d.jackdb_execute(sql, key=key, wait=60)
    qid = d.kylin_submit("SELECT 1 AS a", key=key, project=workspace)  # delivers into a folder below DIR
    assert d.kylin_wait(qid, key=key, project=workspace)["status"] == "SUCCESSFUL"
    return key


def number(d, workspace="gone"):
    return registry(d, "SELECT id FROM workspace WHERE name = ?", workspace)[0][0]


def assert_erased(d, ident, key):
    assert registry(d, "SELECT removed FROM workspace WHERE id = ?", ident) == [(2,)]
    for table in ("query", "key", "bucket", "dataset", "source", "workspace_limit", "saved_sql", "idempotency", "query_count"):
        assert registry(d, f"SELECT count(*) FROM {table} WHERE workspace = ?", ident) == [(0,)], table
    assert registry(d, "SELECT count(*) FROM result r WHERE NOT EXISTS (SELECT 1 FROM query q WHERE q.seq = r.query)") == [(0,)]
    named = registry(d, "SELECT count(*) FROM result r JOIN query q ON q.seq = r.query WHERE r.sealed AND q.gone_ms = 0")[0][0]
    spool = [f for _, _, files in os.walk(os.path.join(d.data, "spool")) for f in files if f.endswith(".seg")]
    assert len(spool) == named
    for parent in ("catalog", "buckets"):
        assert not os.path.exists(os.path.join(d.data, parent, str(ident)))
    assert [w["workspace"] for w in d.admin("workspace", "list")] == ["w1"]
    assert all(k["workspace"] == "w1" for k in d.admin("key", "list"))


@pytest.mark.parametrize("running", [True, False], ids=["socket", "lock"])
def test_nothing_stays(make_daemon, running):
    d = make_daemon(env={"QUERN_RESULT_INLINE_MAX": "1024"})
    key = fill(d)
    d.works()
    mine = d.d360_status_of(d.d360_submit("SELECT range FROM range(30000)", mode="ASYNC"))["queryId"]
    assert d.d360_wait(mine).status_code == 200
    ident = number(d)
    assert os.path.exists(os.path.join(d.data, "catalog", str(ident))) and os.path.exists(os.path.join(d.data, "buckets", str(ident)))
    if not running:
        d.stop()
    answer = d.admin("workspace", "remove", "gone")
    assert answer["removed"] is True and answer["erased"] is True and answer["workspace"] == "gone"
    assert_erased(d, ident, key)
    assert d.admin("workspace", "remove", "gone", check=False).returncode == 1
    if not running:
        d.start()
    assert d.d360_submit("SELECT 1", key=key, check=False).status_code == 401
    assert d.d360_get(mine).status_code == 200  # others are as they were
    again = d.new_key(workspace="gone", user="gina")  # the same name is another workspace, with nothing in it
    assert again["workspaceId"] != key["workspaceId"] and number(d) > ident
    assert d.d360_submit("SELECT * FROM t", key=again, check=False).status_code == 400
    assert d.d360_submit("SELECT count(*) FROM flights", key=again, check=False).status_code == 400
    trail = open(os.path.join(d.data, "audit", "audit.log")).read()
    assert '"event":"workspace_removed","workspace":"gone"' in trail and trail.count('"event":"workspace_erased"') == 1
    assert d.admin("audit", "verify")["ok"] is True


def test_what_runs_holds_it(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1"})
    key = fill(d, n=1)
    ident = number(d)
    running = d.d360_status_of(d.d360_submit(BLOCK, mode="ASYNC", key=key))["queryId"]
    waiting = d.d360_status_of(d.d360_submit("SELECT 1", mode="ASYNC", key=key))["queryId"]
    done = d.admin("workspace", "remove", "gone", check=False)
    assert done.returncode == 1 and "2 of its queries wait or run" in done.stderr and "--force" in done.stderr, done.stderr
    assert d.d360_get(running, key=key).status_code == 200  # nothing has happened
    poll = {}
    thread = threading.Thread(target=lambda: poll.update(status=d.d360_get(f"{waiting}?waitTimeMs=20000", key=key).status_code))
    thread.start()
    assert d.admin("workspace", "remove", "gone", "--force")["erased"] is True
    thread.join()
    assert_erased(d, ident, key)
    d.works()
    assert d.metrics()["quern_queries_running"] == 0 and d.metrics()["quern_queries_queued"] == 0


@pytest.mark.parametrize("at", ["removed", "half", "without a daemon"])
def test_killed_in_between(make_daemon, at):
    d = make_daemon(env={"QUERN_RESULT_INLINE_MAX": "1024"})
    key = fill(d, n=2)
    ident = number(d)
    if at == "without a daemon":
        d.stop()
        with sqlite3.connect(os.path.join(d.data, "registry.db")) as db:  # as a command leaves it that was killed behind its commit
            db.execute("UPDATE workspace SET removed = 1, name = 'removed/' || uuid WHERE id = ?", (ident,))
            for table in ("key", "dataset", "workspace_limit"):
                db.execute(f"DELETE FROM {table} WHERE workspace = ?", (ident,))
        db.close()
    else:
        remover = threading.Thread(target=lambda: d.admin("workspace", "remove", "gone", check=False))
        remover.start()
        wait_until("its end of use", lambda: registry(d, "SELECT removed FROM workspace WHERE id = ?", ident)[0][0] > 0, pause=0)
        if at == "half":
            wait_until("fewer queries", lambda: registry(d, "SELECT count(*) FROM query WHERE workspace = ?", ident)[0][0] < 5, pause=0)
        d.kill()
        remover.join()
    d.start()
    wait_until("the rest to go", lambda: registry(d, "SELECT removed FROM workspace WHERE id = ?", ident) == [(2,)])
    wait_until("files that no record names", lambda: not [f for _, _, files in os.walk(os.path.join(d.data, "spool")) for f in files if f.endswith(".seg")])
    assert_erased(d, ident, key)
    assert d.d360_submit("SELECT 1", key=key, check=False).status_code == 401
    d.works()


def test_registry_of_an_older_version(make_daemon):
    """One that was made before workspaces could be removed is brought up to date; one of a later version, or of none, is left as it is."""
    d = make_daemon()
    d.works()
    d.stop()
    path = os.path.join(d.data, "registry.db")
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE workspace DROP COLUMN removed")
        db.execute("PRAGMA user_version = 1")
    db.close()
    d.start()
    d.works()
    d.stop()
    assert registry(d, "PRAGMA user_version") == [(2,)] and registry(d, "SELECT removed FROM workspace") == [(0,)]
    for version, said in ((3, "use a newer quernd"), (2147483647, "use a newer quernd"), (-1, "cannot be read")):
        with sqlite3.connect(path) as db:
            db.execute(f"PRAGMA user_version = {version}")
        db.close()
        done = d.admin("key", "list", check=False)
        assert done.returncode == 1 and said in done.stderr, done.stderr
        assert registry(d, "PRAGMA user_version") == [(version,)] and registry(d, "SELECT name FROM workspace") == [("w1",)]
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    d.start()
    d.works()
