"""One result and its rows: types, hasMore and numRows at every instant, seek and limit, bad input (specs/jackdb.md 3.4, 3.5)."""
import csv
import http.client
import io
import json

import pytest

from quern_client import PATIENCE, wait_until

# gives its first rows soon, some more every half second, and does not end
STREAM = "SELECT range AS n, range * 2 AS m FROM range(1000000000000) WHERE CASE WHEN range % 100000 = 99999 THEN coalesce(sleep_ms(500), 0) >= 0 ELSE true END"
LONG = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1"


@pytest.fixture
def running(q):
    """running(command): the query's id; it is canceled at the end."""
    ids = []

    def run(command, **more):
        ids.append(q.jackdb_execute(command, **more)["id"])
        return ids[-1]

    yield run
    for qid in ids:
        q.jackdb("POST", f"/query/{qid}/cancel")


@pytest.fixture(scope="module")
def big(q):
    query = q.jackdb_query("SELECT range AS n, 'row ' || range AS label FROM range(300000)")
    assert query["success"] is True
    return query["id"]


def test_types(q):
    query = q.jackdb_query("""CREATE TABLE jt(a INT); INSERT INTO jt VALUES (1),(2),(3); UPDATE jt SET a = 9 WHERE a > 1;
        DELETE FROM jt WHERE a = 77; INSERT INTO jt VALUES (5) RETURNING a; SELECT count(*) FROM jt; EXPLAIN SELECT 1; SHOW TABLES; DROP TABLE jt""")
    results = q.jackdb_results(query)
    assert query["success"] is True, results
    assert [r["type"] for r in results] == ["update", "update", "update", "update", "query", "query", "query", "query", "update"]
    assert [r["ordinalPosition"] for r in results] == list(range(9))
    assert [r["detail"] for r in results if r["type"] == "update"] == [
        {"updateCount": None}, {"updateCount": 3}, {"updateCount": 2}, {"updateCount": 0}, {"updateCount": None}]
    for before, after in zip(results, results[1:]):
        assert query["startedAt"] <= before["startedAt"] <= before["completedAt"] <= after["startedAt"] or before["completedAt"] == after["startedAt"]


def test_an_error_is_never_an_http_error(q):
    query = q.jackdb_query("SELECT * FROM nowhere")
    assert query["success"] is False and query["numResults"] == 1
    result = q.jackdb_get(f"{query['id']}/result/0")
    assert result["type"] == "error" and "nowhere" in result["detail"]["error"]
    assert list(result["detail"]) == ["error"]
    assert result["completedAt"]


def test_more_is_said_on_request_only(q):
    query = q.jackdb_query("SELECT 1;\nSELECT nope")
    plain = q.jackdb_get(f"{query['id']}/result/1")
    more = q.jackdb_get(f"{query['id']}/result/1?expand=errorDetail")
    assert more["detail"].pop("errorDetail") == {"sqlState": "42703", "position": 17, "line": 2}
    assert more == plain


def test_rows_while_they_come(q, running):
    """hasMore true, numRows what can be read, never less than before; early rows are those of the end."""
    qid = running(STREAM)
    first = wait_until("rows", lambda: q.jackdb_get(qid)["numResults"] and q.jackdb_get(f"{qid}/result/0"))
    assert first["type"] == "query" and first["completedAt"] is None
    assert first["detail"]["hasMore"] is True and first["detail"]["numRows"] > 0
    assert [c["format"] for c in first["detail"]["columns"]] == ["integer", "integer"]
    rows = q.jackdb("GET", f"/query/{qid}/result/0/rows?limit=1000000000")
    have = int(rows.headers["X-Row-Count"])
    assert first["detail"]["numRows"] <= have == len(rows.json())
    assert q.jackdb_get(f"{qid}/result/0/rows?seek={have + 10 ** 9}") == []  # past the end is no error
    grown = wait_until("more rows", lambda: (lambda r: r["detail"]["numRows"] > have and r)(q.jackdb_get(f"{qid}/result/0")))
    assert grown["detail"]["hasMore"] is True
    again = q.jackdb_get(f"{qid}/result/0/rows?limit={have}")
    assert (again == rows.json()) is True, "early rows moved"
    assert q.jackdb_get(qid)["numResults"] == 1
    assert q.jackdb("POST", f"/query/{qid}/cancel").json() == {}


def test_canceled_rows_stay(q, running):
    qid = running(STREAM)
    wait_until("rows", lambda: q.jackdb_get(qid)["numResults"])
    early = q.jackdb_get(f"{qid}/result/0/rows")
    assert q.jackdb("POST", f"/query/{qid}/cancel").status_code == 200
    query = q.jackdb_get(qid)
    assert query["success"] is False and query["completedAt"] and query["numResults"] == 1
    result = q.jackdb_get(f"{qid}/result/0")
    assert result["type"] == "query" and result["completedAt"]
    assert result["detail"]["hasMore"] is False and result["detail"]["error"] == "Query was canceled"
    assert result["detail"]["numRows"] >= len(early)
    assert q.jackdb_get(f"{qid}/result/0/rows") == early
    assert len(q.jackdb_get(f"{qid}/result/0/rows?limit=1000000000")) == result["detail"]["numRows"]
    # other dialects know no half results
    assert q.http("GET", f"/quern/v1/query/{qid}/download?format=csv").status_code == 409
    assert q.kakao_get(qid)["queryInfo"]["state"] == "ABORTED"


def test_an_error_in_the_middle_keeps_what_came_before(q):
    # the bad row comes behind the first two batches
    query = q.jackdb_query("SELECT n, CASE WHEN n = 200000 THEN CAST('bad' || n AS INT) ELSE n END AS v FROM (SELECT range AS n FROM range(300000))")
    assert query["success"] is False
    result = q.jackdb_get(f"{query['id']}/result/0")
    if result["type"] == "query":
        assert result["detail"]["hasMore"] is False and "bad200000" in result["detail"]["error"]
        rows = q.jackdb_get(f"{query['id']}/result/0/rows?limit=1000000")
        assert len(rows) == result["detail"]["numRows"] > 0
        assert rows[:2] == [["0", "0"], ["1", "1"]]
    else:
        pytest.fail(f"no rows before the error: {result}")


def test_pages(q, big):
    path = f"{big}/result/0/rows"
    assert q.jackdb_get(path)[0] == ["0", "row 0"] and len(q.jackdb_get(path)) == 1000
    seen = []
    for seek in range(0, 300000, 100000):
        seen += q.jackdb_get(f"{path}?seek={seek}&limit=100000")
    assert [r[0] for r in seen] == [str(i) for i in range(300000)]
    assert q.jackdb_get(f"{path}?seek=299999") == [["299999", "row 299999"]]
    assert q.jackdb_get(f"{path}?seek=300000") == []
    assert q.jackdb_get(f"{path}?seek=99999999999999999999999") == []
    assert q.jackdb_get(f"{path}?limit=0") == []
    assert len(q.jackdb_get(f"{path}?limit=99999999999999999999999")) == 300000  # any limit is honoured
    assert len(q.jackdb_get(f"{path}?seek=&limit=")) == 1000  # empty is absent
    answer = q.jackdb("GET", f"/query/{path}?limit=5")
    assert answer.headers["Content-Type"].startswith("application/json") and answer.headers["X-Row-Count"] == "300000"


@pytest.mark.parametrize("bad", ["seek=-1", "seek=x", "seek=1.5", "seek=+1", "limit=-1", "limit=ten", "limit=1e3"])
def test_bad_arguments(q, big, bad):
    answer = q.jackdb("GET", f"/query/{big}/result/0/rows?{bad}")
    assert answer.status_code == 400, answer.text[:200]
    body = answer.json()
    assert list(body) == ["error"] and list(body["error"]) == ["message"]
    assert bad.split("=")[0] in body["error"]["message"]


@pytest.mark.parametrize("index,status", [("-1", 400), ("x", 400), ("0x0", 400), ("1.0", 400), ("1", 404), ("4294967295", 404),
                                          ("99999999999999999999", 404)])
def test_bad_index(q, big, index, status):
    for tail in ("", "/rows"):
        answer = q.jackdb("GET", f"/query/{big}/result/{index}{tail}")
        assert answer.status_code == status, f"{tail} {answer.text}"
        assert answer.json()["error"]["message"] == ("Result not found" if status == 404 else answer.json()["error"]["message"])


def test_not_yet_there_is_404(q, running):
    qid = running(LONG)
    answer = q.jackdb("GET", f"/query/{qid}/result/0")
    assert (answer.status_code, answer.json()) == (404, {"error": {"message": "Result not found"}})


def test_rows_of_update_and_error_are_400(q):
    query = q.jackdb_query("CREATE TABLE jr(a INT); DROP TABLE jr; SELECT nope")
    for i, kind in enumerate(("update", "update", "error")):
        answer = q.jackdb("GET", f"/query/{query['id']}/result/{i}/rows")
        assert answer.status_code == 400 and kind in answer.json()["error"]["message"]


def test_empty_results(q):
    query = q.jackdb_query("SELECT 1 AS a WHERE false")
    assert q.jackdb_get(f"{query['id']}/result/0")["detail"] == {
        "columns": [{"ordinalPosition": 0, "name": "a", "type": "INTEGER", "format": "integer"}], "hasMore": False, "numRows": 0}
    assert q.jackdb_get(f"{query['id']}/result/0/rows") == []


def test_csv_and_ndjson_are_whole_results(q):
    query = q.jackdb_query("SELECT range AS n, CASE range % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'x,y' END AS t FROM range(3000)")
    path = f"/query/{query['id']}/result/0/rows"
    answer = q.jackdb("GET", path, headers={"Accept": "text/csv"})
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/csv")
    lines = answer.text.split("\n")
    assert lines[:4] == ["n,t", "0,", '1,""', '2,"x,y"'], lines[:4]  # NULL and the empty text differ
    assert len(list(csv.reader(io.StringIO(answer.text)))) == 3001
    answer = q.jackdb("GET", path + "?seek=1&limit=2", headers={"Accept": "application/x-ndjson"})
    assert [json.loads(line) for line in answer.text.splitlines()] == [{"n": "1", "t": ""}, {"n": "2", "t": "x,y"}]


def test_an_operators_cap_refuses_and_names_itself(make_daemon):
    d = make_daemon(env={"QUERN_JACKDB_MAX_PAGE_ROWS": "10", "QUERN_JACKDB_REQUIRE_USER_AGENT": "yes"})
    query = d.jackdb_query("SELECT range FROM range(100)")
    path = f"/query/{query['id']}/result/0/rows"
    assert len(d.jackdb("GET", path + "?limit=10").json()) == 10
    answer = d.jackdb("GET", path + "?limit=11")
    assert answer.status_code == 400 and "jackdb.max_page_rows" in answer.text
    for agent in (None, "", " "):
        connection = http.client.HTTPConnection("127.0.0.1", d.port, timeout=PATIENCE)
        connection.putrequest("GET", "/api/v2" + path + "?limit=1", skip_accept_encoding=True)
        connection.putheader("Authorization", d.key["headers"]["jackdb"]["Authorization"])
        if agent is not None:
            connection.putheader("User-Agent", agent)
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 400 and b"jackdb.require_user_agent" in answer.read()
        connection.close()
