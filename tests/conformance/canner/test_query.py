"""Canner REST v1: submit, status, result, cancel, list. Facts: the source page "RESTful API V1"."""
import re
import time

import pytest

from quern_client import wait_until

UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
ISO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
SLOW = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1"
UNKNOWN = "65920080-7d5b-4c1e-9a54-0d9f1be3a111"
NUMBERS = ("nodes", "totalSplits", "queuedSplits", "runningSplits", "completedSplits", "cpuTimeMillis", "wallTimeMillis", "queuedTimeMillis",
           "elapsedTimeMillis", "processedRows", "processedBytes", "peakMemoryBytes", "spilledBytes")


def check_query(c, seen, sql):
    """Every field of the page's Query object, in its type."""
    assert UUID.match(seen["id"]) and isinstance(seen["statementId"], str) and seen["statementId"]
    assert seen["accountId"] == "alice" and seen["userId"] == "alice" and seen["userType"] == "USER"
    assert seen["status"] in ("QUEUED", "PLANNING", "RUNNING", "FINISHED", "FAILED")
    assert ISO.match(seen["startedAt"]) and seen["sql"] == sql and isinstance(seen["duration"], int)
    assert seen["workspaceId"] == c.workspace and seen["workspaceSqlName"] == "w1"
    assert isinstance(seen["rowCount"], int) and seen["fromCache"] in (True, False)
    assert seen["source"] == "RESTFUL" and seen["dataFormat"] == "PARQUET"
    stats = seen["queryStats"]
    assert stats["state"] == seen["status"] and isinstance(stats["queued"], bool) and isinstance(stats["scheduled"], bool)
    assert all(isinstance(stats[k], int) for k in NUMBERS) and 0 <= stats["progressPercentage"] <= 100
    assert seen["outputStage"]["state"] == seen["status"]
    assert ("error" in seen) == (seen["status"] == "FAILED")
    assert ("location" in seen) == (seen["status"] == "FINISHED")


def test_submit_and_result(both):
    sql = "select range as n, 'row ' || range as t from range(250) order by 1"
    sent = both.submit(sql, cacheRefresh=False, cacheTTL=0)
    check_query(both, sent, sql)
    done = both.wait(sent["id"])
    check_query(both, done, sql)
    assert done["status"] == "FINISHED" and done["rowCount"] == 250 and done["id"] == sent["id"] and done["startedAt"] == sent["startedAt"]
    assert [c["name"] for c in done["columns"]] == ["n", "t"] and done["queryStats"]["progressPercentage"] == 100
    page = both.result(sent["id"], limit=3, offset=2)
    assert list(page) == ["result", "columns", "rowCount"]
    assert page["result"] == [[2, "row 2"], [3, "row 3"], [4, "row 4"]] and page["rowCount"] == 250 and page["columns"] == done["columns"]
    assert len(both.ok("GET", f"/query/{sent['id']}/result")["result"]) == 250  # all without a limit


def test_a_fast_query_is_finished_in_the_first_answer(make_daemon, canner_of):
    """A submit is held for a while (canner.hold), which a fast query does not need."""
    d = make_daemon(env={"QUERN_CANNER_HOLD": "5s"}, bucket=False)
    canner = canner_of(d)
    canner.run("select 1")
    wait_until("one that ends in time", lambda: canner.submit("select 42")["status"] == "FINISHED")


def test_pages(canner):
    done = canner.run("select range from range(1000) order by 1")
    qid = done["id"]
    assert canner.result(qid, limit=0)["result"] == []
    assert canner.result(qid, limit=0)["rowCount"] == 1000 and canner.result(qid, limit=0, offset=0)["columns"][0]["name"] == "range"
    assert canner.result(qid, offset=998)["result"] == [[998], [999]]
    assert canner.result(qid, offset=1000)["result"] == [] and canner.result(qid, offset=10**15, limit=5)["result"] == []
    assert len(canner.result(qid, limit=100000)["result"]) == 1000
    assert canner.result(qid, limit=2, offset=500)["result"] == canner.result(qid, limit=2, offset=500)["result"] == [[500], [501]]


@pytest.mark.parametrize("query", ["limit=some-string", "limit=-1", "offset=-1", "offset=x", "limit=1.5", "limit=", "offset=1e3"])
def test_bad_numbers_are_400(canner, query):
    qid = canner.run("select 1")["id"]
    for path in (f"/query/{qid}/result?{query}", f"/queries?{query}"):
        message = canner.refused(400, "BAD_USER_INPUT", "GET", path)
        assert query.split("=")[0] in message


def test_empty_results(canner):
    done = canner.run("select 1 as x where false")
    assert done["rowCount"] == 0
    empty = canner.result(done["id"], limit=0, offset=0)
    assert empty["result"] == [] and empty["rowCount"] == 0 and empty["columns"][0]["name"] == "x"
    done = canner.run("create or replace table canner_ddl as select 1 as x")
    assert done["status"] == "FINISHED" and isinstance(done["columns"], list), done
    assert canner.result(done["id"])["rowCount"] == len(canner.result(done["id"])["result"])


@pytest.mark.parametrize("body, word", [
    ({}, "sql"), ({"sql": None}, "sql"), ({"sql": 1}, "sql"), ({"sql": "  \n"}, "sql"), ({"sql": ["select 1"]}, "sql"),
    ({"sql": "select 1", "cacheTTL": "x"}, "cacheTTL"), ({"sql": "select 1", "cacheTTL": -1}, "cacheTTL"),
    ({"sql": "select 1", "cacheTTL": True}, "cacheTTL"), ({"sql": "select 1", "cacheRefresh": "yes", "cacheTTL": 1}, "cacheRefresh"),
    ({"sql": "select 1", "cacheRefresh": 1}, "cacheRefresh"), ({"sql": "select 1", "workspaceId": 7}, "workspaceId"),
])
def test_bad_submits_are_400(canner, body, word):
    assert word in canner.refused(400, "BAD_USER_INPUT", "POST", "/query", body)


def test_bodies_that_are_no_object(canner):
    for data in ("{", "[]", "\"x\"", "7", "{\"sql\":\"select 1\",\"sql\":\"select 2\"}", "\xff"):
        answer = canner.call("POST", "/query", data=data)
        assert answer.status_code == 400 and answer.json()["code"] == "BAD_USER_INPUT", f"{data}: {answer.text}"
    assert "workspaceId" in canner.refused(400, "BAD_USER_INPUT", "POST", "/query", {"sql": "select 1"}, workspace=False)
    assert "sql" in canner.refused(400, "BAD_USER_INPUT", "POST", "/query")


def test_workspace_by_query_string_and_body(canner):
    here = canner.workspace
    sent = canner.ok("POST", f"/query?workspaceId={here}", {"sql": "select 1"}, workspace=False)
    qid = canner.wait(sent["id"])["id"]
    assert canner.ok("GET", f"/query/{qid}?workspaceId={here.upper()}", workspace=False)["id"] == qid
    for path in (f"/query/{qid}", f"/query/{qid}/result", "/queries", "/sqls", f"/sql/{qid}"):
        assert "workspaceId" in canner.refused(400, "BAD_USER_INPUT", "GET", path, workspace=False)
        for other in (UNKNOWN, canner.d.other["workspaceId"], "w1", "x"):  # of another workspace, or none: the same answer
            assert canner.refused(404, "NOT_FOUND", "GET", f"{path}?workspaceId={other}", workspace=False) == "workspace not found"


def test_sql_errors_are_failed_queries(canner):
    """200, status FAILED, Trino's words."""
    done = canner.run("slect 1")
    check_query(canner, done, "slect 1")
    error = done["error"]
    assert done["status"] == "FAILED" and error["message"].startswith("line 1:1: ") and "slect" in error["message"]
    assert (error["errorCode"], error["errorName"], error["errorType"]) == (1, "SYNTAX_ERROR", "USER_ERROR")
    assert error["errorLocation"] == {"lineNumber": 1, "columnNumber": 1} and error["failureInfo"]["type"] == "SYNTAX_ERROR"
    done = canner.run("select *\nfrom no_such_table")
    assert done["error"]["errorName"] == "TABLE_NOT_FOUND" and done["error"]["errorCode"] == 46
    assert done["error"]["errorLocation"]["lineNumber"] == 2
    done = canner.run("select 1/0")
    assert done["error"]["errorName"] == "DIVISION_BY_ZERO" and "errorLocation" not in done["error"]
    message = canner.refused(400, "DIVISION_BY_ZERO", "GET", f"/query/{done['id']}/result")
    assert message == done["error"]["message"]


def test_several_statements_are_an_error(canner):
    assert canner.run("select 1; select 2")["status"] == "FAILED"


def test_trino_semantics(canner):
    assert canner.rows("select 5/2, concat('a', null)") == [[2, None]]


def test_values(canner):
    """Trino's JSON (specs/trino.md section 10)."""
    sql = """select true, 7::tinyint, 9007199254740993::bigint, 1.50::decimal(5,2), 1e0::double, 1.5::real, 'ü"\\', '\\xAA\\x01'::blob, date '1996-11-09',
             time '10:11:12.5', timestamp '2024-11-26 01:18:48', timestamp '2024-11-26 01:18:48.123456', timestamptz '2024-11-26 01:18:48+00', [1, null], {'a': 1, 'b': 'x'},
             map {'k': [1.5]}, null, 'NaN'::double, uuid '65920080-7d5b-4c1e-9a54-0d9f1be3a111', 12345678901234567890123456789::hugeint, interval 90 minutes"""
    rows = canner.rows(sql)
    assert rows == [[True, 7, 9007199254740993, "1.50", 1.0, 1.5, "ü\"\\", "qgE=", "1996-11-09", "10:11:12.500", "2024-11-26 01:18:48.000",
                     "2024-11-26 01:18:48.123456", "2024-11-26 01:18:48.000 UTC", [1, None], [1, "x"], {"k": ["1.5"]}, None, "NaN",
                     "65920080-7d5b-4c1e-9a54-0d9f1be3a111", "12345678901234567890123456789", "0 01:30:00.000"]]


def test_columns(canner):
    done = canner.run("select 1::integer a, 'x' b, 1.5::decimal(18,4) c, [1::bigint] d, {'x': 1::integer, 'y z': true} e, map {'k': 1.5::double} f,"
                      " timestamp '2024-01-01 00:00:00' g, timestamptz '2024-01-01 00:00:00+00' h, date '2024-01-01' i, '\\xAA'::blob j, time '10:00:00' k")
    long = lambda *n: [{"kind": "LONG", "value": v} for v in n]  # noqa: E731
    varchar = {"rawType": "varchar", "arguments": long(2147483647)}
    assert done["columns"] == [
        {"name": "a", "type": "integer", "typeSignature": {"rawType": "integer", "arguments": []}},
        {"name": "b", "type": "varchar", "typeSignature": varchar},
        {"name": "c", "type": "decimal(18,4)", "typeSignature": {"rawType": "decimal", "arguments": long(18, 4)}},
        {"name": "d", "type": "array(bigint)", "typeSignature": {
            "rawType": "array", "arguments": [{"kind": "TYPE", "value": {"rawType": "bigint", "arguments": []}}]}},
        {"name": "e", "type": 'row(x integer,"y z" boolean)', "typeSignature": {"rawType": "row", "arguments": [
            {"kind": "NAMED_TYPE", "value": {"fieldName": {"name": "x"}, "typeSignature": {"rawType": "integer", "arguments": []}}},
            {"kind": "NAMED_TYPE", "value": {"fieldName": {"name": "y z"}, "typeSignature": {"rawType": "boolean", "arguments": []}}}]}},
        {"name": "f", "type": "map(varchar,double)", "typeSignature": {"rawType": "map", "arguments": [
            {"kind": "TYPE", "value": varchar}, {"kind": "TYPE", "value": {"rawType": "double", "arguments": []}}]}},
        {"name": "g", "type": "timestamp(6)", "typeSignature": {"rawType": "timestamp", "arguments": long(6)}},
        {"name": "h", "type": "timestamp(6) with time zone", "typeSignature": {"rawType": "timestamp with time zone", "arguments": long(6)}},
        {"name": "i", "type": "date", "typeSignature": {"rawType": "date", "arguments": []}},
        {"name": "j", "type": "varbinary", "typeSignature": {"rawType": "varbinary", "arguments": []}},
        {"name": "k", "type": "time(6)", "typeSignature": {"rawType": "time", "arguments": long(6)}},
    ]


def test_types_nested_very_deep(canner):
    sql = "select " + "[" * 25 + "1" + "]" * 25 + " as d"
    done = canner.run(sql)
    assert done["status"] == "FINISHED", done
    value, signature, levels = canner.result(done["id"])["result"][0][0], done["columns"][0]["typeSignature"], 0
    while isinstance(value, list):
        value, levels = value[0], levels + 1
    assert (value, levels) == (1, 25) and done["columns"][0]["type"].count("array(") == 25
    while signature["arguments"]:
        signature = signature["arguments"][0]["value"]
    assert signature["rawType"] == "json"  # deeper than any client looks


def test_cancel(both):
    sent = both.submit(SLOW)
    assert sent["status"] in ("QUEUED", "PLANNING", "RUNNING")
    both.refused(400, "QUERY_NOT_FINISHED", "GET", f"/query/{sent['id']}/result")
    ended = both.ok("PUT", f"/query/{sent['id']}/cancel", {})
    assert ended["status"] == "FAILED" and ended["error"]["errorName"] == "USER_CANCELED" and ended["error"]["message"] == "canceled by user"
    again = both.ok("PUT", f"/query/{sent['id']}/cancel", {})
    assert again["status"] == "FAILED" and again["error"] == ended["error"] and again["duration"] == ended["duration"]
    assert both.get(sent["id"])["status"] == "FAILED"
    both.refused(400, "USER_CANCELED", "GET", f"/query/{sent['id']}/result")


def test_cancel_by_query_string_and_of_what_has_ended(canner):
    sent = canner.submit(SLOW)
    answer = canner.call("PUT", f"/query/{sent['id']}/cancel?workspaceId={canner.workspace}")  # no body at all
    assert answer.status_code == 200 and answer.json()["status"] == "FAILED"
    done = canner.run("select 1")
    assert canner.ok("PUT", f"/query/{done['id']}/cancel", {})["status"] == "FINISHED"
    canner.refused(400, "BAD_USER_INPUT", "PUT", f"/query/{done['id']}/cancel", {}, workspace=False)
    canner.refused(404, "NOT_FOUND", "PUT", f"/query/{UNKNOWN}/cancel", {})


def test_status_goes_one_way(canner):
    order = ["QUEUED", "PLANNING", "RUNNING", "FINISHED"]
    sent = canner.submit("select count(*), sum(sqrt(delay * delay)) from flights, range(30)")
    seen = [sent["status"]]
    while seen[-1] not in ("FINISHED", "FAILED"):
        seen.append(canner.get(sent["id"])["status"])
    assert seen[-1] == "FINISHED" and seen == sorted(seen, key=order.index)


def test_live_statistics(canner):
    """processedRows rises at least three times while a query runs, and never falls, after its end neither."""
    for more in range(5):  # who looks too seldom takes a longer one
        sent = canner.submit("select count(distinct md5(sha256(md5(sha256(md5(origin || destination || delay || distance)))))) from flights "
                             + "".join(f", (select 1 union all select 2) x{i} " for i in range(more)) + "where delay % 3 > 0")
        seen, done = [], sent
        while done["status"] not in ("FINISHED", "FAILED"):
            seen.append(done["queryStats"])
            done = canner.get(sent["id"])
        seen.append(done["queryStats"])
        assert done["status"] == "FINISHED", done
        rows = [s["processedRows"] for s in seen]
        assert rows == sorted(rows), rows
        if len(set(rows)) >= 4:
            break
    assert len(set(rows)) >= 4, rows
    progress = [s["progressPercentage"] for s in seen]
    assert progress == sorted(progress) and progress[-1] == 100 and all(p < 100 for p in progress[:-1])
    assert seen[-1]["peakMemoryBytes"] > 0 and seen[-1]["completedSplits"] == 1
    time.sleep(0.3)
    assert canner.get(sent["id"])["queryStats"] == seen[-1]


def test_list(canner):
    before = canner.ok("GET", "/queries?limit=1")["totalCount"]
    ids = [canner.run(f"select {i} as listed")["id"] for i in range(5)]
    page = canner.ok("GET", "/queries?limit=3")
    assert list(page) == ["totalCount", "result"] and page["totalCount"] == before + 5
    assert [x["id"] for x in page["result"]] == ids[:1:-1]  # newest first
    assert [x["id"] for x in canner.ok("GET", "/queries?limit=2&offset=3")["result"]] == [ids[1], ids[0]]
    assert page["result"][0] == canner.get(ids[4])
    assert canner.ok("GET", "/queries?limit=0")["result"] == []
    assert canner.ok("GET", f"/queries?offset={before + 5}")["result"] == []
    assert len(canner.ok("GET", "/queries")["result"]) == min(100, before + 5)
    assert "canner.max_page" in canner.refused(400, "BAD_USER_INPUT", "GET", "/queries?limit=10001")


def test_long_lists_come_whole(canner):
    """Longer than one buffer of a reply."""
    text = "x" * 4000
    ids = [canner.submit(f"select '{text}' as long_{i}")["id"] for i in range(40)]
    listed = canner.ok("GET", "/queries?limit=40")["result"]
    assert [x["id"] for x in listed] == ids[::-1] and all(len(x["sql"]) > 4000 for x in listed)


def test_cache(canner):
    sql = "select random() as r, 'cache test'"
    first = canner.run(sql, cacheRefresh=False, cacheTTL=3600)
    assert first["fromCache"] is False
    value = canner.result(first["id"])["result"]
    second = canner.run(sql, cacheRefresh=False, cacheTTL=3600)
    assert second["fromCache"] is True and second["id"] != first["id"] and canner.result(second["id"])["result"] == value
    assert canner.run(sql, cacheRefresh="false", cacheTTL=3600)["fromCache"] is True  # the page's prose spells them as strings
    for fields in ({}, {"cacheTTL": 3600}, {"cacheRefresh": False}, {"cacheRefresh": True}):  # both are needed
        assert canner.run(sql, **fields)["fromCache"] is False
    fresh = canner.run(sql, cacheRefresh=True, cacheTTL=3600)
    assert fresh["fromCache"] is False
    again = canner.run(sql, cacheRefresh=False, cacheTTL=3600)  # a refresh replaces what is kept
    assert again["fromCache"] is True and canner.result(again["id"])["result"] == canner.result(fresh["id"])["result"] != value


def test_cache_age_is_in_seconds(canner):
    """The TTL is the oldest age at which a result is still taken."""
    sql = "select random() as r, 'cache age'"
    first = canner.run(sql, cacheRefresh=False, cacheTTL=3600)
    assert canner.run(sql, cacheRefresh=False, cacheTTL=0)["fromCache"] is False
    newest = canner.run(sql, cacheRefresh=False, cacheTTL=3600)
    assert newest["fromCache"] is True and canner.result(newest["id"])["result"] != canner.result(first["id"])["result"]
    time.sleep(1.2)
    assert canner.run(sql, cacheRefresh=False, cacheTTL=3600)["fromCache"] is True
    assert canner.run(sql, cacheRefresh=False, cacheTTL=1)["fromCache"] is False
    assert canner.run(sql, cacheRefresh=False, cacheTTL=1e300)["fromCache"] is True


def test_a_write_ends_the_cache(canner):
    canner.run("create or replace table canner_cache as select 1 as x")
    sql = "select * from canner_cache"
    assert canner.rows(sql, cacheRefresh=False, cacheTTL=60) == [[1]]
    assert canner.run("insert into canner_cache values (2)")["status"] == "FINISHED"
    assert sorted(canner.rows(sql, cacheRefresh=False, cacheTTL=60)) == [[1], [2]]


def test_idempotency_key(canner):
    key = {"Idempotency-Key": f"canner-{time.time_ns()}"}
    first = canner.submit("select random()", headers=key)
    assert canner.submit("select random()", headers=key)["id"] == first["id"]
    assert canner.submit("select random()")["id"] != first["id"]
    canner.refused(409, "CONFLICT", "POST", "/query", {"sql": "select 2"}, headers=key)
    canner.refused(400, "BAD_USER_INPUT", "POST", "/query", {"sql": "select 2"}, headers={"Idempotency-Key": "x" * 256})


def test_both_spellings_and_every_dialect(canner):
    done = canner.run("select 7 as seven")
    for spelling in (done["id"], done["statementId"], done["id"].upper()):
        assert canner.get(spelling)["id"] == done["id"]
    assert canner.d.kakao_get(done["id"])["queryData"] == [["7"]]
    assert canner.d.d360_rows(done["statementId"]) == [[7]]
    qid = canner.d.kakao_run("select 8 as eight")
    canner.d.kakao_wait(qid)
    seen = canner.get(qid)
    assert seen["statementId"] == qid and seen["status"] == "FINISHED" and seen["source"] == "RESTFUL"
    assert canner.result(qid)["result"] == [[8]]
    assert canner.d.download(done["id"], dialect="canner").text == "seven\n7\n"


def test_deleted_elsewhere_is_expired_here(canner):
    done = canner.run("select 1")
    assert canner.d.http("DELETE", f"/api/v3/query/{done['id']}", dialect="data360").status_code == 204
    canner.refused(404, "RESULT_EXPIRED", "GET", f"/query/{done['id']}/result")
    seen = canner.get(done["id"])
    assert seen["status"] == "FINISHED" and "location" not in seen and isinstance(seen["columns"], list)


def test_credentials(both):
    path = f"{both.base}/queries?workspaceId={both.workspace}"
    token = both.key["token"]
    for headers in ({}, {"Authorization": "Token x"}, {"Authorization": f"Basic {token}"}, {"Authorization": token}, {"Authorization": "Token"}):
        answer = both.d.http("GET", path, key=False, headers=headers)
        assert answer.status_code == 401 and list(answer.json()) == ["code", "message"] and answer.json()["code"] == "UNAUTHENTICATED"
        assert answer.headers["WWW-Authenticate"] == "Token"
    for scheme in ("Token", "token", "Bearer"):
        assert both.d.http("GET", path, key=False, headers={"Authorization": f"{scheme} {token}"}).status_code == 200


def test_roles(canner):
    reader, member = canner.by(canner.d.reader), canner.by(canner.d.member)
    done = member.run("select 1")
    assert reader.get(done["id"])["status"] == "FINISHED" and reader.result(done["id"])["result"] == [[1]]
    for method, path, body in (("POST", "/query", {"sql": "select 1"}), ("POST", "/sql", {"sql": "select 1", "title": "t"}),
                               ("POST", f"/sql/{done['id']}", {}), ("PUT", f"/query/{done['id']}/cancel", {}),
                               ("PUT", "/service/SQL_ENGINE", {"state": True})):
        reader.refused(403, "GRAPHQL_ADMISSION_CONTROL_FORBIDDEN", method, path, body)
    sent = canner.submit(SLOW)
    member.refused(403, "GRAPHQL_ADMISSION_CONTROL_FORBIDDEN", "PUT", f"/query/{sent['id']}/cancel", {})
    assert canner.ok("PUT", f"/query/{sent['id']}/cancel", {})["status"] == "FAILED"


def test_two_workspaces_see_nothing_of_each_other(canner):
    stranger = canner.by(canner.d.other)
    done = canner.run("select 'secret' as s")
    for path in (f"/query/{done['id']}", f"/query/{done['id']}/result", f"/sql/{done['id']}"):
        foreign, unknown = stranger.call("GET", path), stranger.call("GET", path.replace(done["id"], UNKNOWN))
        assert foreign.status_code == unknown.status_code == 404 and foreign.text == unknown.text
        crossed = stranger.call("GET", f"{path}?workspaceId={canner.workspace}", workspace=False)
        assert crossed.status_code == 404
    assert stranger.call("PUT", f"/query/{done['id']}/cancel", {}).status_code == 404
    assert done["id"] not in stranger.call("GET", "/queries?limit=10000").text


def test_paths_and_methods(both):
    for method, path in (("DELETE", "/query"), ("PATCH", "/sqls"), ("POST", "/queries"), ("GET", "/query"), ("DELETE", "/sql/x")):
        answer = both.call(method, path, workspace=False)
        assert answer.status_code == 405 and answer.json()["code"] == "METHOD_NOT_ALLOWED", f"{method} {path}: {answer.text}"
    answer = both.call("GET", "/nothing", workspace=False)
    assert answer.status_code == 404 and answer.json()["code"] == "NOT_FOUND"
    for qid in (UNKNOWN, "junk", "20240903-011848-HcejcLZBHz"):
        both.refused(404, "NOT_FOUND", "GET", f"/query/{qid}")
        both.refused(404, "NOT_FOUND", "GET", f"/query/{qid}/result")


def test_too_large(make_daemon):
    d = make_daemon(env={"QUERN_HTTP_MAX_BODY": "2000"})
    body = {"workspaceId": d.key["workspaceId"], "sql": "select '" + "x" * 3000 + "'"}
    answer = d.http("POST", "/api/v1/query", dialect="canner", json=body)
    assert answer.status_code == 413 and answer.json()["code"] == "PAYLOAD_TOO_LARGE" and "http.max_body" in answer.json()["message"]


def test_full_queue_and_holding(make_daemon):
    """429 with the config key; without a hold the first answer comes at once, and the queued query is QUEUED."""
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_QUEUE_PER_WORKSPACE": "1", "QUERN_CANNER_HOLD": "0"})
    here = d.key["workspaceId"]

    def submit(sql):
        return d.http("POST", "/api/v1/query", dialect="canner", json={"workspaceId": here, "sql": sql})

    first = submit(SLOW).json()
    wait_until("it runs", lambda: d.http("GET", f"/api/v1/query/{first['id']}?workspaceId={here}", dialect="canner").json()["status"] == "RUNNING")
    second = submit("select 1").json()
    assert second["status"] == "QUEUED" and second["queryStats"]["queued"] is True and second["queryStats"]["scheduled"] is False
    refused = submit("select 2")
    assert refused.status_code == 429 and refused.json()["code"] == "TOO_MANY_REQUESTS" and "queue.per_workspace" in refused.json()["message"]
    assert refused.headers["Retry-After"]
    d.http("PUT", f"/api/v1/query/{first['id']}/cancel", dialect="canner", json={"workspaceId": here})
    wait_until("the second", lambda: d.http("GET", f"/api/v1/query/{second['id']}?workspaceId={here}", dialect="canner").json()["status"] == "FINISHED")


def test_large_result_in_one_answer(canner):
    done = canner.run("select range as n, 'text ' || range as t from range(200000)")
    body = canner.result(done["id"])
    assert body["rowCount"] == 200000 and len(body["result"]) == 200000
    assert sum(r[0] for r in body["result"]) == 199999 * 100000 and all(r[1] == f"text {r[0]}" for r in body["result"][::1000])
