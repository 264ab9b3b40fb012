"""Canner REST v1: saved SQL and services. Facts: the source page, sections Service and Saved SQL."""
import re
import time

import pytest

from quern_client import wait_until

UNKNOWN = "65920080-7d5b-4c1e-9a54-0d9f1be3a111"
ISO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
STATS = {"state", "queued", "scheduled", "nodes", "totalSplits", "queuedSplits", "runningSplits", "completedSplits", "cpuTimeMillis", "wallTimeMillis",
         "queuedTimeMillis", "elapsedTimeMillis", "processedRows", "processedBytes", "peakMemoryBytes", "spilledBytes"}


def test_save_list_get_run(both):
    saved = both.ok("POST", "/sql", {"title": "Forty two", "description": "a number", "sql": "select 42 as x"})
    assert saved == {"id": saved["id"], "title": "Forty two", "description": "a number", "sql": "select 42 as x",
                     "workspaceId": both.workspace, "accountId": "alice"}
    plain = both.ok("POST", "/sql", {"title": "No description", "sql": "select 1"})
    assert "description" not in plain
    listed = both.ok("GET", "/sqls")
    assert listed[:2] == [plain, saved]  # newest first
    look = both.ok("GET", f"/sql/{saved['id']}")
    assert set(look["stats"]) == STATS and look["stats"]["state"] == "NONE" and look["stats"]["queued"] is False and look["stats"]["elapsedTimeMillis"] == 0
    assert {k: v for k, v in look.items() if k != "stats"} == saved
    ran = both.ok("POST", f"/sql/{saved['id']}", {})
    assert ran["sql"] == "select 42 as x" and ran["id"] != saved["id"]
    done = both.wait(ran["id"])
    assert done["status"] == "FINISHED" and both.result(ran["id"])["result"] == [[42]]
    look = both.ok("GET", f"/sql/{saved['id']}")
    assert look["stats"]["state"] == "FINISHED" and look["stats"]["completedSplits"] == 1
    assert look["stats"] == {k: v for k, v in done["queryStats"].items() if k != "progressPercentage"}


def test_stats_of_a_running_run(canner):
    slow = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1"
    saved = canner.ok("POST", "/sql", {"title": "slow", "sql": slow})
    ran = canner.ok("POST", f"/sql/{saved['id']}", {})
    assert canner.ok("GET", f"/sql/{saved['id']}")["stats"]["state"] in ("QUEUED", "PLANNING", "RUNNING")
    canner.ok("PUT", f"/query/{ran['id']}/cancel", {})
    assert canner.ok("GET", f"/sql/{saved['id']}")["stats"]["state"] == "FAILED"


def test_stats_of_a_query(canner):
    """The page's answer has the statistics of a statement: a query's id, and its statement's, show them too."""
    done = canner.run("select 1")
    for name in (done["id"], done["statementId"]):
        seen = canner.ok("GET", f"/sql/{name}")
        assert set(seen) == {"id", "stats"} and seen["id"] == done["id"] and seen["stats"]["state"] == "FINISHED"
    for name in (UNKNOWN, "junk"):
        canner.refused(404, "NOT_FOUND", "GET", f"/sql/{name}")


def test_run_with_cache_parameters_and_idempotency(canner):
    saved = canner.ok("POST", "/sql", {"title": "cached", "sql": "select random(), 'saved'"})
    path = f"/sql/{saved['id']}"
    first = canner.wait(canner.ok("POST", path, {"cacheRefresh": False, "cacheTTL": 86400})["id"])
    second = canner.wait(canner.ok("POST", path, {"cacheRefresh": False, "cacheTTL": 86400})["id"])
    assert (first["fromCache"], second["fromCache"]) == (False, True)
    assert canner.wait(canner.ok("POST", path, {})["id"])["fromCache"] is False
    key = {"Idempotency-Key": f"saved-{time.time_ns()}"}
    once = canner.ok("POST", path, {}, headers=key)
    assert canner.ok("POST", path, {}, headers=key)["id"] == once["id"]
    canner.refused(400, "BAD_USER_INPUT", "POST", path, {"cacheTTL": "x"})


@pytest.mark.parametrize("body, word", [
    ({"sql": "select 1"}, "title"), ({"title": "t"}, "sql"), ({"title": " ", "sql": "select 1"}, "title"), ({"title": "t", "sql": "\n"}, "sql"),
    ({"title": 1, "sql": "select 1"}, "title"), ({"title": "t", "sql": "select 1", "description": 1}, "description"),
    ({"title": "t" * 1025, "sql": "select 1"}, "title"), ({"title": "t", "sql": "select 1", "description": "d" * 65537}, "description"),
    ({"title": "t", "sql": "select '" + "x" * 1048576 + "'"}, "saved.max_sql"),
])
def test_bad_saves_are_400(canner, body, word):
    assert word in canner.refused(400, "BAD_USER_INPUT", "POST", "/sql", body)


def test_workspaces(canner):
    stranger, reader = canner.by(canner.d.other), canner.by(canner.d.reader)
    saved = canner.ok("POST", "/sql", {"title": "private", "sql": "select 'w1 only'"})
    for method, body in (("GET", None), ("POST", {})):
        foreign, unknown = stranger.call(method, f"/sql/{saved['id']}", body), stranger.call(method, f"/sql/{UNKNOWN}", body)
        assert foreign.status_code == unknown.status_code == 404 and foreign.text == unknown.text
    assert "w1 only" not in stranger.call("GET", "/sqls").text
    assert saved in reader.ok("GET", "/sqls") and reader.ok("GET", f"/sql/{saved['id']}")["title"] == "private"
    canner.refused(400, "BAD_USER_INPUT", "POST", "/sql", {"title": "t", "sql": "select 1"}, workspace=False)
    canner.refused(404, "NOT_FOUND", "POST", f"/sql/{saved['id']}", {"workspaceId": UNKNOWN}, workspace=False)


def test_long_lists_come_whole_and_in_pages(make_daemon):
    d = make_daemon(env={"QUERN_SAVED_PER_WORKSPACE": "60"})
    here = d.key["workspaceId"]
    save = lambda i: d.http("POST", "/api/v1/sql", dialect="canner",  # noqa: E731
                            json={"workspaceId": here, "title": f"t{i}", "sql": f"select {i} -- " + "x" * 4000})
    for i in range(60):
        assert save(i).status_code == 200
    full = save(60)
    assert full.status_code == 429 and "saved.per_workspace" in full.json()["message"]
    get = lambda more="": d.http("GET", f"/api/v1/sqls?workspaceId={here}{more}", dialect="canner")  # noqa: E731
    listed = get().json()
    assert [x["title"] for x in listed] == [f"t{i}" for i in range(59, -1, -1)] and len(get().content) > 240000
    assert get("&limit=5&offset=50").json() == listed[50:55] and get("&limit=30").json() == listed[:30]
    assert get("&limit=0").json() == [] and get("&offset=60").json() == [] and get("&offset=59").json() == listed[59:]
    assert get("&limit=x").status_code == 400 and get("&offset=-1").status_code == 400
    d.kill()  # what was answered is durable
    d.start()
    assert get().json() == listed


# --- services ---------------------------------------------------------------------------------------------------------


def service(d, method="GET", name="SQL_ENGINE", base="/api/v1", key=None, **body):
    return d.http(method, f"{base}/service/{name}", dialect="canner", key=key, json=body or None)


def test_service(both):
    seen = both.ok("GET", "/service/SQL_ENGINE", workspace=False)
    assert set(seen) == {"id", "service", "status", "lastUsed", "maxIdleTime"}
    assert seen["service"] == "SQL_ENGINE" and seen["status"] in ("RUNNING", "STOPPED") and seen["maxIdleTime"] == 300 and ISO.match(seen["lastUsed"])
    time.sleep(0.01)  # a time has milliseconds: what follows shall not fall into the same one
    both.run("select 1")
    after = both.ok("GET", "/service/SQL_ENGINE", workspace=False)
    assert after["status"] == "RUNNING" and after["lastUsed"] > seen["lastUsed"] and after["id"] == seen["id"]
    for state in (True, "true"):
        assert both.ok("PUT", "/service/SQL_ENGINE", {"state": state}, workspace=False)["status"] == "RUNNING"
    for body in ({}, {"state": 1}, {"state": "on"}, {"state": None}):
        both.refused(400, "BAD_USER_INPUT", "PUT", "/service/SQL_ENGINE", body, workspace=False)
    for name in ("sql_engine", "nothing"):
        both.refused(404, "NOT_FOUND", "GET", f"/service/{name}", workspace=False)
        both.refused(404, "NOT_FOUND", "PUT", f"/service/{name}", {"state": True}, workspace=False)


def test_stop_and_start(make_daemon):
    """Off: queries of that workspace wait, also over a restart; another workspace's run. On: they go on."""
    d = make_daemon(env={"QUERN_CANNER_HOLD": "0"})
    other = d.new_key(workspace="w2", user="erin", role="member")
    member = d.new_key(user="bob", role="member")
    here = d.key["workspaceId"]

    def submit(key, sql="select 1"):
        return d.http("POST", "/api/v1/query", dialect="canner", key=key, json={"workspaceId": key["workspaceId"], "sql": sql}).json()["id"]

    def status(key, qid):
        return d.http("GET", f"/api/v1/query/{qid}?workspaceId={key['workspaceId']}", dialect="canner", key=key).json()["status"]

    assert service(d, "PUT", key=member, state=False).json()["status"] == "STOPPED"
    first = submit(member)
    theirs = submit(other)
    wait_until("the other workspace's query", lambda: status(other, theirs) == "FINISHED")
    kakao = d.kakao_run("select 2")  # whatever the dialect
    assert status(d.key, first) == "QUEUED" and d.kakao_get(kakao)["queryInfo"]["state"] == "QUEUED"
    assert service(d).json()["status"] == "STOPPED" and service(d, key=other).json()["status"] == "RUNNING"
    d.restart()
    second = submit(d.key)
    theirs = submit(other)
    wait_until("the other workspace's query", lambda: status(other, theirs) == "FINISHED")
    assert status(d.key, first) == status(d.key, second) == "QUEUED" and service(d).json()["status"] == "STOPPED"
    assert d.http("PUT", f"/api/v1/query/{second}/cancel", dialect="canner", json={"workspaceId": here}).json()["status"] == "FAILED"
    assert service(d, "PUT", state="true").json()["status"] == "RUNNING"
    wait_until("what waited", lambda: status(d.key, first) == "FINISHED")
    d.kakao_wait(kakao, states=("FINISHED",))


def test_idle_and_wake_on_demand(make_daemon, canner_of):
    d = make_daemon(env={"QUERN_ENGINE_IDLE": "1s", "QUERN_CANNER_HOLD": "5s"})
    canner = canner_of(d)
    created = service(d).json()  # before the first use lastUsed is when the workspace was made
    assert created["maxIdleTime"] == 1
    wait_until("it is at rest", lambda: service(d).json()["status"] == "STOPPED")
    assert service(d).json()["lastUsed"] == created["lastUsed"]
    begun = time.monotonic()
    done = canner.run("select 1")
    assert done["status"] == "FINISHED"
    woken = service(d).json()
    assert woken["status"] == "RUNNING" or time.monotonic() - begun >= 1
    assert woken["lastUsed"] > created["lastUsed"]
    wait_until("it is at rest again", lambda: service(d).json()["status"] == "STOPPED")
    wait_until("its processes are gone", lambda: d.metrics()["quern_engine_idle"] == 0)
    rested = service(d).json()  # the end of a run is a use too, a moment after its query is told
    assert service(d, "PUT", state=True).json()["status"] == "RUNNING"  # woken by hand: that is no use
    assert service(d).json()["lastUsed"] == rested["lastUsed"] >= woken["lastUsed"]
    d.restart()
    assert service(d).json()["lastUsed"] == d.jackdb_get(done["id"])["completedAt"]  # of the newest query that is recorded
