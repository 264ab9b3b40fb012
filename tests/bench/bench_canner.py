"""Canner's numbers for tests/bench/run: its lists at any length of history, and a result of a million rows as one JSON answer.

The history is made by writing rows into the registry of a stopped daemon: submitting a million queries would measure something else. What a
page shows (the newest) was submitted; what was put in is older.
"""
import os
import re
import sqlite3
import statistics
import tempfile
import threading

from quern_client import RELEASE, Daemon


def request(method, path, headers):
    return ("\r\n".join([f"{method} {path} HTTP/1.1", "Host: quern", *(f"{k}: {v}" for k, v in headers.items())]) + "\r\n\r\n").encode()


def fill(daemon, queries, saved):
    """Puts old queries and saved SQL into the registry of the stopped daemon."""
    db = sqlite3.connect(os.path.join(daemon.data, "registry.db"))
    for setting in ("cache_size = -400000", "synchronous = OFF"):
        db.execute("PRAGMA " + setting)
    columns = [row[1] for row in db.execute("PRAGMA table_info(query)")]
    template = db.execute("SELECT max(seq) FROM query").fetchone()[0]
    changed = {"seq": None, "id": "randomblob(16)", "created_ms": "t.created_ms - 60000 - 5000 * i", "started_ms": "t.created_ms - 60000 - 5000 * i",
               "ended_ms": "t.created_ms - 60000 - 5000 * i", "expires_ms": "0", "gone_ms": "t.created_ms - 60000 - 5000 * i", "reuse_key": "NULL"}
    names = [c for c in columns if c != "seq"]
    series = "WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i + 1 < %d)"
    if queries > 0:
        db.execute((series % queries) + f" INSERT INTO query ({', '.join(names)}) SELECT {', '.join(changed.get(c) or 't.' + c for c in names)}"
                   f" FROM s, query t WHERE t.seq = {template}")
        db.execute("UPDATE query_count SET n = n + ? WHERE (workspace, user, state) = (SELECT workspace, user, state FROM query WHERE seq = ?)",
                   (queries, template))
    if saved > 0:
        db.execute((series % saved) + " INSERT INTO saved_sql (id, workspace, user, title, description, sql, created_ms)"
                   " SELECT randomblob(16), t.workspace, t.user, t.title || i, t.description, t.sql, t.created_ms - 60000 - i FROM s,"
                   " (SELECT * FROM saved_sql LIMIT 1) t")
    db.commit()
    db.close()


def prepared(queries, saved):
    daemon = Daemon(build=RELEASE, folder=tempfile.mkdtemp(prefix="quern-bench-", dir=os.environ.get("QUERN_BENCH_DIR") or RELEASE),
                    env={"QUERN_LOG_LEVEL": "warn"})
    daemon.own_folder = True
    daemon.prepare(flights=False, bucket=False).start()
    here = daemon.key["workspaceId"]

    def post(path, **body):
        answer = daemon.http("POST", "/api/v1" + path, dialect="canner", json={"workspaceId": here, **body})
        assert answer.status_code == 200, answer.text

    for i in range(20):
        post("/query", sql=f"SELECT {i} AS n")
        post("/sql", title=f"title {i}", description="of the bench", sql=f"SELECT {i} AS n")
    daemon.stop()
    fill(daemon, queries - 20, saved - 20)
    return daemon.start()


def lists(tool, load, rounds, calls, rows):
    small = large = None
    try:
        small, large = prepared(20, 20), prepared(1000000, 10000)
        for what, path in (("history", "/api/v1/queries?limit=20&workspaceId="), ("saved SQL", "/api/v1/sqls?limit=20&workspaceId=")):
            few, many = [], []
            for _ in range(rounds):
                for daemon, times in ((small, few), (large, many)):
                    get = request("GET", path + daemon.key["workspaceId"], daemon.key["headers"]["canner"])
                    times.append(tool(load, "latency", str(daemon.port), str(calls), "50", data=get)["p50"])
            total = large.http("GET", "/api/v1/queries?limit=1&workspaceId=" + large.key["workspaceId"], dialect="canner").json()["totalCount"]
            assert total == 1000000, total
            rows.append((f"Canner {what}: 20 of 1 M queries, 10,000 saved / of 20", statistics.median(m / f for m, f in zip(many, few)), 1.2, 1.0, False,
                         f"{statistics.median(many):.0f} us / {statistics.median(few):.0f} us"))
    finally:
        for daemon in (small, large):
            if daemon:
                daemon.finish()


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_anon(pid):
    return int(re.search(r"RssAnon:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1)) * 1024


def result(daemon, tool, load, rounds, rows):
    """A million flights as one answer; what the daemon spends on it, and how much it grows meanwhile."""
    here, key = daemon.key["workspaceId"], daemon.key["headers"]["canner"]
    qid = daemon.http("POST", "/api/v1/query", dialect="canner", json={"workspaceId": here, "sql": "SELECT * FROM flights LIMIT 1000000"}).json()["id"]
    while True:
        seen = daemon.http("GET", f"/api/v1/query/{qid}?workspaceId={here}", dialect="canner").json()
        if seen["status"] in ("FINISHED", "FAILED"):
            break
    assert seen["rowCount"] == 1000000, seen
    pid = daemon.process.pid
    paths = {"canner": f"/api/v1/query/{qid}/result?workspaceId={here}", "json": f"/quern/v1/query/{qid}/download?format=json"}
    grown, spent, size = [], {"canner": [], "json": []}, {}
    for name, path in paths.items():  # whatever is made once is made
        size[name] = tool(load, "get", str(daemon.port), "-", data=request("GET", path, key))["bytes"]
    for _ in range(rounds):
        for name, path in paths.items():
            before, at_start, stop = cpu(pid), rss_anon(pid), threading.Event()
            peak = [at_start]

            def watch():
                while not stop.wait(0.005):
                    peak[0] = max(peak[0], rss_anon(pid))

            watcher = threading.Thread(target=watch)
            watcher.start()
            tool(load, "get", str(daemon.port), "-", data=request("GET", path, key))
            stop.set()
            watcher.join()
            spent[name].append(cpu(pid) - before)
            if name == "canner":
                grown.append(peak[0] - at_start)
    rows.append(("Canner result, 1 M rows in one answer: CPU / neutral JSON", statistics.median(c / j for c, j in zip(spent["canner"], spent["json"])), 1.2, 1.0,
                 False, f"{statistics.median(spent['canner']) * 1000:.0f} ms ({size['canner'] / 1e6:.0f} MB) / {statistics.median(spent['json']) * 1000:.0f} ms ({size['json'] / 1e6:.0f} MB)"))
    rows.append(("... growth of the daemon's RssAnon / 16 MB", max(grown) / 16e6, 1.0, 0.25, False, f"{max(grown) / 1e6:.1f} MB"))
