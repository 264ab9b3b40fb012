"""The execute call, our own extension: each argument, both body forms, each refusal (specs/jackdb.md section 5)."""
import json
import time

import pytest

from quern_client import wait_until

LONG = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1"
EXECUTE = "/data-source/data_catalog/execute"


def rows(q, query, index=0):
    return q.jackdb_get(f"{query['id']}/result/{index}/rows")


def test_only_command_is_required(q):
    answer = q.jackdb("POST", EXECUTE, form={"command": "select 1; select 2"})
    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == ["id", "createdAt", "startedAt", "completedAt", "success", "numResults"]
    assert answer.headers["Location"] == f"/api/v2/query/{body['id']}"
    assert q.jackdb_wait(body["id"])["numResults"] == 2


@pytest.mark.parametrize("path", ["/data-source/data_catalog/execute", "/data-source/data_catalog/command", "/data-source/data_catalog/query",
                                  "/datasource/data_catalog/execute", "/data-source/:alias=data_catalog/execute",
                                  "/data-source/:alias:data_catalog/execute"])
def test_paths(q, path):
    assert q.jackdb_done(q.jackdb("POST", path, form={"command": "SELECT 1", "wait": 60}))["success"] is True


def test_by_the_sources_id(q):
    source = q.jackdb("GET", "/data-source/data_catalog").json()
    assert q.jackdb_done(q.jackdb("POST", f"/data-source/{source['id']}/execute", form={"command": "SELECT 1", "wait": 60}))["success"] is True


@pytest.mark.parametrize("name", ["command", "sql", "query", "statement"])
def test_names_of_the_command(q, name):
    assert q.jackdb_done(q.jackdb("POST", EXECUTE, form={name: "SELECT 'é;+&' AS a", "wait": 60}))["success"] is True


@pytest.mark.parametrize("kind", [None, "application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded"])
def test_json_body(q, kind):
    """A JSON object with the same names, whatever curl calls it; null and unknown arguments are as if absent."""
    body = json.dumps({"command": "SELECT 1 AS a", "wait": 60, "retention": None, "autocommit": True, "something": {"else": [1]}})
    answer = q.jackdb("POST", EXECUTE, data=body, headers={"Content-Type": kind} if kind else {})
    assert q.jackdb_done(answer)["success"] is True
    for numbers in ({"wait": "60"}, {"retention": 3600, "timeout": 3600, "maxRows": 1, "stopOnError": False}):
        answer = q.jackdb("POST", EXECUTE, json={"command": "SELECT 1", "wait": 60, **numbers})
        assert q.jackdb_done(answer)["success"] is True


def test_form_without_content_type_and_unknown_arguments(q):
    answer = q.jackdb("POST", EXECUTE, data="command=SELECT+1%3B&wait=60&&foo=bar&retention=")
    assert q.jackdb_done(answer)["success"] is True, answer.text


BAD = [
    ("", "command is required"),
    ("command=", "command is required"),
    ("command=++%0A%09", "command must not be blank"),
    ("sql=SELECT+1&command=SELECT+2", "more than once"),
    ("command=SELECT+1&command=SELECT+1", "more than once"),
    ("command=%ff", "UTF-8"),
    ("command=a%00b", "NUL"),
    ("command=%4", "percent-encoded"),
    ("command=SELECT+1&parameters=[1]", "JSON body"),
] + [(f"command=SELECT+1&{name}={value}", name) for name, values in {
    "retention": ("-1", "2592001", "x", "1.5", "1e3", "99999999999999999999"), "retentionPeriod": ("-1",), "timeout": ("-1", "86401", "true"),
    "wait": ("-1", "61", "1s"), "maxRows": ("0", "-1", "all"), "autocommit": ("maybe", "2", "on"), "stopOnError": ("maybe",)}.items()
    for value in values]


@pytest.mark.parametrize("body,word", BAD, ids=[b[0][:50] or "empty" for b in BAD])
def test_bad_forms(q, body, word):
    answer = q.jackdb("POST", EXECUTE, data=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"] and list(answer.json()["error"]) == ["message"]
    assert word in answer.json()["error"]["message"], answer.text


def test_a_multipart_form_is_named(q):
    body = '--x\r\nContent-Disposition: form-data; name="command"\r\n\r\nSELECT 1\r\n--x--\r\n'
    answer = q.jackdb("POST", EXECUTE, data=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 400 and "application/x-www-form-urlencoded" in answer.json()["error"]["message"]


BAD_JSON = [
    ("{", "JSON"), ("[]", "object"), ('{"command": 1}', "command must be a string"), ('{"command": null}', "command is required"),
    ('{"command": " "}', "blank"), ('{"command": "SELECT 1", "wait": 1.5}', "wait"), ('{"command": "SELECT 1", "wait": true}', "wait"),
    ('{"command": "SELECT 1", "autocommit": 1}', "autocommit"), ('{"command": "SELECT 1", "parameters": {}}', "array"),
    ('{"command": "SELECT 1", "parameters": "x"}', "array"), ('{"command": "SELECT ?", "parameters": [[1]]}', "parameters"),
    ('{"command": "SELECT ?; SELECT 2", "parameters": [1]}', "single statement"),
    ('{"command": "SELECT 1", "retention": 2592001}', "retention"), ('{"command": "SELECT 1", "maxRows": 0}', "maxRows"),
]


@pytest.mark.parametrize("body,word", BAD_JSON, ids=[b[0][:50] for b in BAD_JSON])
def test_bad_json(q, body, word):
    answer = q.jackdb("POST", EXECUTE, data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and word in answer.json()["error"]["message"], answer.text


def test_long_commands(q):
    assert q.jackdb_execute("SELECT 1 /* " + "x" * (1 << 20) + " */", check=False).status_code == 400
    fits = "SELECT 1 /* " + "x" * ((1 << 20) - 15) + " */"
    assert len(fits) == 1 << 20
    assert q.jackdb_query(fits, wait=60)["success"] is True
    answer = q.jackdb("POST", EXECUTE, data="command=" + "x" * (17 << 20))
    assert answer.status_code == 413 and "http.max_body" in answer.json()["error"]["message"]


def test_who_may(q):
    assert q.jackdb_execute("SELECT 1", key=q.reader, check=False).status_code == 403
    answer = q.jackdb_execute("SELECT 1", source="nowhere", check=False)
    assert (answer.status_code, answer.json()) == (404, {"error": {"message": "Data source not found"}})
    assert q.jackdb("POST", "/data-source/nowhere/execute").status_code == 404  # before the arguments


def test_wait(q):
    before = time.monotonic()
    body = q.jackdb_execute(LONG, wait=1)
    assert time.monotonic() - before >= 1
    assert body["success"] is None  # the time is over, the query goes on
    assert q.jackdb_get(body["id"])["success"] is None
    q.jackdb("POST", f"/query/{body['id']}/cancel")
    before = time.monotonic()
    body = q.jackdb_execute("SELECT 1; SELECT 2", wait=60)
    assert body["numResults"] == 2 or time.monotonic() - before >= 60
    before = time.monotonic()
    assert q.jackdb_execute("SELECT nope", wait=60)["success"] is False or time.monotonic() - before >= 60


def test_timeout(q):
    for seconds in (1, 5, 25):  # it is the whole command's: on a slow machine the first statement may need a second
        query = q.jackdb_query("SELECT 1; " + LONG + "; SELECT 3", timeout=seconds, wait=60)
        assert query["success"] is False
        if query["numResults"] == 2:
            break
    assert query["numResults"] == 2
    assert [r["type"] for r in q.jackdb_results(query)] == ["query", "error"]
    assert q.jackdb_results(query)[1]["detail"] == {"error": "Query timed out"}
    assert rows(q, query) == [["1"]]


def test_an_operators_time_limit_names_itself(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_RUN_TIMEOUT": "500ms"})
    for timeout in (0, 100):
        query = d.jackdb_query(LONG, wait=60, timeout=timeout)
        error = d.jackdb_results(query)[0]["detail"]["error"]
        assert error.startswith("Query timed out") and "engine.run_timeout" in error


def test_max_rows(q):
    query = q.jackdb_query("SELECT range AS n FROM range(5000); SELECT range FROM range(7); SELECT range FROM range(8)", maxRows=7, wait=60)
    details = [r["detail"] for r in q.jackdb_results(query)]
    assert [d["numRows"] for d in details] == [7, 7, 7]
    assert [d.get("truncated") for d in details] == [True, None, True]  # only where there was more
    assert rows(q, query) == [[str(i)] for i in range(7)]


def test_parameters(q):
    values = '[1, -7, 12345678901234567890, 1.50, 1e3, "it\'s; é", true, null, "2015-01-17"]'
    body = '{"command": "SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?::DATE", "wait": 60, "parameters": ' + values + "}"
    answer = q.jackdb("POST", EXECUTE, data=body)
    query = q.jackdb_done(answer)
    assert query["success"] is True, q.jackdb_results(query)
    assert rows(q, query) == [["1", "-7", "12345678901234567890", "1.50", "1000", "it's; é", "true", None, "2015-01-17"]]
    query = q.jackdb_done(q.jackdb("POST", EXECUTE, json={"command": "SELECT $2 || '-' || $1;", "parameters": ["a", "b"], "wait": 60}))
    assert rows(q, query) == [["b-a"]]
    query = q.jackdb_done(q.jackdb("POST", EXECUTE, json={"command": "SELECT ?, ?", "parameters": [1], "wait": 60}))
    assert query["success"] is False and "2 parameters" in q.jackdb_results(query)[0]["detail"]["error"]


def test_the_largest_max_rows_in_a_form_too(q):
    assert q.jackdb_query("SELECT range FROM range(3)", maxRows=9223372036854775807)["success"] is True
    assert q.jackdb_execute("SELECT 1", maxRows=9223372036854775808, check=False).status_code == 400


def test_types_of_parameters(q):
    sent = '[1, 9223372036854775807, -9223372036854775808, 9223372036854775808, 1.50, -0.25, 1e3, "x", true, null]'
    command = "SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
    query = q.jackdb_done(q.jackdb("POST", EXECUTE, data='{"command": "%s", "wait": 60, "parameters": %s}' % (command, sent)))
    types = [c["type"] for c in q.jackdb_results(query)[0]["detail"]["columns"]]
    assert types == ["BIGINT"] * 3 + ["HUGEINT", "DECIMAL(3,2)", "DECIMAL(3,2)", "DOUBLE", "VARCHAR", "BOOLEAN", "VARCHAR"]
    assert rows(q, query)[0][:4] == ["1", "9223372036854775807", "-9223372036854775808", "9223372036854775808"]


def test_idempotency_key(q):
    headers = {"Idempotency-Key": f"jackdb-{time.time_ns()}"}
    first = q.jackdb_query("SELECT 1; SELECT 2", headers=headers, wait=60)
    again = q.jackdb_query("SELECT 1; SELECT 2", headers=headers, wait=60)
    assert again == first
    for other in ({"command": "SELECT 3"}, {"command": "SELECT 1; SELECT 2", "retention": 5}, {"command": "SELECT 1; SELECT 2", "stopOnError": "false"}):
        answer = q.jackdb("POST", EXECUTE, form=other, headers=headers)
        assert answer.status_code == 409 and "Idempotency-Key" in answer.json()["error"]["message"]
    assert q.jackdb("POST", EXECUTE, form={"command": "SELECT 1"}, headers={"Idempotency-Key": "x" * 256}).status_code == 400


def test_full_queue(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1", "QUERN_QUEUE_PER_WORKSPACE": "1"})
    blocker = d.jackdb_execute(LONG)
    wait_until("the start", lambda: d.jackdb_get(blocker["id"])["startedAt"])
    waiting = d.jackdb_execute("SELECT 1")
    answer = d.jackdb_execute("SELECT 1", check=False)
    assert answer.status_code == 429 and answer.headers["Retry-After"] and "queue.per_workspace" in answer.json()["error"]["message"]
    for query in (waiting, blocker):
        d.jackdb("POST", f"/query/{query['id']}/cancel")
