"""A query's life by the JackDB dialect: the Query object, cancel, delete, retention, list, credentials, Accept (specs/jackdb.md 2, 3.1 to 3.3, 6, 9)."""
import base64
import http.client
import time

import pytest

from quern_client import PATIENCE, wait_until

LONG = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1"
UNKNOWN = "31cf58d7-b0d7-49e4-99b9-1b47eb922dc2"
KEYS = ["id", "createdAt", "startedAt", "completedAt", "success", "numResults"]


def test_unknown_ids_are_not_found(q):
    for qid in (UNKNOWN, "x", "1", "00000000-0000-0000-0000-000000000000", "%20", "31cf58d7"):
        for method, tail in (("GET", ""), ("POST", "/cancel"), ("DELETE", ""), ("GET", "/result/0"), ("GET", "/result/0/rows"),
                             ("GET", "/result/x"), ("GET", "/result/0/rows?seek=x")):  # the id is looked at before the arguments
            answer = q.jackdb(method, f"/query/{qid}{tail}")
            assert (answer.status_code, answer.json()) == (404, {"error": {"message": "Query not found"}}), f"{method} {qid}{tail}"


def test_both_spellings_of_an_id(q):
    qid = q.kakao_run("SELECT 7 AS seven")
    q.kakao_wait(qid)
    by_kakao = q.jackdb_get(qid)
    assert by_kakao == q.jackdb_get(by_kakao["id"])
    assert by_kakao["success"] is True and by_kakao["numResults"] == 1
    assert q.jackdb_get(f"{qid}/result/0/rows") == [["7"]]


def test_cancel_of_a_running_query(q):
    started = q.jackdb_execute(LONG)
    wait_until("the start", lambda: q.jackdb_get(started["id"])["startedAt"])
    for _ in range(2):  # again is fine
        answer = q.jackdb("POST", f"/query/{started['id']}/cancel", data="ignored")
        assert (answer.status_code, answer.json()) == (200, {})
    query = q.jackdb_get(started["id"])
    assert query["success"] is False and query["completedAt"] and query["numResults"] == 1
    result = q.jackdb_get(f"{started['id']}/result/0")
    assert result["type"] == "error" and result["detail"] == {"error": "Query was canceled"}


def test_cancel_of_a_complete_query_changes_nothing(q):
    query = q.jackdb_query("SELECT 1")
    assert q.jackdb("POST", f"/query/{query['id']}/cancel").json() == {}
    assert q.jackdb_get(query["id"]) == query


def test_cancel_before_the_start(make_daemon):
    d = make_daemon(env={"QUERN_ENGINE_SLOTS": "1"})
    blocker = d.jackdb_execute(LONG)
    wait_until("the start", lambda: d.jackdb_get(blocker["id"])["startedAt"])
    waiting = d.jackdb_execute("SELECT 1")
    assert waiting["startedAt"] is None
    assert d.jackdb("POST", f"/query/{waiting['id']}/cancel").status_code == 200
    query = d.jackdb_get(waiting["id"])
    assert query["startedAt"] is None and query["completedAt"] and query["success"] is False and query["numResults"] == 1
    assert d.jackdb_get(f"{waiting['id']}/result/0")["detail"] == {"error": "Query was canceled"}
    d.jackdb("POST", f"/query/{blocker['id']}/cancel")


def test_delete(q):
    query = q.jackdb_query("SELECT range FROM range(5000); SELECT 2")
    assert q.jackdb("DELETE", f"/query/{query['id']}").json() == {}
    for method, tail in (("GET", ""), ("GET", "/result/0"), ("GET", "/result/0/rows"), ("POST", "/cancel"), ("DELETE", "")):
        assert q.jackdb(method, f"/query/{query['id']}{tail}").status_code == 404
    # the others say so in their own words
    assert q.kakao_get(query["id"])["queryData"] == []
    assert q.http("GET", f"/quern/v1/query/{query['id']}/download").status_code == 410


def test_delete_of_a_running_query(q):
    started = q.jackdb_execute("SELECT 1; " + LONG)
    wait_until("the first result", lambda: q.jackdb_get(started["id"])["numResults"])
    assert q.jackdb("DELETE", f"/query/{started['id']}").json() == {}
    assert q.jackdb("GET", f"/query/{started['id']}").status_code == 404
    assert q.kakao_wait(started["id"])["queryInfo"]["state"] == "ABORTED"


def test_retention_deletes(q):
    query = q.jackdb_execute("SELECT range FROM range(100000)", retention=2)  # not waited for: it may be gone before its end is seen
    short = q.jackdb_execute("SELECT 1; SELECT 2", retention=1)
    kept = q.jackdb_query("SELECT 2", retention=0)
    usual = q.jackdb_query("SELECT 3")
    wait_until("expiry", lambda: q.jackdb("GET", f"/query/{query['id']}").status_code == 404)
    assert q.jackdb("GET", f"/query/{query['id']}/result/0/rows").status_code == 404
    wait_until("the other's expiry", lambda: q.jackdb("GET", f"/query/{short['id']}").status_code == 404)
    assert q.jackdb("GET", f"/query/{kept['id']}?expand=expiresAt").json()["expiresAt"] is None
    assert q.jackdb("GET", f"/query/{usual['id']}?expand=expiresAt").json()["expiresAt"] > usual["completedAt"]


def test_opt_in_fields(q):
    query = q.jackdb_query("SELECT 1 AS a; SELECT nope")
    plain = q.jackdb_get(query["id"])
    assert list(plain) == KEYS
    more = q.jackdb_get(query["id"] + "?expand=status,expiresAt&include=results&expand=errorDetail")
    assert list(more) == KEYS + ["status", "expiresAt", "results"]
    assert more["status"] == "FAILED"
    assert [r["type"] for r in more["results"]] == ["query", "error"]
    assert more["results"][0] == q.jackdb_get(f"{query['id']}/result/0")
    assert more["results"][1]["detail"]["errorDetail"]["sqlState"] == "42703"


def test_wait_on_get(q):
    started = q.jackdb_execute("SELECT 1")
    before = time.monotonic()
    assert q.jackdb_get(started["id"] + "?wait=60")["success"] is True or time.monotonic() - before >= 60
    long = q.jackdb_execute(LONG)
    before = time.monotonic()
    assert q.jackdb_get(long["id"] + "?wait=1")["success"] is None
    assert time.monotonic() - before >= 1
    q.jackdb("POST", f"/query/{long['id']}/cancel")
    for bad in ("-1", "61", "x"):
        assert q.jackdb("GET", f"/query/{long['id']}?wait={bad}").status_code == 400


def test_list(q):
    mine = [q.jackdb_query(f"SELECT {i}")["id"] for i in range(3)]
    listed = q.jackdb("GET", "/query?limit=3").json()
    assert [x["id"] for x in listed] == mine[::-1] and list(listed[0]) == KEYS
    assert [x["id"] for x in q.jackdb("GET", "/query?limit=1&seek=1").json()] == [mine[1]]
    q.jackdb("DELETE", f"/query/{mine[2]}")
    assert mine[2] not in [x["id"] for x in q.jackdb("GET", "/query?limit=10").json()]
    assert q.jackdb("GET", "/query?limit=0").json() == []
    for bad in ("limit=1001", "limit=-1", "seek=x"):
        assert q.jackdb("GET", f"/query?{bad}").status_code == 400
    assert not set(mine) & {x["id"] for x in q.jackdb("GET", "/query?limit=1000", key=q.other).json()}


def test_pages_of_the_list_are_full_whatever_was_deleted(q):
    mine = [q.jackdb_query(f"SELECT {i}")["id"] for i in range(6)]
    for qid in mine[2:]:
        assert q.jackdb("DELETE", f"/query/{qid}").status_code == 200
    assert [x["id"] for x in q.jackdb("GET", "/query?limit=2").json()] == [mine[1], mine[0]]
    assert [x["id"] for x in q.jackdb("GET", "/query?limit=1&seek=1").json()] == [mine[0]]


# --- general rules ------------------------------------------------------------------------------------------------------


def test_accept(q):
    query = q.jackdb_query("SELECT 1")
    path = f"/query/{query['id']}"
    for good in ("application/vnd.jackdb.v2+json", "application/json", "*/*", "application/*", None, "text/html, application/json;q=0.5",
                 "application/vnd.jackdb.v9+json, */*;q=0.1"):
        answer = q.jackdb("GET", path, headers={"Accept": good})
        assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("application/json"), good
    for bad in ("application/vnd.jackdb.v9+json", "text/html", "application/vnd.jackdb.v1+json", "text/csv", "application/json;q=0", "image/*"):
        for method, where in (("GET", path), ("POST", path + "/cancel"), ("DELETE", path), ("GET", path + "/result/0"), ("GET", "/query"),
                              ("GET", f"/query/{UNKNOWN}"), ("POST", "/data-source/data_catalog/execute"), ("GET", "/data-source")):
            answer = q.jackdb(method, where, headers={"Accept": bad})
            assert answer.status_code == 406 and "application/vnd.jackdb.v2+json" in answer.json()["error"]["message"], f"{method} {where} {bad}"
    assert q.jackdb("GET", path).status_code == 200


def test_accept_prefers_what_the_client_prefers(q):
    path = f"/query/{q.jackdb_query('SELECT 1 AS a')['id']}/result/0/rows"
    for accept, kind in (("text/csv;q=0.1, application/json", "application/json"), ("application/json;q=0.5, text/csv;q=0.9", "text/csv"),
                         ("application/json;q=0, text/*", "text/csv"), ("text/csv, application/json", "text/csv"), ("text/html, */*;q=0.1", "application/json")):
        answer = q.jackdb("GET", path, headers={"Accept": accept})
        assert answer.headers["Content-Type"].startswith(kind), accept


def test_credentials(q):
    good = base64.b64encode(f"{q.key['keyId']}@api:{q.key['secret']}".encode()).decode()
    assert q.key["headers"]["jackdb"] == {"Authorization": f"Basic {good}"}
    wrong = {"none": None, "no @api": f"{q.key['keyId']}:{q.key['secret']}", "secret": f"{q.key['keyId']}@api:x", "key": "x@api:y", "no colon": "xyz"}
    for name, plain in wrong.items():
        headers = {} if plain is None else {"Authorization": "Basic " + base64.b64encode(plain.encode()).decode()}
        answer = q.jackdb("GET", "/query", key=False, headers=headers)
        assert answer.status_code == 401, name
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="api"'
        assert list(answer.json()) == ["error"] and list(answer.json()["error"]) == ["message"]
    for scheme in ("Bearer", "Token"):
        assert q.jackdb("GET", "/query", key=False, headers={"Authorization": f"{scheme} {q.key['token']}"}).status_code == 401


def test_a_client_without_user_agent_is_served(q):
    connection = http.client.HTTPConnection("127.0.0.1", q.port, timeout=PATIENCE)
    connection.putrequest("GET", "/api/v2/query", skip_accept_encoding=True)
    connection.putheader("Authorization", q.key["headers"]["jackdb"]["Authorization"])
    connection.endheaders()
    assert connection.getresponse().status == 200
    connection.close()


def test_unknown_paths_and_methods(q):
    answer = q.jackdb("PUT", f"/query/{UNKNOWN}")
    assert answer.status_code == 405 and set(answer.headers["Allow"].replace(" ", "").split(",")) >= {"GET", "DELETE"}
    assert list(answer.json()["error"]) == ["message"]
    assert q.jackdb("GET", "/nothing").status_code == 404


@pytest.mark.parametrize("who", ["member2", "reader"])
def test_only_owner_and_admin_change(q, who):
    started = q.jackdb_execute(LONG, key=q.member)
    other = getattr(q, who)
    try:
        assert q.jackdb_get(started["id"], key=other)["id"] == started["id"]
        for method, tail in (("POST", "/cancel"), ("DELETE", "")):
            answer = q.jackdb(method, f"/query/{started['id']}{tail}", key=other)
            assert answer.status_code == 403 and answer.json()["error"]["message"]
    finally:
        assert q.jackdb("POST", f"/query/{started['id']}/cancel").status_code == 200  # the admin
